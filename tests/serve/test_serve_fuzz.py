"""The API against its own description: whatever is sent, the server does not fail."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings

from glesam.predict.predictor import Predictor
from glesam.serve.app import create_app
from glesam.serve.settings import ServerSettings


@pytest.fixture(scope="module")
def api(tiny: Predictor) -> Iterator[Any]:
    schemathesis: Any = pytest.importorskip("schemathesis")  # not before: it is slow to import
    app = create_app(ServerSettings(host="0.0.0.0", public_without_token=True, max_pixels=10_000), tiny)

    async def kept_open(scope: Any, receive: Any, send: Any) -> None:
        # schemathesis opens and ends an application's life around every request; a server lives longer.
        if scope["type"] != "lifespan":
            return await app(scope, receive, send)
        for phase in ("startup", "shutdown"):
            await receive()
            await send({"type": f"lifespan.{phase}.complete"})
        return None

    yield schemathesis.openapi.from_asgi("/openapi.json", kept_open)
    app.state.service.close()


OPERATIONS = [
    ("GET", "/healthz"),
    ("GET", "/metrics"),
    ("GET", "/v1/models"),
    ("GET", "/v1/degradations"),
    ("POST", "/v1/embed"),
    ("POST", "/v1/segment"),
    ("POST", "/v1/everything"),
    ("POST", "/v1/degrade"),
    ("GET", "/v1/words"),
    ("POST", "/v1/text"),
    ("POST", "/v1/like"),
]


def test_every_operation_is_fuzzed(api: Any) -> None:
    described = {(result.ok().method.upper(), result.ok().path) for result in api.get_all_operations()}
    assert described == set(OPERATIONS)


@pytest.mark.parametrize(("method", "path"), OPERATIONS)
def test_no_request_makes_the_server_fail(api: Any, method: str, path: str) -> None:
    @settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
    @given(case=api[path][method].as_strategy())
    def send(case: Any) -> None:
        answer = case.call()
        assert answer.status_code < 500, answer.text
        if answer.status_code >= 400:
            assert list(answer.json()) == ["error"]

    send()
