"""The API against its own description: whatever is sent, the server does not fail."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, settings

from glesam.predictor import Predictor
from glesam.serve.app import create_app
from glesam.serve.settings import ServerSettings

schemathesis: Any = pytest.importorskip("schemathesis")


@pytest.fixture(scope="module")
def api(tiny: Predictor) -> Any:
    app = create_app(ServerSettings(host="0.0.0.0", public_without_token=True, max_pixels=10_000), tiny)
    yield schemathesis.openapi.from_asgi("/openapi.json", app)
    app.state.service.close()


schema = schemathesis.pytest.from_fixture("api")


@schema.parametrize()
@settings(max_examples=12, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck))
def test_no_request_makes_the_server_fail(case: Any) -> None:
    answer = case.call()
    assert answer.status_code < 500, answer.text
    if answer.status_code >= 400:
        assert list(answer.json()) == ["error"]
