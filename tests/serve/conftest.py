"""A tiny SAM with random weights behind the server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("httpx")
from fastapi import FastAPI
from fastapi.testclient import TestClient
from page_fixtures import address, browser, person, visit

from glesam.predict.predictor import Predictor
from glesam.serve.app import create_app
from glesam.serve.settings import ServerSettings

__all__ = ["address", "browser", "person", "visit"]  # fixtures of the page
MakeClient = Callable[..., TestClient]


@pytest.fixture(scope="session")
def tiny() -> Predictor:
    """Used by the tests alone; servers copy its modules."""
    from models_tiny import sam_tiny

    from glesam.models.sam.sam import SamPromptable

    return Predictor(SamPromptable(sam_tiny()), name="tiny")


@pytest.fixture
def make_app(tiny: Predictor) -> Iterator[Callable[..., FastAPI]]:
    """Make applications around the tiny model: `make_app(max_bytes=...)`; their threads end with the test."""
    made: list[FastAPI] = []

    def make(predictor: Predictor = tiny, **settings: Any) -> FastAPI:
        made.append(create_app(ServerSettings(**settings), predictor))
        return made[-1]

    yield make
    for app in made:
        app.state.service.close()


@pytest.fixture
def make_client(make_app: Callable[..., FastAPI]) -> Iterator[MakeClient]:
    """A client of a new application."""
    clients: list[TestClient] = []

    def make(**settings: Any) -> TestClient:
        client = TestClient(make_app(**settings), base_url="http://localhost", raise_server_exceptions=False)
        clients.append(client.__enter__())
        return clients[-1]

    yield make
    for client in clients:
        client.__exit__(None, None, None)


@pytest.fixture(scope="module")
def client(tiny: Predictor) -> Iterator[TestClient]:
    """A client of a server with default settings, shared by the tests of a file."""
    with TestClient(
        create_app(ServerSettings(), tiny), base_url="http://localhost", raise_server_exceptions=False
    ) as made:
        yield made
