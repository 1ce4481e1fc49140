"""The page, its files, and a list of the addresses that needs no network."""

from __future__ import annotations

from html import escape
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles

from glesam.serve.refusals import RefusalError

PAGE = Path(__file__).parent / "page"
"""Folder of the page's files."""

PATHS = ("/", "/docs", "/openapi.json", "/favicon.ico")
"""Addresses that the description of the API does not list."""

router = APIRouter(include_in_schema=False)


def add_pages(app: FastAPI) -> None:
    """Serve `/`, `/static/...` and `/docs`."""
    app.include_router(router)
    if PAGE.is_dir():
        app.mount("/static", StaticFiles(directory=PAGE))


@router.get("/")
async def index() -> Response:
    """The page."""
    if not (PAGE / "index.html").is_file():
        raise RefusalError(404, "expected the page in the package, found none; install glesam again, or see /docs")
    return FileResponse(PAGE / "index.html", media_type="text/html; charset=utf-8")


@router.get("/favicon.ico")
async def favicon() -> Response:
    """Browsers ask for it whatever the page says; there is none."""
    return Response(status_code=204)


@router.get("/docs")
async def docs(request: Request) -> HTMLResponse:
    """The addresses, as a page without scripts; `/openapi.json` is the whole description."""
    description = request.app.openapi()
    rows = [
        _row(method, path, operation)
        for path, methods in description["paths"].items()
        for method, operation in methods.items()
    ]
    title = escape(f"{description['info']['title']} {description['info']['version']}")
    return HTMLResponse(
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title><h1>{title}</h1>'
        f"<p>{escape(description['info']['description'])}</p>"
        '<p>For machines, in full: <a href="/openapi.json">openapi.json</a>.</p>' + "".join(rows)
    )


def _row(method: str, path: str, operation: dict[str, Any]) -> str:
    body = operation.get("requestBody", {}).get("content", {})
    takes = "".join(
        f"<li>takes {escape(kind)}: {_schema_name(content['schema'])}</li>" for kind, content in body.items()
    )
    answers = "".join(
        f"<li>{escape(status)}: {escape(answer['description'])}</li>"
        for status, answer in operation["responses"].items()
    )
    summary, text = escape(operation.get("summary", "")), escape(operation.get("description", ""))
    return f"<h2>{escape(method.upper())} {escape(path)}</h2><p>{summary}. {text}</p><ul>{takes}{answers}</ul>"


def _schema_name(schema: dict[str, Any]) -> str:
    """Name of a schema in `openapi.json`, or its type."""
    return escape(str(schema.get("$ref", schema.get("format", "object"))).rsplit("/", 1)[-1])
