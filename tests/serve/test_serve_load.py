"""Many clients at once, some of them wrong: each gets its own right answer."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import httpx
import numpy as np
from fastapi import FastAPI
from pycocotools import mask as coco_mask
from serve_helpers import encoded, text_of

from glesam.images.reading import content_hash, read
from glesam.predict.predictor import Predictor

CLIENTS, EACH, BROKEN = 16, 25, 0.1
MakeApp = Callable[..., FastAPI]
BAD: list[dict[str, Any]] = [
    {"content": b"not json", "headers": {"Content-Type": "application/json"}},
    {"json": {"id": "0" * 32, "objects": [{"box": [0, 0, 5, 5]}]}},
    {"json": {"image": text_of(encoded()[:200]), "objects": [{"box": [0, 0, 5, 5]}]}},
    {"json": {"image": text_of(encoded()), "objects": [{"points": [[999, 0]]}]}},
    {"json": {"image": text_of(encoded()), "objects": [{"box": [5, 5, 1, 1]}]}},
    {"json": {"image": text_of(encoded()), "objects": [{"box": [0, 0, 5, 5]}] * 65}},
    {"json": {"image": text_of(encoded()), "objects": []}},
]


def test_sixteen_clients_of_whom_some_are_wrong(make_app: MakeApp, tiny: Predictor) -> None:
    pictures = [encoded(seed, 40 + seed, 50) for seed in range(6)]
    boxes = [[1, 2, 20, 30], [10, 5, 35, 45], [3, 3, 39, 49]]
    expected = []
    for picture in pictures:
        tiny.set_image(picture)
        expected.append(tiny.predict(boxes=boxes).masks)
    keys = [content_hash(read(picture)) for picture in pictures]
    app = make_app(cache_entries=3)  # fewer than images: embeddings come and go
    transport = httpx.ASGITransport(app)

    async def client_of(number: int) -> list[tuple[bool, int]]:
        rng, outcomes = np.random.default_rng(number), []
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            for picture in pictures:
                assert (await client.post("/v1/embed", content=picture)).status_code == 200
            for _ in range(EACH):
                if rng.random() < BROKEN:
                    answer = await client.post("/v1/segment", **BAD[rng.integers(len(BAD))])
                    outcomes.append((False, answer.status_code))
                    continue
                which, box = int(rng.integers(len(pictures))), int(rng.integers(len(boxes)))
                source = {"id": keys[which]} if rng.random() < 0.7 else {"image": text_of(pictures[which])}
                answer = await client.post("/v1/segment", json={**source, "objects": [{"box": boxes[box]}]})
                assert answer.status_code == 200, answer.text
                found = coco_mask.decode(answer.json()["objects"][0]["rle"]).astype(bool)
                assert np.array_equal(found, expected[which][box])
                outcomes.append((True, answer.status_code))
        return outcomes

    async def everybody() -> list[tuple[bool, int]]:
        return [each for some in await asyncio.gather(*map(client_of, range(CLIENTS))) for each in some]

    outcomes = asyncio.run(everybody())
    broken = [status for good, status in outcomes if not good]
    assert len(outcomes) == CLIENTS * EACH
    assert 0.05 * len(outcomes) < len(broken) < 0.2 * len(outcomes)
    assert all(400 <= status < 500 for status in broken)
    assert app.state.service.active == 0


def test_what_does_not_fit_the_queue_is_refused_and_the_rest_answered(make_app: MakeApp) -> None:
    app = make_app(queue_length=4)
    transport = httpx.ASGITransport(app)

    async def burst() -> list[httpx.Response]:
        async with httpx.AsyncClient(transport=transport, base_url="http://localhost") as client:
            return await asyncio.gather(*(client.post("/v1/embed", content=encoded(seed)) for seed in range(12)))

    answers = asyncio.run(burst())
    assert sorted({answer.status_code for answer in answers}) == [200, 503]
    assert sum(answer.status_code == 200 for answer in answers) >= 4
    assert all(int(a.headers["Retry-After"]) >= 1 for a in answers if a.status_code == 503)
