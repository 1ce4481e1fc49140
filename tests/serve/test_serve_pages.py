"""Files of the page, no way out of their folder, and the list of addresses without the network."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from glesam.serve import pages


def site(folder: Path, monkeypatch: pytest.MonkeyPatch) -> TestClient:
    monkeypatch.setattr(pages, "PAGE", folder)
    app = FastAPI(title="t", description="d", docs_url=None)
    pages.add_pages(app)
    return TestClient(app, raise_server_exceptions=False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    page = tmp_path / "page"
    page.mkdir()
    (page / "index.html").write_text("<!doctype html><title>x</title>")
    (page / "app.js").write_text("'use strict'")
    (tmp_path / "secret.txt").write_text("secret")
    (page / "link.txt").symlink_to(tmp_path / "secret.txt")
    return page


def test_page_and_files_are_served(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    client = site(folder, monkeypatch)
    assert client.get("/").text == "<!doctype html><title>x</title>"
    assert client.get("/").headers["content-type"] == "text/html; charset=utf-8"
    assert client.get("/static/app.js").headers["content-type"].startswith("text/javascript")


@pytest.mark.parametrize(
    "path",
    [
        "../secret.txt",
        "%2e%2e/secret.txt",
        "..%2fsecret.txt",
        "%2e%2e%2fsecret.txt",
        "/etc/passwd",
        "link.txt",
        "",
        ".",
    ],
)
def test_no_way_out_of_the_folder(folder: Path, monkeypatch: pytest.MonkeyPatch, path: str) -> None:
    answer = site(folder, monkeypatch).get(f"/static/{path}")
    assert answer.status_code == 404
    assert "secret" not in answer.text


def test_a_missing_page_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGE", tmp_path / "none")
    with pytest.raises(Exception, match="expected the page in the package, found none"):
        TestClient(_app()).get("/")


def _app() -> FastAPI:
    app = FastAPI()
    pages.add_pages(app)
    return app


def test_docs_list_every_address_and_need_no_other_host(client: TestClient) -> None:
    text = client.get("/docs").text
    description = client.get("/openapi.json").json()
    for path, methods in description["paths"].items():
        for method in methods:
            assert f"<h2>{method.upper()} {path}</h2>" in text
    assert {"/v1/embed", "/v1/segment", "/v1/everything", "/v1/degrade", "/v1/models", "/healthz", "/metrics"} <= set(
        description["paths"]
    )
    assert not re.search(r"https?://|<script|<img", text)
