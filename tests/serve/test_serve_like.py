"""Examples over HTTP, behind a tiny model: the library's own search, examples kept between requests, refusals."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from glesam.masks.rle import encode
from glesam.predict.predictor import Predictor
from glesam.serve.likeness import example_set
from glesam.serve.schemas import ExampleImage, RunLengths
from glesam.serve.stored_images import KeyedPredictor, StoredImage

Pixels = npt.NDArray[np.uint8]
Bits = npt.NDArray[np.bool_]


def drawn(x: int, y: int, seed: int) -> tuple[Pixels, Bits]:
    """A red disc on noise, and its mask."""
    rows, columns = np.mgrid[:96, :128]
    disc = (columns - x) ** 2 + (rows - y) ** 2 < 18**2
    image = np.random.default_rng(seed).integers(90, 130, (96, 128, 3), dtype=np.uint8)
    image[disc] = (220, 40, 30)
    return image, disc


def png(image: Pixels) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, "PNG")
    return stream.getvalue()


@pytest.fixture
def sent(client: TestClient) -> tuple[str, dict[str, Any]]:
    """The id of an image to look in, and an example of another one."""
    (first, mask), (second, _) = drawn(40, 40, 1), drawn(80, 50, 2)
    keys = [client.post("/v1/embed", content=png(image)).json()["id"] for image in (first, second)]
    return keys[1], {"id": keys[0], "objects": [encode(mask)]}


def test_the_search_is_the_librarys(client: TestClient, tiny: Predictor, sent: tuple[str, dict[str, Any]]) -> None:
    key, example = sent
    answer = client.post("/v1/like", json={"id": key, "examples": [example], "threshold": 0, "enhance": "off"})
    assert answer.status_code == 200, answer.text
    tiny.enhance = "off"
    tiny.set_image(drawn(80, 50, 2)[0])
    tiny.remember_file(*drawn(40, 40, 1))
    expected = tiny.find_like(0)
    tiny.forget()
    assert len(expected) > 0
    assert [each["rle"] for each in answer.json()["objects"]] == [encode(mask) for mask in expected.masks]
    scores = [each["score"] for each in answer.json()["objects"]]
    np.testing.assert_allclose(scores, expected.scores, atol=1e-6)
    assert answer.json()["threshold"] == 0


def test_the_same_examples_are_looked_at_once(
    client: TestClient, sent: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, example = sent
    seen: list[int] = []
    look = KeyedPredictor.remember_file
    monkeypatch.setattr(
        KeyedPredictor, "remember_file", lambda self, image, mask: seen.append(len(mask)) or look(self, image, mask)
    )
    other = {**example, "objects": [encode(drawn(44, 44, 1)[1])]}
    answers = [
        client.post("/v1/like", json={"id": key, "examples": given, "threshold": 0}).json()["objects"]
        for given in ([other], [other], [example, other], [other])
    ]
    assert seen == [1, 1, 1, 1]  # once, not again, both, and the first anew
    assert answers[0] == answers[1] == answers[3]


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"id": "f" * 64}, 404, "embed it first"),
        ({"objects": [encode(np.ones((96, 127), bool))]}, 422, "expected examples of size [96, 128]"),
        ({"objects": [{"size": [96, 128], "counts": "1"}]}, 422, "runs that fill 96x128 pixels"),
        ({"objects": [encode(np.zeros((96, 128), bool))]}, 422, "expected a marked object"),
        ({"objects": [encode(np.ones((96, 128), bool))] * 65}, 422, "at most 64 examples, got 65"),
        ({"objects": []}, 422, "at least 1 item"),
        ({"masks": []}, 422, "unknown key"),
    ],
)
def test_wrong_examples_are_one_line(
    client: TestClient, sent: tuple[str, dict[str, Any]], change: dict[str, Any], status: int, said: str
) -> None:
    key, example = sent
    answer = client.post("/v1/like", json={"id": key, "examples": [{**example, **change}]})
    assert answer.status_code == status, answer.text
    assert said in answer.json()["error"]
    assert "\n" not in answer.json()["error"]


def test_a_search_does_not_depend_on_what_was_asked_before(
    client: TestClient, sent: tuple[str, dict[str, Any]]
) -> None:
    key, example = sent
    wish = {"id": key, "examples": [example], "threshold": 0}
    first = client.post("/v1/like", json=wish).json()["objects"]
    assert client.post("/v1/everything", json={"id": key, "points_per_side": 2, "refine": "off"}).status_code == 200
    assert client.post("/v1/like", json=wish).json()["objects"] == first
    rough = client.post("/v1/like", json={**wish, "refine": "off"}).json()["objects"]
    assert len(rough) == len(first)
    assert rough != first


def test_objects_of_one_image_in_one_entry_or_in_two_are_two_questions(make_app: Any) -> None:
    service = make_app().state.service
    image, mask = drawn(40, 40, 1)
    service.store.put("a", StoredImage(png(image), mask.shape))
    runs = [RunLengths.model_validate(encode(np.roll(mask, shift))) for shift in (0, 9)]
    one = [ExampleImage(id="a", objects=runs)]
    two = [ExampleImage(id="a", objects=[each]) for each in runs]
    keys = [example_set(given, service.store, service.settings) for given in (one, two, one)]
    assert keys[0].key == keys[2].key != keys[1].key
    assert keys[0].mask_bytes == 4 * mask.size


def test_more_matches_than_masks_fit_are_refused(
    client: TestClient, sent: tuple[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch
) -> None:
    key, example = sent
    body = {"id": key, "examples": [example], "threshold": 0, "enhance": "off"}
    count = len(client.post("/v1/like", json=body).json()["objects"])
    assert count > 0
    monkeypatch.setattr(KeyedPredictor, "most_masks", lambda self, pixels: count - 1)
    answer = client.post("/v1/like", json=body)
    assert answer.status_code == 422
    said = f"expected at most {count - 1} objects in an image of this size, found {count}; raise the threshold"
    assert answer.json()["error"].startswith(said)
