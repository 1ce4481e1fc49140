"""The same work on many inputs, in one process or in several: how they start and end, and what a full disk says."""

from __future__ import annotations

import errno
import functools
import multiprocessing
import multiprocessing.process
import os
import signal
import sys
import threading
from collections.abc import Callable, Collection, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from glesam.common.messages import speak_warnings
from glesam.errors import ConfigError, DataError, GlesamError

T = TypeVar("T")
R = TypeVar("R")

Work = Callable[[T], R]

_QUEUED_PER_WORKER = 4
"""Tasks handed out ahead of a worker: enough that none waits, few enough that a stop has little to take back."""

_GRACE_SECONDS = 5.0
"""Time for a worker to leave a computation, when the run is stopped."""

_is_working = False
_make: Callable[[], Work[Any, Any]] | None = None
_work: Work[Any, Any] | None = None


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    make: Callable[[], Work[T, R]], tasks: Sequence[T], workers: int = 1, torch_threads: bool = True
) -> Iterator[tuple[T, R | GlesamError]]:
    """Work on all tasks; one that fails does not stop the others.

    Args:
        make: called once in each process, gives the function that does one task. With several workers it, the tasks
            and the results must pickle.
        tasks: what to work on.
        workers: processes; 1 works in this one.
        torch_threads: give each worker its share of this process's torch threads; False for work without torch, which
            takes seconds to import.

    Yields:
        Each task with its result or its `GlesamError`: in order with one worker, as they finish with several.

    Raises:
        ConfigError: fewer than one worker.
        DataError: a worker was killed, as when memory ran out.
        GlesamError: `make` failed.
    """
    if workers < 1:
        raise ConfigError(f"expected at least 1 worker, got {workers}; the default is 1")
    if workers == 1 or len(tasks) < 2:
        if tasks:
            work = make()
            yield from ((task, _attempt(work, task)) for task in tasks)
        return
    yield from _run_processes(make, tasks, min(workers, len(tasks)), torch_threads)


def outcomes(work: Work[T, R], tasks: Sequence[T], workers: int) -> Iterator[R]:
    """Do tasks without torch; results come in the order in which they are done, and the first error ends the run.

    Args:
        work: does one task; with several workers it, the tasks and the results must pickle.
        tasks: what to work on.
        workers: processes, no more than there are tasks; with 1 all is done in this one.

    Raises:
        DataError: a worker was killed.
    """
    for _, result in run(functools.partial(_itself, work), tasks, max(1, workers), torch_threads=False):
        if isinstance(result, GlesamError):
            raise result
        yield result


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
            "free some space and run the same command again, it continues where it stopped"
            if full
            else "check its rights"
        )
        raise DataError(f"expected to write into {out}, got '{error.strerror or error}'; {cure}") from error


def _run_processes(
    make: Callable[[], Work[T, R]], tasks: Sequence[T], workers: int, torch_threads: bool
) -> Iterator[tuple[T, R | GlesamError]]:
    """Keep a few tasks ahead of each worker, and give results as they come."""
    threads = max(1, _torch_threads() // workers) if torch_threads else None
    # Forking a process whose torch or OpenCV has started threads can hang; a fresh process cannot.
    context = multiprocessing.get_context("spawn")
    others = set(multiprocessing.active_children())
    pool = ProcessPoolExecutor(workers, context, _start, (make, threads))
    running: dict[Future[R | GlesamError], T] = {}
    waiting = iter(tasks)
    try:
        while True:
            for task in waiting:
                running[pool.submit(_one, task)] = task
                if len(running) >= workers * _QUEUED_PER_WORKER:
                    break
            if not running:
                return
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                yield running.pop(future), future.result()
    except BaseException as error:
        _end_workers(set(multiprocessing.active_children()) - others)
        if not isinstance(error, BrokenProcessPool):
            raise
        raise DataError(
            f"expected {workers} worker processes to run on, one was killed or could not start (out of memory?); "
            "run again with fewer workers, what is finished is skipped"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _end_workers(workers: Collection[multiprocessing.process.BaseProcess]) -> None:
    """Stop workers in the middle of their tasks: nobody waits for the results, and what they write is written whole."""
    for worker in workers:
        worker.terminate()
    for worker in workers:
        worker.join(_GRACE_SECONDS)
        if worker.is_alive():
            worker.kill()


def _torch_threads() -> int:
    """Threads that torch uses in this process."""
    import torch

    return torch.get_num_threads()


def _start(make: Callable[[], Work[Any, Any]], threads: int | None) -> None:
    """Prepare a worker process."""
    global _make
    # Ctrl-C reaches all processes of a terminal: the first one decides, the workers finish their image.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _stop)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    speak_warnings()
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    elif "cv2" in sys.modules:  # with the work, which was unpickled before
        import cv2

        cv2.setNumThreads(1)
    _make = make


def _die_with_parent() -> None:
    """End this worker when the process that started it is killed: nothing else would end it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _one(task: Any) -> Any:
    """Do one task in a worker; the first one makes the work, whose failure ends the run instead of the pool."""
    global _work, _is_working
    if _make is None:
        raise RuntimeError("the worker was not started by run()")
    try:
        _is_working = True
        if _work is None:
            _work = _make()
        return _attempt(_work, task)
    except _Stopped:
        os._exit(1)
    finally:
        _is_working = False


class _Stopped(BaseException):
    """The worker was told to end; unwinding its task removes the temporary files."""


def _stop(number: int, frame: object) -> None:
    """End this worker, but its task first."""
    if _is_working:
        raise _Stopped
    os._exit(1)


def _attempt(work: Work[T, R], task: T) -> R | GlesamError:
    """The result, or the error that is the user's to mend; any other error is a fault in the program and is raised."""
    try:
        return work(task)
    except GlesamError as error:
        return error


def _itself(work: Work[T, R]) -> Work[T, R]:
    return work
