"""Lanes: one thread and one bounded queue for each kind of work, so that long work never stands before short work."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from typing import Any, TypeVar

from glesam.common.stopping import stoppable
from glesam.serve.refusals import RefusalError, overloaded

T = TypeVar("T")

_MEMORY = 0.8
"""Weight of earlier jobs in the running mean of a lane's seconds."""


@dataclass(frozen=True, eq=False)
class _Job:
    """A job that was accepted.

    Attributes:
        stop: tells the job, which looks at it before each of its steps, that nobody waits any more.
        future: what it gives.
        given_up: done when the lane gives up all its jobs; lives on the event loop.
    """

    stop: threading.Event
    future: Future[Any]
    given_up: asyncio.Future[None]

    def drop(self) -> bool:
        """Take the job out of the queue, or tell it to stop where it runs; whether it had not begun."""
        self.stop.set()
        return self.future.cancel()


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
        self._jobs: set[_Job] = set()
        self._process = os.getpid()
        self._executor = ThreadPoolExecutor(threads, thread_name_prefix=f"glesam-{name}")

    @property
    def wait_seconds(self) -> float:
        """Expected wait of a job that comes now."""
        return self.pending * self._seconds / self.threads

    async def run(self, job: Callable[[], T], deadline: float) -> T:
        """Queue a job and wait for what it gives or raises.

        When the caller is cancelled, as its client has gone, a job that still waits is dropped, and one that runs stops
        at its next step.

        Args:
            job: called in the lane's thread.
            deadline: on the event loop's clock. A job that still waits then is dropped (503), and one that runs is told
                to stop (504).

        Raises:
            RefusalError: the lane is full, the deadline passed, the lane gives up, or it was copied by a fork.
        """
        self._check_process()
        if self.pending >= self.limit:
            raise overloaded(f"expected fewer requests, got more than {self.limit} at once; retry", self.wait_seconds)
        loop = asyncio.get_running_loop()
        stop = threading.Event()
        self._count(1)
        future = self._executor.submit(self._timed, job, stop)
        mine = _Job(stop, future, loop.create_future())
        self._jobs.add(mine)
        mine.future.add_done_callback(lambda _: self._count(-1))
        waiter: asyncio.Future[T] = asyncio.wrap_future(future)
        waiter.add_done_callback(lambda done: done.cancelled() or done.exception())  # perhaps nobody else looks at it
        try:
            left = max(0.0, deadline - loop.time())
            ends: set[asyncio.Future[Any]] = {waiter, mine.given_up}
            await asyncio.wait(ends, timeout=left, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            mine.drop()
            raise
        finally:
            mine.future.add_done_callback(lambda _: self._jobs.discard(mine))
        return self._result(mine, waiter)

    def give_up(self) -> None:
        """Answer all jobs with 503, drop those that wait, and tell those that run to stop; on the event loop."""
        for job in list(self._jobs):
            job.drop()
            if not job.given_up.done():
                job.given_up.set_result(None)

    def close(self, seconds: float | None = None) -> bool:
        """Finish what is queued, then end the threads.

        Args:
            seconds: to wait for jobs, or None for as long as they take.

        Returns:
            Whether all jobs have ended. Threads of those that have not keep running.
        """
        self._executor.shutdown(wait=False)
        waiting = wait([job.future for job in list(self._jobs)], seconds).not_done
        self._executor.shutdown(wait=not waiting)
        return not waiting

    def _check_process(self) -> None:
        """Threads do not come along in a fork: a job would wait forever."""
        if os.getpid() != self._process:
            raise RefusalError(
                500,
                "expected the process that made the server, got a fork of it, which has none of its threads; make the "
                "application in each worker (gunicorn: without --preload)",
            )

    def _result(self, job: _Job, waiter: asyncio.Future[T]) -> T:
        """What a job gave, or why there is nothing."""
        if job.given_up.done():
            raise overloaded("expected a running server, got one that is stopping; ask again in a moment")
        if waiter.done():
            return waiter.result()
        if job.drop():
            raise overloaded(
                "expected to begin in time, got too many requests before this one; retry", self.wait_seconds
            )
        text = "expected to finish in time, got a request that takes longer"
        raise RefusalError(504, f"{text}; ask for less at once, or start the server with more --timeout")

    def _timed(self, job: Callable[[], T], stop: threading.Event) -> T:
        """Run a job, and remember how long such jobs take."""
        start = time.perf_counter()
        try:
            with stoppable(stop):
                return job()
        finally:
            with self._lock:
                self._seconds = _MEMORY * self._seconds + (1 - _MEMORY) * (time.perf_counter() - start)

    def _count(self, change: int) -> None:
        """Jobs come from the event loop and go from the lane's thread."""
        with self._lock:
            self.pending += change
