"""Clients that leave free their work, on the whole application."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Callable
from typing import Any

from fastapi import FastAPI
from serve_helpers import encoded, text_of

from glesam.common.stopping import check
from glesam.predict import session
from glesam.predict.decoding import decode_as_judged

MakeApp = Callable[..., FastAPI]
IMAGE = text_of(encoded(1, 80, 60))


async def post(app: FastAPI, path: str, body: dict[str, Any], leave: asyncio.Event | None = None) -> int:
    """Status of the answer to a client that waits, or that leaves when told to; 0 where nothing was answered."""
    sent: list[int] = []
    parts = [{"type": "http.request", "body": json.dumps(body).encode(), "more_body": False}]

    async def receive() -> dict[str, Any]:
        if parts:
            return parts.pop()
        await (leave or asyncio.Event()).wait()
        return {"type": "http.disconnect"}

    async def send(message: dict[str, Any]) -> None:
        if message["type"] == "http.response.start":
            sent.append(message["status"])

    headers = [(b"host", b"localhost"), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": headers}
    scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "server": ("localhost", 80)}
    await app(scope, receive, send)  # type: ignore[arg-type]
    return sent[0] if sent else 0


def test_work_of_six_clients_that_left_does_not_hold_up_the_seventh(make_app: MakeApp, monkeypatch: Any) -> None:
    """Everything mode with a model so slow that each request would take a minute."""
    app, slow, begun = make_app(), [True], threading.Event()

    def slowly(*arguments: Any, **options: Any) -> Any:
        begun.set()
        for _ in range(600 if slow[0] else 0):
            check()
            time.sleep(0.1)
        return decode_as_judged(*arguments, **options)

    monkeypatch.setattr(session, "decode_as_judged", slowly)

    async def scenario() -> tuple[list[int], int, float]:
        leave = asyncio.Event()
        body = {"image": IMAGE, "points_per_side": 4}
        gone = [asyncio.ensure_future(post(app, "/v1/everything", body, leave)) for _ in range(6)]
        await asyncio.to_thread(begun.wait, 20)
        slow[0], start = False, time.monotonic()
        leave.set()
        statuses = await asyncio.gather(*gone)
        return statuses, await post(app, "/v1/everything", body), time.monotonic() - start

    statuses, last, seconds = asyncio.run(scenario())
    assert (statuses, last) == ([0] * 6, 200)
    assert seconds < 20
    service = app.state.service
    assert (service.active, service.budget.held, [lane.pending for lane in service.lanes]) == (0, 0, [0, 0, 0, 0])


def test_everything_stops_between_two_chunks_of_clicks(make_app: MakeApp, monkeypatch: Any) -> None:
    """No step of ours in it: the library's own loop is asked."""
    app, begun, calls = make_app(), threading.Event(), [0]

    def counted(*arguments: Any, **options: Any) -> Any:
        calls[0] += 1
        begun.set()
        time.sleep(0.02)
        return decode_as_judged(*arguments, **options)

    monkeypatch.setattr(session, "decode_as_judged", counted)

    async def scenario() -> None:
        leave = asyncio.Event()
        asked = asyncio.ensure_future(post(app, "/v1/everything", {"image": IMAGE, "points_per_side": 64}, leave))
        await asyncio.to_thread(begun.wait, 20)
        leave.set()
        await asked

    asyncio.run(scenario())
    assert app.state.service.close(20)
    assert calls[0] < 64 * 64 / 8 / 2  # of 512 chunks of 8 clicks


def test_an_answer_that_was_sent_is_no_leaving(make_app: MakeApp) -> None:
    async def scenario() -> list[int]:
        body = {"image": IMAGE, "objects": [{"box": [5, 5, 40, 40]}]}
        return [await post(make_app(), "/v1/segment", body) for _ in range(2)]

    assert asyncio.run(scenario()) == [200, 200]
