"""The addresses against the library: same masks, same sentences; limits, eviction, modes."""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fastapi.testclient import TestClient
from models_tiny import sam2_tiny
from PIL import Image
from pycocotools import mask as coco_mask
from serve_helpers import encoded, text_of
from test_models_mobile import mobile_tiny

from glesam.common.seeds import degradation_seed
from glesam.degrade import real, robustseg
from glesam.degrade.lqseg import pipeline as lqseg
from glesam.errors import ConfigError, GlesamError, ModelError
from glesam.images.reading import content_hash, read
from glesam.models.sam.sam2 import Sam2Promptable
from glesam.predict.predictor import Predictor
from glesam.prompts.prompts import Prompts
from glesam.serve.app import create_app
from glesam.serve.settings import ServerSettings

MakeClient = Callable[..., TestClient]
CLICK = {"points": [[20, 20]]}


def embed(client: TestClient, data: bytes) -> str:
    answer = client.post("/v1/embed", content=data)
    assert answer.status_code == 200, answer.text
    return str(answer.json()["id"])


def segment(client: TestClient, **body: Any) -> Any:
    return client.post("/v1/segment", json={"objects": [CLICK], **body})


def masks_of(answer: Any) -> np.ndarray:
    return np.stack([coco_mask.decode(each["rle"]).astype(bool) for each in answer.json()["objects"]])


def test_embedding_tells_id_and_size(client: TestClient) -> None:
    answer = client.post("/v1/embed", content=encoded(form="JPEG")).json()
    assert answer.pop("milliseconds") > 0
    key = content_hash(read(encoded(form="JPEG")))
    assert answer == {"id": key, "width": 60, "height": 40, "degraded": None}


@pytest.mark.parametrize("by_id", [True, False])
def test_masks_are_the_librarys(client: TestClient, tiny: Predictor, by_id: bool) -> None:
    data = encoded(4)
    source = {"id": embed(client, data)} if by_id else {"image": text_of(data)}
    objects = [
        {"points": [[20, 20], [5, 5]], "labels": [1, 0]},
        {"box": [3, 4, 50, 39]},
        {"points": [[9, 9]], "box": [1, 1, 20, 20]},
    ]
    tiny.set_image(data)
    wanted = Prompts([[[20, 20], [5, 5]], [], [[9, 9]]], [[1, 0], [], [1]], [None, [3, 4, 50, 39], [1, 1, 20, 20]])
    answer = segment(client, objects=objects, **source)
    expected = tiny.predict(wanted)
    assert np.array_equal(masks_of(answer), expected.masks)
    assert [each["score"] for each in answer.json()["objects"]] == pytest.approx(expected.scores.tolist())
    assert (answer.json()["width"], answer.json()["height"], answer.json()["enhanced"]) == (60, 40, False)
    several = segment(client, objects=objects, multimask=True, **source)
    expected = tiny.predict(wanted, multimask=True)
    assert expected.candidates is not None
    for each, inside in zip(several.json()["objects"], expected.candidates, strict=True):
        found = [coco_mask.decode(candidate["rle"]).astype(bool) for candidate in each["candidates"]]
        assert np.array_equal(found, inside)


@pytest.mark.parametrize("family", ["mobile-sam", "sam2"])
def test_other_families_answer_as_the_library(make_client: MakeClient, family: str) -> None:
    own = Predictor(mobile_tiny() if family == "mobile-sam" else Sam2Promptable(sam2_tiny()), name=family)
    data, box = encoded(7), [3, 4, 50, 39]
    client = make_client(predictor=own)
    answer = segment(client, image=text_of(data), objects=[CLICK, {"box": box}])
    own.set_image(data)
    expected = own.predict(Prompts([[[20, 20]], []], [[1], []], [None, box]))
    assert np.array_equal(masks_of(answer), expected.masks)
    assert [each["score"] for each in answer.json()["objects"]] == pytest.approx(expected.scores.tolist())
    assert expected.scores[0] != expected.scores[1]


