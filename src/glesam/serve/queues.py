"""Lanes: one thread and one bounded queue for each kind of work, so that long work never stands before short work."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

from glesam.serve.refusals import RefusalError, overloaded

T = TypeVar("T")

_MEMORY = 0.8
"""Weight of earlier jobs in the running mean of a lane's seconds."""


class Lane:
    """Runs jobs in order, away from the event loop.

    Args:
        name: of its threads, and in `/metrics`.
        limit: jobs waiting and running; more are refused.
        threads: jobs at once.
    """

    def __init__(self, name: str, limit: int, threads: int = 1) -> None:
        self.name, self.limit, self.threads = name, limit, threads
        self.pending = 0
        self._seconds = 0.0
        self._lock = threading.Lock()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"glesam-{name}")

    @property
    def wait_seconds(self) -> float:
        """Expected wait of a job that comes now."""
        return self.pending * self._seconds / self.threads

    async def run(self, job: Callable[[], T], deadline: float) -> T:
        """Queue a job and wait for what it gives or raises.

        Args:
            job: called in the lane's thread.
            deadline: on the event loop's clock. A job that still waits then is dropped (503); one that runs then goes
                on to its end, as no computation can be broken off, but its client is told 504.

        Raises:
            RefusalError: the lane is full, or the deadline passed.
        """
        if self.pending >= self.limit:
            raise overloaded(f"expected fewer requests, got more than {self.limit} at once; retry", self.wait_seconds)
        self._count(1)
        future = self._executor.submit(self._timed, job)
        future.add_done_callback(lambda _: self._count(-1))
        waiter = asyncio.wrap_future(future)
        await asyncio.wait({waiter}, timeout=max(0.0, deadline - asyncio.get_running_loop().time()))
        if not waiter.done():
            raise self._too_late(future, waiter)
        return waiter.result()

    def close(self) -> None:
        """Finish what is queued, then end the threads."""
        self._executor.shutdown(wait=True)

    def _too_late(self, future: Future[Any], waiter: asyncio.Future[Any]) -> RefusalError:
        """What to say when time is over."""
        if future.cancel():
            return overloaded(
                "expected to begin in time, got too many requests before this one; retry", self.wait_seconds
            )
        waiter.add_done_callback(lambda done: done.cancelled() or done.exception())  # nobody else will look at it
        return RefusalError(504, "expected to finish in time, got a request that takes longer; ask for less at once")

    def _timed(self, job: Callable[[], T]) -> T:
        """Run a job, and remember how long such jobs take."""
        start = time.perf_counter()
        try:
            return job()
        finally:
            with self._lock:
                self._seconds = _MEMORY * self._seconds + (1 - _MEMORY) * (time.perf_counter() - start)

    def _count(self, change: int) -> None:
        """Jobs come from the event loop and go from the lane's thread."""
        with self._lock:
            self.pending += change
