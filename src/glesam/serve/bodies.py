"""Bodies of requests: read whole, within their limits of bytes, silence and time, and unpacked."""

from __future__ import annotations

import asyncio
import zlib

from starlette.datastructures import Headers
from starlette.types import Receive

from glesam.common.messages import one_line
from glesam.serve.refusals import RefusalError, overloaded
from glesam.serve.settings import ServerSettings

EMBED_PATH = "/v1/embed"
_GZIP = 16 + zlib.MAX_WBITS
_SPARE = 4
"""A refused body of up to this many times the limit is read and thrown away, so that its client reads the refusal."""


class GoneError(Exception):
    """The client went away."""


class Bodies:
    """Reads bodies, and counts the bytes of all that are in memory.

    Args:
        settings: limits.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._settings = settings
        self.held_bytes = 0

    def check_length(self, path: str, headers: Headers) -> None:
        """Refuse a body that says itself that it is too long."""
        given, most = headers.get("content-length", ""), self._limit(path, headers)
        if given.isdigit() and int(given) > most:
            raise _too_long(most)

    async def read(self, path: str, headers: Headers, receive: Receive, body: bytearray) -> None:
        """Read a whole body in time, and count its bytes as long as it is held.

        Args:
            path: of the request; the bytes of an image may be fewer than those of JSON that holds one.
            headers: of the request.
            receive: gives its parts.
            body: filled; the caller gives its bytes back by `release`.

        Raises:
            GoneError: the client went away.
            RefusalError: 408, 413, 415, 422 or 503.
        """
        most = self._limit(path, headers)
        await self._collect(most, receive, body)
        await self._unpack(headers.get("content-encoding", ""), most, body)
        is_image = path == EMBED_PATH and not _holds_image(headers)
        if not is_image and _is_json(headers) and sum(map(body.count, b",[{")) > self._settings.max_values:
            raise RefusalError(
                413, f"expected at most {self._settings.max_values} values in JSON, got more; ask for less"
            )

    def release(self, body: bytearray) -> None:
        """Count a body no longer."""
        self.held_bytes -= len(body)

    async def drain(self, headers: Headers, receive: Receive) -> None:
        """Throw a body away, unless its client waits to be told to send it."""
        if "expect" in headers:
            return
        try:
            await asyncio.wait_for(_skip(receive, _SPARE * self._settings.max_body), self._settings.read_seconds)
        except TimeoutError:
            return

    def _limit(self, path: str, headers: Headers) -> int:
        """Bytes that a body may have."""
        as_bytes = path == EMBED_PATH and not _holds_image(headers)
        return self._settings.max_bytes if as_bytes else self._settings.max_body

    async def _collect(self, most: int, receive: Receive, body: bytearray) -> None:
        """Chunk by chunk; what counts is silence, so that a slow line has its time."""
        loop, settings, more = asyncio.get_running_loop(), self._settings, True
        end = loop.time() + settings.upload_seconds
        while more:
            try:
                message = await asyncio.wait_for(receive(), min(settings.read_seconds, max(0.0, end - loop.time())))
            except TimeoutError:
                raise self._too_slow(loop.time() >= end) from None
            if message["type"] == "http.disconnect":
                raise GoneError
            chunk = message.get("body", b"")
            self._hold(body, chunk)
            if len(body) > most:
                raise _too_long(most)
            more = message.get("more_body", False)

    def _hold(self, body: bytearray, chunk: bytes) -> None:
        """Add to a body, and to what all bodies take."""
        body += chunk
        self.held_bytes += len(chunk)
        if self.held_bytes > self._settings.upload_bytes:
            raise overloaded("expected fewer images at once, got more than the memory set aside for them; retry")

    def _too_slow(self, over: bool) -> RefusalError:
        """The refusal of a body that stopped, or that came for too long."""
        seconds = self._settings.upload_seconds if over else self._settings.read_seconds
        wanted = "the whole request" if over else "more of the request"
        text = f"expected {wanted} within {seconds:g} seconds, got part of it; send it again"
        return RefusalError(408, text, {"Connection": "close"})

    async def _unpack(self, encoding: str, most: int, body: bytearray) -> None:
        """Undo gzip, in place."""
        if encoding.strip().lower() in ("", "identity"):
            return
        if encoding.strip().lower() not in ("gzip", "x-gzip"):
            raise RefusalError(
                415, f"expected a body as it is or with Content-Encoding gzip, got {encoding[:40]!r}; send it so"
            )
        content = await asyncio.to_thread(_inflate, bytes(body), most)
        self.held_bytes -= len(body)
        body.clear()
        self._hold(body, content)


def _inflate(packed: bytes, most: int) -> bytes:
    """Undo gzip; refused as soon as there is more than a body may have."""
    stream = zlib.decompressobj(_GZIP)
    try:
        content = stream.decompress(packed, most + 1)
    except zlib.error as error:
        raise RefusalError(
            422, f"expected a body in gzip, got a damaged one ({one_line(error)}); pack it again"
        ) from None
    if len(content) > most:
        raise _too_long(most)
    if not stream.eof:
        raise RefusalError(422, "expected a whole body in gzip, got the beginning of one; pack it again")
    return content


def _too_long(most: int) -> RefusalError:
    """The refusal of a long body."""
    return RefusalError(
        413, f"expected at most {most} bytes, got more; shrink the image, or start the server with more --max-megabytes"
    )


def _is_json(headers: Headers) -> bool:
    """Whether a body may be read as JSON: everything that does not say that it is a form."""
    return not headers.get("content-type", "").lower().startswith("multipart/")


def _holds_image(headers: Headers) -> bool:
    """Whether a body holds an image among other things, and is not one."""
    return headers.get("content-type", "").lower().startswith(("application/json", "multipart/"))


async def _skip(receive: Receive, limit: int) -> None:
    """Read up to a limit and keep nothing."""
    seen, more = 0, True
    while more and seen <= limit:
        message = await receive()
        seen += len(message.get("body", b""))
        more = message.get("more_body", False)
