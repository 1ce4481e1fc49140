"""What stands before every request: who may ask, how much may come and how fast, and what browsers may do with answers.

A body is read whole, within its limits, before anything is queued for it: a slow client costs memory, never a worker.
"""

from __future__ import annotations

import asyncio
import hmac
import time
from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from glesam.serve.bodies import Bodies, GoneError
from glesam.serve.metrics import Metrics
from glesam.serve.refusals import RefusalError
from glesam.serve.settings import LOCAL_NAMES, ServerSettings

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; connect-src 'self'; "
        "font-src 'self'; manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}
_READING = frozenset({"GET", "HEAD"})
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Guard:
    """ASGI middleware around the whole application.

    Args:
        app: what comes after.
        settings: limits, host and token.
        metrics: counts every request, refused ones too.
        paths: known addresses, used as labels; others are counted together.
    """

    def __init__(self, app: ASGIApp, settings: ServerSettings, metrics: Metrics, paths: Iterable[str]) -> None:
        self._app, self._settings, self._metrics = app, settings, metrics
        self._paths = frozenset(paths)
        self._expected = None if settings.token is None else f"Bearer {settings.token}".encode()
        self._bodies = Bodies(settings)
        metrics.add("glesam_body_bytes", "gauge", "Bodies in memory.", lambda: [({}, self._bodies.held_bytes)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Check, read, pass on, and count."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        start, status = time.perf_counter(), 500

        async def noted(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in SECURITY_HEADERS.items():
                    headers.setdefault(name, value)
                headers.setdefault("Cache-Control", "no-store" if scope["path"].startswith("/v1") else "no-cache")
            await send(message)

        try:
            await self._handle(scope, receive, noted)
        except GoneError:
            status = 499  # nobody is left to answer; nginx's number for it
        finally:
            method = scope["method"] if scope["method"] in _METHODS else "other"
            self._metrics.observe(self._label(scope["path"]), method, status, time.perf_counter() - start)

    async def _handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse, or pass on with the body in hand."""
        headers = Headers(scope=scope)
        try:
            self._check_host(headers)
            _check_origin(scope["method"], headers)
            self._check_token(scope["path"], headers)
            self._bodies.check_length(scope["path"], headers)
        except RefusalError as refusal:
            await self._bodies.drain(headers, receive)
            await refusal.response()(scope, receive, send)
            return
        if scope["method"] in _READING:
            await self._app(scope, receive, send)
            return
        body = bytearray()
        try:
            await self._bodies.read(scope["path"], headers, receive, body)
            await self._answer(scope, bytes(body), receive, send)
        except RefusalError as refusal:
            await refusal.response()(scope, receive, send)
        finally:
            self._bodies.release(body)

    async def _answer(self, scope: Scope, body: bytes, receive: Receive, send: Send) -> None:
        """Pass a request on; when its client goes away, its work is given up.

        Raises:
            GoneError: the client went away.
        """
        complete = False

        async def noted(message: Message) -> None:
            nonlocal complete
            complete = message["type"] == "http.response.body" and not message.get("more_body", False)
            await send(message)

        gone = asyncio.create_task(_has_gone(receive))
        work = asyncio.ensure_future(_run(self._app, scope, _replay(body, gone), noted))
        try:
            await asyncio.wait({gone, work}, return_when=asyncio.FIRST_COMPLETED)
            if gone.done() and gone.result() and not complete and not work.done():
                work.cancel()
                await asyncio.wait({work})
                raise GoneError
            await work
        finally:
            gone.cancel()
            work.cancel()

    def _check_host(self, headers: Headers) -> None:
        """Without a token, a local server answers to local names only: a foreign page cannot rebind its name to it."""
        settings = self._settings
        if settings.token is not None or not settings.is_local:
            return
        name = _part(f"//{headers.get('host', '')}", "hostname")
        if name not in (*LOCAL_NAMES, settings.host):
            raise RefusalError(
                403, "expected a request to localhost, got one to another name; to serve others set a token"
            )

    def _check_token(self, path: str, headers: Headers) -> None:
        """The page, its files, `/docs` and `/healthz` hold no secrets; all else asks for the token."""
        if self._expected is None or not path.startswith(("/v1", "/metrics")):
            return
        given = headers.get("authorization", "").encode("utf-8", "replace")
        if not hmac.compare_digest(given, self._expected):
            text = "expected the header 'Authorization: Bearer TOKEN' with the server's token, got none or a wrong one"
            raise RefusalError(401, f"{text}; ask who runs it", {"WWW-Authenticate": "Bearer"})

    def _label(self, path: str) -> str:
        """A path as a label; anybody can ask for any path, and each label is kept."""
        if path.startswith("/static/"):
            return "/static"
        return path if path in self._paths else "other"


def _part(address: str, part: str) -> str:
    """A part of an address as `urlsplit` names it, in lower case; empty where it is malformed."""
    try:
        return (getattr(urlsplit(address), part) or "").lower()
    except ValueError:
        return ""


def _check_origin(method: str, headers: Headers) -> None:
    """Refuse what a page of another origin asks for: browsers send such requests along, though not their answers.

    Browsers name the asking page in `Sec-Fetch-Site` and, for all but plain reading, in `Origin` (Fetch standard);
    other clients send neither.
    """
    if method in _READING:
        return
    origin = headers.get("origin")
    foreign = origin is not None and _part(origin, "netloc") != headers.get("host", "").lower()
    if foreign or headers.get("sec-fetch-site", "none") not in ("none", "same-origin"):
        raise RefusalError(
            403, "expected a request from the server's own page or from a program, got one from another page; call it "
            "from a program",
        )  # fmt: skip


def _replay(body: bytes, gone: asyncio.Task[bool]) -> Receive:
    """Give the body that was read, then the client's going away."""
    given = False

    async def replayed() -> Message:
        nonlocal given
        if given:
            await asyncio.wait({gone})
            return {"type": "http.disconnect"}
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replayed


async def _has_gone(receive: Receive) -> bool:
    """Wait until the client goes away, or says something that is not expected of it."""
    message = await receive()
    return bool(message["type"] == "http.disconnect")


async def _run(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """An application as a coroutine, whatever it is that it gives to wait for."""
    await app(scope, receive, send)
