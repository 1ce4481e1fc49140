"""The same work on many inputs in one process or in several."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from glesam.errors import ConfigError, GlesamError

T = TypeVar("T")
R = TypeVar("R")

Work = Callable[[T], R]

_QUEUED_PER_WORKER = 4
"""Tasks handed out ahead of a worker: enough that none waits, few enough that a stop has little to take back."""

_make: Callable[[], Callable[[Any], Any]] | None = None
_work: Callable[[Any], Any] | None = None


def run(make: Callable[[], Work[T, R]], tasks: Sequence[T], workers: int = 1) -> Iterator[tuple[T, R | GlesamError]]:
    """Work on all tasks; one that fails does not stop the others.

    Args:
        make: called once in each process, gives the function that does one task. With several workers it, the tasks
            and the results must pickle.
        tasks: what to work on.
        workers: processes; 1 works in this one. Each has its own share of this process's threads.

    Yields:
        Each task with its result or its `GlesamError`: in order with one worker, as they finish with several.

    Raises:
        ConfigError: fewer than one worker.
        GlesamError: `make` failed, or a worker was killed, as when memory ran out.
    """
    if workers < 1:
        raise ConfigError(f"expected at least 1 worker, got {workers}; the default is 1")
    if workers == 1 or len(tasks) < 2:
        work = make()
        for task in tasks:
            yield task, _attempt(work, task)
        return
    yield from _run_processes(make, tasks, min(workers, len(tasks)))


def _run_processes(
    make: Callable[[], Work[T, R]], tasks: Sequence[T], workers: int
) -> Iterator[tuple[T, R | GlesamError]]:
    """Keep a few tasks ahead of each worker, and give results as they come."""
    import torch

    threads = max(1, torch.get_num_threads() // workers)
    # Forking a process whose torch has started threads can hang; a fresh process cannot.
    context = multiprocessing.get_context("spawn")
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
    except BrokenProcessPool as error:
        raise GlesamError(
            "expected the worker processes to live, one was killed or could not start, perhaps for want of memory; run "
            "again with fewer workers, what is finished is skipped"
        ) from error
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _start(make: Callable[[], Work[Any, Any]], threads: int) -> None:
    """Prepare a worker process."""
    import torch

    global _make
    # Ctrl-C reaches all processes of a terminal: the first one decides, the workers finish their picture.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_die_with_parent, daemon=True).start()
    torch.set_num_threads(threads)
    _make = make


def _die_with_parent() -> None:
    """End this worker when the process that started it is killed: nobody else would end it."""
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def _one(task: Any) -> Any:
    """Do one task in a worker; the first one makes the work, whose failure ends the run instead of the pool."""
    global _work
    if _make is None:
        raise RuntimeError("the worker was not started by run()")
    if _work is None:
        _work = _make()
    return _attempt(_work, task)


def _attempt(work: Work[T, R], task: T) -> R | GlesamError:
    """The result, or the error that is the user's to mend; any other error is a fault in the program and goes on."""
    try:
        return work(task)
    except GlesamError as error:
        return error
