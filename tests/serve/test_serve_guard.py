"""Who may ask, how much may come, and how fast; headers for browsers."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient
from serve_helpers import encoded, text_of

MakeClient = Callable[..., TestClient]
MakeApp = Callable[..., FastAPI]


def post_in_parts(app: FastAPI, path: str, parts: list[bytes | float | None], **headers: str) -> tuple[int, Any]:
    """Send a body in parts; a number is a wait in seconds, None the client's going away."""
    sent: list[dict[str, Any]] = []

    async def scenario() -> None:
        rest = list(parts)

        async def receive() -> dict[str, Any]:
            while rest and isinstance(rest[0], float):
                await asyncio.sleep(rest.pop(0))  # type: ignore[arg-type]
            part = rest.pop(0) if rest else b""
            if part is None:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": part, "more_body": bool(rest)}

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        names = [(b"host", b"localhost"), *((k.replace("_", "-").encode(), v.encode()) for k, v in headers.items())]
        scope = {"type": "http", "method": "POST", "path": path, "raw_path": path.encode(), "headers": names}
        scope |= {"query_string": b"", "http_version": "1.1", "scheme": "http", "server": ("localhost", 80)}
        await app(scope, receive, send)  # type: ignore[arg-type]

    asyncio.run(scenario())
    if not sent:
        return 0, None
    return sent[0]["status"], json.loads(b"".join(message.get("body", b"") for message in sent[1:]))


def test_a_token_is_asked_for(make_client: MakeClient) -> None:
    client = make_client(token="secret")
    for header in (None, "Bearer wrong", "Bearer", "secret", "bearer secret", "Bearer secretx", "Bearer secret secret"):
        headers = {} if header is None else {"Authorization": header}
        for method, path in (("GET", "/v1/models"), ("POST", "/v1/embed"), ("GET", "/metrics"), ("GET", "/v1/nothing")):
            answer = client.request(method, path, headers=headers)
            assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
            assert "Authorization: Bearer TOKEN" in answer.json()["error"]


def test_the_right_token_opens_and_health_needs_none(make_client: MakeClient) -> None:
    client = make_client(token="secret", host="0.0.0.0")
    assert client.get("/v1/models", headers={"Authorization": "Bearer secret"}).status_code == 200
    for path in ("/healthz", "/docs", "/openapi.json"):
        assert client.get(path, headers={"Host": "anything.example"}).status_code == 200


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "LOCALHOST"])
def test_local_names_are_served(client: TestClient, host: str) -> None:
    assert client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "evil.example:8000", "[", "[::1", ""])
def test_foreign_names_are_refused_without_a_token(client: TestClient, host: str) -> None:
    answer = client.get("/healthz", headers={"Host": host})
    assert answer.status_code == 403
    assert "expected a request to localhost" in answer.json()["error"]


def test_bodies_above_the_limit_are_refused_with_and_without_a_length(make_app: MakeApp) -> None:
    app = make_app(max_bytes=1000)
    for path, limit in (("/v1/embed", 1000), ("/v1/segment", 1333 + 2**20)):
        for headers in ({}, {"content_length": str(limit + 1)}):
            status, body = post_in_parts(app, path, [b"x" * limit, b"x"], **headers)
            assert status == 413
            assert body["error"].startswith(f"expected at most {limit} bytes, got more; shrink the image")
            assert "--max-megabytes" in body["error"]
    assert post_in_parts(app, "/v1/embed", [b"x" * 1000])[0] == 422


def test_a_body_that_does_not_arrive_is_refused_and_holds_nothing(make_app: MakeApp) -> None:
    app = make_app(read_seconds=0.1)
    status, body = post_in_parts(app, "/v1/embed", [b"x" * 100, 5.0, b"x"])
    assert (status, body["error"].split(",")[0]) == (408, "expected more of the request within 0.1 seconds")
    assert post_in_parts(app, "/v1/embed", [b"x" * 100, None]) == (0, None)
    with TestClient(app, base_url="http://localhost") as client:
        text = client.get("/metrics").text
    assert "glesam_body_bytes 0.0\n" in text
    assert "glesam_active_requests 0.0\n" in text
    assert 'method="POST",path="/v1/embed",status="408"} 1' in text
    assert 'method="POST",path="/v1/embed",status="499"} 1' in text


def test_bodies_together_are_bounded(make_app: MakeApp) -> None:
    app = make_app(max_bytes=1000, upload_bytes=1333 + 2**20)
    parts: list[bytes | float | None] = [b"x" * 2**20, b"x" * 2000]
    status, body = post_in_parts(app, "/v1/segment", parts)
    assert (status, body["error"].split(",")[0]) == (503, "expected fewer images at once")


@pytest.mark.parametrize("junk", [b"[" * 500_000, b"[1," * 300_000, b'{"a":' * 200_000])
def test_json_that_is_costly_to_read_is_not_read(make_app: MakeApp, junk: bytes) -> None:
    status, body = post_in_parts(make_app(), "/v1/segment", [junk], content_type="application/json")
    assert status == 413
    assert "values in JSON" in body["error"]


