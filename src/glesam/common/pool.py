"""Work on files shared by several processes: how many, how they start and end, and what a full disk says."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

import cv2

from glesam.errors import DataError

T = TypeVar("T")
R = TypeVar("R")

_work: Callable[[Any], Any] | None = None


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def outcomes(work: Callable[[T], R], tasks: Sequence[T], workers: int) -> Iterator[R]:
    """Do the tasks, in this process or in several; results come in the order in which they are done.

    Args:
        work: does one task; with several workers it, the tasks and the results must pickle.
        tasks: what to work on.
        workers: processes, no more than there are tasks; with 1 all is done in this one.

    Raises:
        DataError: a worker was killed.
    """
    workers = min(workers, len(tasks))
    if workers <= 1:
        yield from map(work, tasks)
        return
    # Processes are started afresh, not forked: OpenCV's threads do not survive a fork.
    with ProcessPoolExecutor(workers, get_context("spawn"), _start, (work,)) as pool:
        try:
            for future in as_completed([pool.submit(_one, task) for task in tasks]):
                yield future.result()
        except BrokenProcessPool as error:
            raise DataError(
                f"expected {workers} workers to live, one was killed (out of memory?); run again with fewer, it goes "
                "on where it stopped"
            ) from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@contextmanager
def writing(out: Path) -> Iterator[None]:
    """Turn errors of writing into a message with the cure.

    Raises:
        DataError: the disk is full, or the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = (
            "free some space and run the same command again, it goes on where it stopped"
            if full
            else "check its rights"
        )
        raise DataError(f"expected to write into {out}, got '{error.strerror or error}'; {cure}") from error


def _start(work: Callable[[Any], Any]) -> None:
    """Keep the work in a worker process, which leaves Ctrl-C to the main process and uses one thread."""
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    cv2.setNumThreads(1)


def _one(task: Any) -> Any:
    """Do one task in a worker process."""
    if _work is None:
        raise RuntimeError("a worker was used before it was started")
    return _work(task)
