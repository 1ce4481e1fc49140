"""Refining and going on from earlier logits over HTTP: as the library does it."""

from __future__ import annotations

import base64
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient
from pycocotools import mask as coco_mask
from serve_helpers import encoded, text_of

from glesam.predict.predictor import Predictor

FIRST = {"points": [[20, 20]]}
SECOND = {"points": [[20, 20], [45, 30]], "labels": [1, 0]}


def ask(client: TestClient, objects: list[dict[str, Any]], **body: Any) -> Any:
    return client.post("/v1/segment", json={"image": text_of(encoded(4)), "objects": objects, **body})


def mask_of(answer: Any, index: int = 0) -> np.ndarray:
    return coco_mask.decode(answer.json()["objects"][index]["rle"]).astype(bool)


def low(text: str) -> np.ndarray:
    flat = np.frombuffer(base64.b64decode(text), "<f2")
    return flat.reshape(round(flat.size**0.5), -1)


def test_logits_come_on_request_and_go_back_in(client: TestClient, tiny: Predictor) -> None:
    assert "logits" not in ask(client, [FIRST]).json()["objects"][0]
    first = ask(client, [FIRST], logits=True, multimask=True).json()["objects"][0]
    tiny.set_image(encoded(4))
    own = tiny.predict(**FIRST, multimask=True)
    assert own.candidate_logits is not None
    assert low(first["logits"]) == pytest.approx(own.logits[0], rel=1e-3, abs=1e-3)
    for each, logits in zip(first["candidates"], own.candidate_logits[0], strict=True):
        assert low(each["logits"]) == pytest.approx(logits, rel=1e-3, abs=1e-3)
    chosen = first["candidates"][1]["logits"]
    on = ask(client, [{**SECOND, "mask_input": chosen}])
    assert on.status_code == 200
    expected = tiny.predict(**SECOND, mask_input=low(chosen).astype(np.float32))
    assert np.array_equal(mask_of(on), expected.masks[0])
    assert not np.array_equal(expected.logits, tiny.predict(**SECOND).logits)


@pytest.mark.parametrize("text", ["no base64!", base64.b64encode(b"12345").decode(), ""])
def test_other_texts_are_refused(client: TestClient, text: str) -> None:
    answer = ask(client, [{**SECOND, "mask_input": text}])
    assert answer.status_code == 422
    assert "mask" in answer.json()["error"]


def test_logits_for_some_objects_alone_are_refused(client: TestClient) -> None:
    logits = ask(client, [FIRST], logits=True).json()["objects"][0]["logits"]
    answer = ask(client, [{**SECOND, "mask_input": logits}, FIRST])
    assert answer.status_code == 422
    assert "all objects" in answer.json()["error"]


def test_a_request_may_ask_for_the_decoders_masks(client: TestClient, tiny: Predictor) -> None:
    tiny.set_image(encoded(4))
    expected = {}
    for mode in ("off", "auto"):
        tiny.refine = mode
        expected[mode] = tiny.predict(**SECOND).masks[0]
        assert np.array_equal(mask_of(ask(client, [SECOND], refine=mode)), expected[mode])
    assert np.array_equal(mask_of(ask(client, [SECOND])), expected["auto"])
    assert not np.array_equal(expected["off"], expected["auto"])