def test_the_largest_request_within_the_limits_is_read(make_client: MakeClient) -> None:
    client = make_client(max_objects=64, max_points=64)
    objects = [{"points": [[x % 60, 1.5] for x in range(64)], "labels": [1] * 64, "box": [0, 0, 9, 9]}] * 64
    answer = client.post("/v1/segment", json={"image": text_of(encoded()), "objects": objects})
    assert answer.status_code == 200, answer.text[:200]


def test_a_slow_line_has_its_time_and_one_that_never_ends_has_not(make_app: MakeApp) -> None:
    data = encoded()
    parts: list[bytes | float | None] = []
    for start in range(0, len(data), len(data) // 8):
        parts += [0.05, data[start : start + len(data) // 8]]
    assert post_in_parts(make_app(read_seconds=0.2), "/v1/embed", parts)[0] == 200  # .4 s in all
    status, body = post_in_parts(make_app(read_seconds=0.2, upload_seconds=0.3), "/v1/embed", parts)
    assert (status, body["error"].split(",")[0]) == (408, "expected the whole request within 0.3 seconds")


def test_gzip_is_undone_within_the_limits(make_app: MakeApp) -> None:
    app, data = make_app(max_bytes=10_000), encoded()
    for coding in ("gzip", "GZIP", "x-gzip"):
        assert post_in_parts(app, "/v1/embed", [gzip.compress(data)], content_encoding=coding)[0] == 200
    assert post_in_parts(app, "/v1/embed", [data], content_encoding="identity")[0] == 200
    for body, coding, expected in (
        (gzip.compress(bytes(10**7)), "gzip", (413, "expected at most 10000 bytes")),
        (gzip.compress(data)[:-9], "gzip", (422, "expected a whole body in gzip")),
        (data, "gzip", (422, "expected a body in gzip")),
        (data, "br", (415, "expected a body as it is or with Content-Encoding gzip")),
    ):
        status, answer = post_in_parts(app, "/v1/embed", [body], content_encoding=coding)
        assert (status, answer["error"].split(",")[0]) == expected
    with TestClient(app, base_url="http://localhost") as client:
        assert "glesam_body_bytes 0.0\n" in client.get("/metrics").text


@pytest.mark.parametrize("path", ["/healthz", "/docs", "/v1/models", "/nothing", "/"])
def test_every_answer_tells_browsers_what_they_may(client: TestClient, path: str) -> None:
    headers = client.get(path).headers
    policy = headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self';" in policy
    assert "unsafe" not in policy
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert "Access-Control-Allow-Origin" not in headers
    assert headers["Cache-Control"] == ("no-store" if path.startswith("/v1") else "no-cache")


def test_unknown_addresses_are_counted_together(make_client: MakeClient) -> None:
    client = make_client()
    for number in range(20):
        client.get(f"/nothing/{number}")
        client.get(f"/static/nothing{number}.js")
    text = client.get("/metrics").text
    assert 'method="GET",path="other",status="404"} 20' in text
    assert 'method="GET",path="/static",status="404"} 20' in text
    assert "nothing" not in text


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site", "Content-Type": "text/plain"},
        {"Origin": "http://["},
    ],
)
def test_pages_of_other_origins_change_nothing(client: TestClient, headers: dict[str, str]) -> None:
    answer = client.post("/v1/embed", content=encoded(1), headers=headers)
    assert answer.status_code == 403
    assert "another page" in answer.json()["error"]


def test_no_address_that_changes_anything_answers_other_origins(client: TestClient) -> None:
    described = client.get("/openapi.json").json()["paths"]
    found = {(method.upper(), path) for path, methods in described.items() for method in methods}
    routes = flat(client.app.routes)  # type: ignore[attr-defined]
    found |= {(method, route.path) for route in routes for method in route.methods or ()}
    changing = {each for each in found if each[0] not in ("GET", "HEAD")}
    assert {path for _, path in changing} == {
        f"/v1/{name}" for name in ("embed", "segment", "everything", "text", "degrade", "like")
    }
    for method, path in changing:
        for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
            answer = client.request(method, path, content=b"{}", headers=headers)
            assert (answer.status_code, "another page" in answer.json()["error"]) == (403, True), path


def flat(routes: Any) -> Any:
    """Routes with those of routers in them."""
    for route in routes:
        inner = getattr(route, "routes", None)
        if inner:
            yield from flat(inner)
        elif hasattr(route, "methods"):
            yield route


def test_the_own_page_and_programs_are_served(client: TestClient) -> None:
    own = {"Origin": "http://localhost", "Host": "localhost", "Sec-Fetch-Site": "same-origin"}
    for headers in ({}, own):
        assert client.post("/v1/embed", content=encoded(1), headers=headers).status_code == 200
