"""Errors as answers: one form, one line, whatever went wrong."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from serve_helpers import encoded

from glesam.serve.refusals import RefusalError, overloaded


@pytest.mark.parametrize(("seconds", "header"), [(0.0, "1"), (2.4, "2"), (1e9, "60")])
def test_overloaded_says_when_to_come_again(seconds: float, header: str) -> None:
    refusal = overloaded("busy", seconds)
    assert (refusal.status, refusal.headers) == (503, {"Retry-After": header})


def test_half_a_surrogate_pair_can_be_answered() -> None:
    assert RefusalError(404, "got \ud800").response().body == b'{"error":"got ?"}'


@pytest.mark.parametrize(
    ("method", "path", "content", "kind", "status"),
    [
        ("GET", "/nothing", b"", None, 404),
        ("DELETE", "/v1/embed", b"", None, 405),
        ("POST", "/v1/segment", b"{", "application/json", 422),
        ("POST", "/v1/segment", b"", "application/json", 422),
        ("POST", "/v1/segment", b"[1]", "application/json", 422),
        ("POST", "/v1/segment", b"{}", "text/plain", 422),
        ("POST", "/v1/segment", b"\xff\xfe", "application/json", (400, 422)),
        ("POST", "/v1/segment", b'{"id":"\\ud800","objects":[{"points":[[1,1]]}]}', "application/json", (404, 422)),
        ("POST", "/v1/segment", b'{"id":"a","objects":[{"points":[[NaN,1]]}]}', "application/json", 422),
        ("POST", "/v1/segment", b'{"id":"a","objects":[{"points":[[1e999,1]]}]}', "application/json", 422),
        ("POST", "/v1/segment", b'{"id":' + b"9" * 5000 + b"}", "application/json", (400, 422)),
    ],
)
def test_every_refusal_has_the_one_form(
    client: TestClient, method: str, path: str, content: bytes, kind: str | None, status: int | tuple[int, ...]
) -> None:
    answer = client.request(method, path, content=content, headers={} if kind is None else {"Content-Type": kind})
    assert answer.status_code in (status if isinstance(status, tuple) else (status,)), answer.text
    assert list(answer.json()) == ["error"]
    assert len(answer.json()["error"].splitlines()) == 1


def test_a_programming_error_is_a_500_that_tells_nothing(make_app: Callable[..., FastAPI]) -> None:
    app = make_app()

    def broken(*_: object) -> None:
        raise RuntimeError("/home/someone/secret")

    app.state.service.embed = broken
    with TestClient(app, base_url="http://localhost", raise_server_exceptions=False) as client:
        answer = client.post("/v1/embed", content=encoded())
        assert answer.status_code == 500
        assert "secret" not in answer.text
        assert 'method="POST",path="/v1/embed",status="500"} 1' in client.get("/metrics").text