def test_many_objects_take_the_long_lane_and_are_equal(make_client: MakeClient, tiny: Predictor) -> None:
    client = make_client()
    data = encoded(5)
    boxes = [[i, i, i + 8.0, i + 9.0] for i in range(30)]
    answer = segment(client, image=text_of(data), objects=[{"box": box} for box in boxes])
    tiny.set_image(data)
    assert np.array_equal(masks_of(answer), tiny.predict(boxes=boxes).masks)
    metrics = client.get("/metrics").text
    assert 'glesam_cache_entries{lane="long"} 1' in metrics
    assert 'glesam_cache_entries{lane="model"} 0' in metrics


def test_everything_gives_the_librarys_annotations(client: TestClient, tiny: Predictor) -> None:
    data = encoded(6)
    key = embed(client, data)
    tiny.set_image(data)
    expected = tiny.generate(points_per_side=3)
    body = {"id": key, "points_per_side": 3}
    answer = client.post("/v1/everything", json=body).json()
    assert answer["objects"] == expected.to_coco()
    shapes = client.post("/v1/everything", json={**body, "format": "polygons"}).json()["objects"]
    assert [each["polygons"] for each in shapes] == [
        [ring.tolist() for ring in rings] for rings in expected.to_polygons()
    ]
    assert client.post("/v1/everything", json={**body, "points_per_side": 65}).status_code == 422


def test_an_evicted_image_is_embedded_again(make_client: MakeClient) -> None:
    client = make_client(cache_entries=2)
    keys = [embed(client, encoded(seed)) for seed in range(4)]
    first = segment(client, id=keys[0]).json()["objects"]
    assert segment(client, id=keys[0]).json()["objects"] == first
    metrics = client.get("/metrics").text
    assert 'glesam_cache_misses_total{lane="model"} 5' in metrics
    assert 'glesam_cache_evictions_total{lane="model"} 3' in metrics
    assert 'glesam_cache_hits_total{lane="model"} 1' in metrics


