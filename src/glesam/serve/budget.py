"""Memory that requests work in: a number of bytes for all of them together, and what each kind of work takes."""

from __future__ import annotations

import asyncio
import io
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from glesam.serve.refusals import RefusalError, overloaded

READ_BYTES = 20
"""Bytes for each pixel of an image from its file to its embedding: RGBA of 16 bits as it is decoded, and its RGB."""

DEGRADE_BYTES = 100
"""Bytes for each pixel that the hungriest degradation takes, source and result included; see `degrade_bytes`."""

_LEAN = {
    "brightness": 12,
    "contrast": 12,
    "resampling_blur": 12,
    "compression": 16,
    "recompression": 16,
    "motion_blur": 32,
    "gaussian_noise": 42,
    "zoom_blur": 46,
    "fog": 48,
    "rain": 52,
    "snow": 58,
}
"""Kinds of degradation that take less: peak of resident memory at 2000 x 1500, with a tenth to spare."""

_LEVEL_BYTES = 62


class Budget:
    """Bytes that may be worked in at once; who does not fit waits, first come first served.

    Args:
        total: bytes.
    """

    def __init__(self, total: int) -> None:
        self.total, self.held = total, 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @asynccontextmanager
    async def hold(self, count: int, deadline: float) -> AsyncIterator[None]:
        """Hold bytes for a while.

        Args:
            count: bytes.
            deadline: on the event loop's clock, until when to wait for them.

        Raises:
            RefusalError: 413, more than there ever are; 503, they were not free in time.
        """
        if count > self.total:
            most, asked = self.total / 2**20, count / 2**20
            raise RefusalError(
                413,
                f"expected work in at most {most:.0f} MiB, got a request that takes {asked:.0f} MiB; shrink the image, "
                "or start the server with more --memory",
            )
        await self._acquire(count, deadline)
        try:
            yield
        finally:
            self.held -= count
            self._admit()

    async def _acquire(self, count: int, deadline: float) -> None:
        """Wait for one's turn."""
        loop = asyncio.get_running_loop()
        turn: asyncio.Future[None] = loop.create_future()
        self._waiting.append((count, turn))
        self._admit()
        try:
            await asyncio.wait({turn}, timeout=max(0.0, deadline - loop.time()))
        except asyncio.CancelledError:
            self._withdraw(count, turn)
            raise
        if not turn.done():
            self._withdraw(count, turn)
            raise overloaded("expected to begin in time, got too many images before this one; retry")

    def _withdraw(self, count: int, turn: asyncio.Future[None]) -> None:
        """Leave the queue, or give back what was just given."""
        if turn.done():
            self.held -= count
        else:
            self._waiting.remove((count, turn))
        self._admit()

    def _admit(self) -> None:
        """Let in who stands first, as long as there is room."""
        while self._waiting and self.held + self._waiting[0][0] <= self.total:
            count, turn = self._waiting.popleft()
            self.held += count
            turn.set_result(None)


def pixel_count(data: bytes, most: int) -> int:
    """Pixels of an encoded image by its header; the limit where there is no telling, or where it claims more.

    What is damaged or too large is refused when it is read; this only says what reading may take.

    Args:
        data: encoded bytes.
        most: limit on the pixels of an image.
    """
    from glesam.errors import ImageError
    from glesam.images.opening import identified

    try:
        with identified(io.BytesIO(data), "the image sent") as image:
            claimed = image.width * image.height
    except ImageError:
        return most
    return claimed if 0 < claimed <= most else most


def degrade_bytes(kind: str | None) -> int:
    """Bytes for each pixel of an image that is made worse by a kind, or by a level where it is None."""
    return _LEVEL_BYTES if kind is None else _LEAN.get(kind, DEGRADE_BYTES)
