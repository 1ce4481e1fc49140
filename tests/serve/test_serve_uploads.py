"""An image sent as programs send files: as it is, in a form, as JSON, packed."""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tifffile
from fastapi.testclient import TestClient
from serve_helpers import encoded, text_of

from glesam.images.reading import content_hash, read

MakeClient = Callable[..., TestClient]
DATA = encoded(11)
KEY = content_hash(read(DATA))
JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    "sent",
    [
        {"content": DATA},
        {"files": {"file": ("cat.png", DATA, "image/png")}},
        {"files": {"image": ("cat.png", DATA)}, "data": {"note": "a field that nobody asked for"}},
        {"json": {"image": text_of(DATA)}},
        {"content": gzip.compress(DATA), "headers": {"Content-Encoding": "gzip"}},
        {
            "content": gzip.compress(json.dumps({"image": text_of(DATA)}).encode()),
            "headers": {"Content-Encoding": "gzip", **JSON},
        },
    ],
)
def test_each_form_gives_the_same_image(client: TestClient, sent: dict[str, Any]) -> None:
    answer = client.post("/v1/embed", **sent)
    assert (answer.status_code, answer.json().get("id")) == (200, KEY), answer.text


def test_wide_images_are_those_that_the_command_reads(client: TestClient) -> None:
    rng = np.random.default_rng(3)
    levels = rng.integers(0, 2**16, (3, 24, 30), dtype=np.uint16)  # planar, 16 bits: Pillow alone has no way to read it
    levels[:, 0, :2] = 0, 2**16 - 1  # the whole range, so that nothing is stretched
    stream = io.BytesIO()
    tifffile.imwrite(stream, levels, photometric="rgb", planarconfig="separate")
    answer = client.post("/v1/embed", content=stream.getvalue())
    expected = (np.moveaxis(levels, 0, -1) / 257).round().astype(np.uint8)
    assert np.abs(read(stream.getvalue()).astype(int) - expected).max() <= 1  # how a half is rounded is not said
    assert (answer.status_code, answer.json().get("id")) == (200, content_hash(read(stream.getvalue()))), answer.text


def test_packed_json_is_taken_everywhere(client: TestClient) -> None:
    body = gzip.compress(json.dumps({"image": text_of(DATA), "objects": [{"box": [1, 1, 20, 20]}]}).encode())
    answer = client.post("/v1/segment", content=body, headers={"Content-Encoding": "gzip", **JSON})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    ("sent", "said"),
    [
        ({"files": {"photo": ("cat.png", DATA)}}, "expected a form with a file named file, got one with photo"),
        ({"content": b"--x--", "headers": {"Content-Type": "multipart/form-data; boundary=x"}}, "expected a form"),
        ({"content": b"junk", "headers": {"Content-Type": "multipart/form-data"}}, "expected a form"),
        ({"json": {"picture": text_of(DATA)}}, "expected JSON as"),
        ({"json": {"image": 7}}, "expected JSON as"),
        ({"json": ["image"]}, "expected JSON as"),
        ({"content": b"{", "headers": JSON}, "expected a request in JSON"),
        ({"json": {"image": "no base64"}}, "expected image in base64"),
    ],
)
def test_what_holds_no_image_is_one_line(client: TestClient, sent: dict[str, Any], said: str) -> None:
    answer = client.post("/v1/embed", **sent)
    assert (answer.status_code, list(answer.json())) == (422, ["error"])
    assert answer.json()["error"].startswith(said)
    assert "\n" not in answer.json()["error"]


@pytest.mark.parametrize("path", ["/v1/segment", "/v1/everything", "/v1/degrade", "/v1/text", "/v1/like"])
def test_a_form_for_an_address_of_json_is_named(client: TestClient, path: str) -> None:
    answer = client.post(path, files={"file": ("cat.png", DATA)})
    assert answer.status_code == 422
    assert "Content-Type: application/json" in answer.json()["error"]


def test_the_limit_is_that_of_the_image_in_every_form(make_client: MakeClient) -> None:
    client = make_client(max_bytes=len(DATA) - 1)
    forms: list[dict[str, Any]] = [
        {"content": DATA},
        {"files": {"file": ("cat.png", DATA)}},
        {"json": {"image": text_of(DATA)}},
    ]
    for sent in forms:
        answer = client.post("/v1/embed", **sent)
        assert answer.status_code == 413
        assert "--max-megabytes" in answer.json()["error"]
