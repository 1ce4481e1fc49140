"""Words over HTTP: a source of words that knows one, behind a tiny model."""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient

from glesam.errors import PromptError
from glesam.predict.words import Words
from glesam.text.base import WordMap

PHOTO = (Path(__file__).parents[2] / "examples" / "photos" / "coffee.jpg").read_bytes()


class Middle:
    """Finds "middle" in the middle."""

    name = "middle"

    def check(self, words: tuple[str, ...]) -> None:
        if set(words) - {"middle", "nowhere"}:
            raise PromptError("expected 'middle', got another; did you mean 'middle'?")

    def maps(self, image: np.ndarray, words: tuple[str, ...]) -> list[WordMap]:
        values = np.zeros((8, 12), np.float32)
        values[2:6, 4:8] = 1
        return [WordMap(word, values, 0.9 if word == "middle" else 0.1) for word in words]


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch, make_client: Callable[..., TestClient]) -> TestClient:
    monkeypatch.setattr(Words, "default", Middle())
    return make_client()


def test_words_by_image_and_by_id_give_the_same(client: TestClient) -> None:
    sent = client.post("/v1/text", json={"image": base64.b64encode(PHOTO).decode(), "text": "middle; nowhere"}).json()
    assert sent["words"] == {"middle": 0.9, "nowhere": 0.1}
    assert {each["class_name"] for each in sent["objects"]} <= {"middle"}
    key = client.post("/v1/embed", content=PHOTO).json()["id"]
    for _ in range(2):  # the second time the image is embedded in this lane, whose cache has no pixels
        asked = client.post("/v1/text", json={"id": key, "text": "middle; nowhere"}).json()
        assert (asked["words"], asked["objects"]) == (sent["words"], sent["objects"])


@pytest.mark.parametrize(("text", "said"), [("", "at least one word"), ("midle", "did you mean 'middle'")])
def test_wrong_words_are_one_line(client: TestClient, text: str, said: str) -> None:
    key = client.post("/v1/embed", content=PHOTO).json()["id"]
    answer = client.post("/v1/text", json={"id": key, "text": text})
    assert answer.status_code == 422
    assert said in answer.json()["error"]