def test_a_dropped_image_is_unknown(make_client: MakeClient) -> None:
    pictures = [encoded(seed, 600, 400, "BMP") for seed in range(4)]
    size = len(pictures[0])
    client = make_client(max_bytes=size, store_bytes=size * 4 // 3 + 2**20)  # room for two
    keys = [embed(client, picture) for picture in pictures]
    assert [segment(client, id=key).status_code for key in keys] == [404, 404, 200, 200]
    assert segment(client, id=keys[0]).json()["error"].endswith("embed it first")


def test_sentences_are_the_librarys(client: TestClient, tiny: Predictor) -> None:
    data = encoded()
    key = embed(client, data)
    tiny.set_image(data)
    for points in ([[60, 1]], [[-1, 1]], [[1e30, 1]]):
        with pytest.raises(GlesamError) as error:
            tiny.predict(points=points)
        answer = segment(client, id=key, objects=[{"points": points}])
        assert answer.status_code == 422
        assert answer.json()["error"].removeprefix("object 0: ") == str(error.value)
    with pytest.raises(GlesamError) as error:
        tiny.enhance = "on"
    answer = segment(client, id=key, enhance="on")
    assert (answer.status_code, answer.json()["error"]) == (422, str(error.value))
    with pytest.raises(GlesamError) as error:
        read(b"GIF89a", name="the image sent")
    answer = client.post("/v1/embed", content=b"GIF89a")
    assert (answer.status_code, answer.json()["error"]) == (422, str(error.value))


@pytest.mark.parametrize(
    ("body", "part"),
    [
        ({}, "expected id or image, got none"),
        ({"id": "a", "image": "b"}, "expected id or image, got both"),
        ({"id": "a", "objects": []}, "objects: "),
        ({"id": "a", "objects": [{"pints": [[1, 1]]}]}, "objects.0.pints: unknown key; did you mean 'points'?"),
        ({"id": "a", "fromat": "rle"}, "fromat: unknown key; did you mean 'format'?"),
        ({"id": "a", "format": "gif"}, "format: "),
        ({"id": "a", "enhance": "maybe"}, "enhance: "),
        ({"id": 7}, "id: "),
        ({"id": "a", "multimask": "yes"}, "multimask: "),
        ({"id": "a", "objects": [{"points": [[1, 2, 3]]}]}, "objects.0.points.0: "),
        ({"id": "a", "objects": [{"points": [[1, 2]], "labels": [2]}]}, "objects.0.labels.0: "),
        ({"id": "a", "objects": None}, "objects: "),
    ],
)
def test_wrong_requests_say_where(client: TestClient, body: dict[str, Any], part: str) -> None:
    answer = segment(client, **body)
    assert answer.status_code == 422
    assert list(answer.json()) == ["error"]
    assert answer.json()["error"].startswith(part)
    assert "\n" not in answer.json()["error"]


def test_masks_that_would_fill_the_memory_are_refused(make_client: MakeClient) -> None:
    client = make_client(max_mask_pixels=60 * 40 * 4)
    key = embed(client, encoded())
    assert segment(client, id=key, multimask=True).status_code == 200
    answer = segment(client, id=key, multimask=True, objects=[CLICK, CLICK])
    assert answer.status_code == 422
    assert answer.json()["error"].startswith("expected masks of at most 9600 pixels together, got 19200")


def test_degrading_gives_the_librarys_bytes_and_an_id(client: TestClient) -> None:
    data = encoded(2, width=80, height=64)
    key, clean = embed(client, data), read(data)
    fog, haze = (degradation_seed("image", level, seed) for level, seed in (("robustseg:fog:4", 0), ("real:haze:3", 1)))
    wishes: list[tuple[dict[str, Any], Any]] = [
        ({"level": 2, "seed": 5}, lqseg.degrade(clean, 2, degradation_seed("image", "lq2", 5), "test")),
        (
            {"kind": "fog", "severity": 4},
            robustseg.degrade(clean, "fog", 4, fog),
        ),
        ({"kind": "haze", "seed": 1}, real.degrade(clean, "haze", 3, haze)),
    ]
    for wish, expected in wishes:
        answer = client.post("/v1/degrade", json={"id": key, **wish})
        assert (answer.status_code, answer.headers["content-type"]) == (200, "image/png")
        assert np.array_equal(np.asarray(Image.open(io.BytesIO(answer.content))), expected)
        assert answer.headers["X-Picture-Id"] == content_hash(expected)
        assert segment(client, id=answer.headers["X-Picture-Id"]).status_code == 200


@pytest.mark.parametrize(
    "wish",
    [
        {},
        {"level": 4},
        {"level": True},
        {"level": 1, "kind": "fog"},
        {"level": 1, "severity": 1},
        {"kind": "fgo"},
        {"kind": "fog", "severity": 6},
        {"kind": "fog", "seed": -1},
    ],
)
def test_impossible_degradations_are_refused(client: TestClient, wish: dict[str, Any]) -> None:
    answer = client.post("/v1/degrade", json={"image": text_of(encoded()), **wish})
    assert answer.status_code == 422
    assert answer.json()["error"]


def test_listed_degradations_all_work(client: TestClient) -> None:
    listed = client.get("/v1/degradations").json()
    image = text_of(encoded(width=16, height=16))
    for wish in [{"level": level} for level in listed["levels"]] + [{"kind": kind} for kind in listed["kinds"]]:
        assert client.post("/v1/degrade", json={"image": image, **wish}).status_code == 200, wish


def test_models_tells_the_model_and_the_limits(make_client: MakeClient) -> None:
    client = make_client(max_objects=5)
    answer = client.get("/v1/models").json()
    assert answer["default"] == "tiny"
    assert answer["models"] == [{"name": "tiny", "family": "sam", "loaded": True, "image_size": 64}]
    assert (answer["enhancer"], answer["gate"], answer["limits"]["max_objects"]) == (False, False, 5)


def test_too_many_requests_are_told_to_come_again(make_client: MakeClient) -> None:
    client = make_client(queue_length=1)
    client.app.state.service.active = 1  # type: ignore[attr-defined]
    answer = client.post("/v1/embed", content=encoded())
    assert answer.status_code == 503
    assert int(answer.headers["Retry-After"]) >= 1
    client.app.state.service.active = 0  # type: ignore[attr-defined]
    assert client.post("/v1/embed", content=encoded()).status_code == 200


def test_images_are_restored_first_and_the_model_says_so(make_client: MakeClient, tiny: Predictor) -> None:
    from glesam.restore.registry import load_restorer

    restored = Predictor(tiny.model, name="tiny", restorer=load_restorer("median:7"))
    client, data = make_client(predictor=restored), encoded()
    assert client.get("/v1/models").json()["restore"] == "median"
    restored.set_image(data)
    expected = restored.predict(points=[[20, 20]]).masks
    answers = [segment(client, id=embed(client, data)), segment(client, image=text_of(data))]
    assert all(np.array_equal(masks_of(answer), expected) for answer in answers)


def test_a_restorer_that_goes_by_file_names_has_none_to_go_by(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(encoded())
    with pytest.raises(ConfigError, match="requests have none"):
        create_app(ServerSettings(restore=f"folder:{tmp_path}"))


def test_a_head_answers_over_http_as_in_the_predictor_and_the_model_says_so(
    make_client: MakeClient, tiny: Predictor
) -> None:
    from glesam.heads.headed import HeadedModel
    from glesam.heads.hq import HQHead

    torch.manual_seed(3)
    headed = Predictor(HeadedModel(tiny.model, HQHead(32, 24)), name="tiny")
    client, data = make_client(predictor=headed), encoded()
    assert client.get("/v1/models").json()["head"] == "hq"
    for predictor in (headed, tiny):
        predictor.set_image(data)
    expected, without = (p.predict(points=[[20, 20]]).masks for p in (headed, tiny))
    assert not np.array_equal(expected, without)
    answers = [segment(client, id=embed(client, data)), segment(client, image=text_of(data))]
    assert all(np.array_equal(masks_of(answer), expected) for answer in answers)


def test_enhancer_and_head_of_the_settings_are_loaded(tiny: Predictor, tmp_path: Path) -> None:
    from glesam.heads.headed import HeadedModel
    from glesam.heads.hq import HQHead

    tiny.model.save_pretrained(tmp_path / "model")
    HQHead(32, 24).save_pretrained(tmp_path / "head", tiny.model)
    parts = {"model": str(tmp_path / "model"), "head": str(tmp_path / "head")}
    app = create_app(ServerSettings(**parts, head_mode="hq"))
    model = app.state.service.predictor.model
    app.state.service.close()
    assert isinstance(model, HeadedModel)
    assert isinstance(model.head, HQHead)
    assert model.head.mode == "hq"
    with pytest.raises(ConfigError, match="mode of sum, hq"):
        create_app(ServerSettings(**parts, head_mode="both"))
    with pytest.raises(ModelError, match="nowhere"):
        create_app(ServerSettings(model=str(tmp_path / "model"), enhancer=str(tmp_path / "nowhere")))


@pytest.mark.parametrize("name", [".", "/", "a/.."])
def test_a_name_that_is_none_degrades_like_no_name(client: TestClient, name: str) -> None:
    image = text_of(encoded())
    given, plain = (
        client.post("/v1/degrade", json={"image": image, "level": 1, **more}) for more in ({"name": name}, {})
    )
    assert given.status_code == 200, given.text
    if name != "a/..":
        assert given.content == plain.content


def test_what_masks_are_made_by_differs_with_what_makes_them(make_client: Callable[..., TestClient]) -> None:
    first, again, other = (
        make_client(**each).get("/v1/models").json()["made_by"] for each in ({}, {}, {"refine": "off"})
    )
    assert first == again != other
