"""Connections: how many there may be, and how long one may be silent before it has asked for something."""

from __future__ import annotations

import asyncio
from typing import cast

from uvicorn.protocols.http.h11_impl import H11Protocol

_RESERVED = 128
"""Open files that are not connections: weights, sources, pipes."""

_ENOUGH = 16_384
_LEAST = 16


def raise_file_limit() -> int:
    """Let the process open as many files as it may, up to enough; how many it may open now."""
    try:
        import resource
    except ImportError:  # Windows, where sockets do not count as files
        return _ENOUGH
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):  # macOS has a limit of its own below the hard one
            return soft
        return wanted
    return _ENOUGH if soft == resource.RLIM_INFINITY else soft


def connections_within(files: int, wanted: int) -> int:
    """How many connections fit beside other open files."""
    return max(_LEAST, min(wanted, files - _RESERVED))


class Connection(H11Protocol):
    """A connection that is closed when it does not ask in time, or when a new one needs its place.

    The longest silent one makes room, of those that are not waiting for their answer: idle connections, and bodies that
    trickle in, cannot shut others out. Subclasses set the limits, see `limited`.
    """

    most = 1000
    head_seconds = 10.0
    _heard = 0.0
    _head_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Make room for a new connection."""
        self._heard = self.loop.time()
        if len(self.connections) >= self.most:
            self._make_room()
        super().connection_made(transport)
        self._watch_head()

    def data_received(self, data: bytes) -> None:
        """Note that something came."""
        self._heard = self.loop.time()
        super().data_received(data)
        self._watch_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the timer."""
        self._forget_head()
        super().connection_lost(exc)

    @property
    def is_at_work(self) -> bool:
        """Whether a whole request was read, and its answer is not sent yet."""
        return self.cycle is not None and not self.cycle.more_body and not self.cycle.response_complete

    def _watch_head(self) -> None:
        """Give the next request's head its time, from the first byte on; once it is there, wait no more."""
        if self.cycle is not None and not self.cycle.response_complete:
            self._forget_head()
        elif self._head_timer is None:
            self._head_timer = self.loop.call_later(self.head_seconds, self._close_silent)

    def _forget_head(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _close_silent(self) -> None:
        """Close a connection whose head did not come."""
        self._head_timer = None
        if not self.transport.is_closing():
            self.transport.abort()

    def _make_room(self) -> None:
        """Close the connection that has been silent for longest."""
        others = [each for each in cast("set[Connection]", self.connections) if not each.is_at_work]
        if others:
            victim = min(others, key=lambda each: each._heard)
            self.connections.discard(victim)
            victim.transport.abort()


def limited(most: int, head_seconds: float) -> type[Connection]:
    """The class of connections of one server.

    Args:
        most: connections at once.
        head_seconds: for the head of a request to arrive.
    """
    return type("LimitedConnection", (Connection,), {"most": most, "head_seconds": head_seconds})
