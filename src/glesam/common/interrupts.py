"""Ctrl-C and SIGTERM: both end a run the same way, and a long one between two of its steps."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_heard: list[int] = []


def hear_terminate() -> None:
    """Let SIGTERM, with which systems and containers end a program, do what Ctrl-C does; see `terminated`."""
    if threading.current_thread() is threading.main_thread():
        signal.signal(signal.SIGTERM, _terminate)


def terminated() -> bool:
    """Whether the run was ended by SIGTERM."""
    return bool(_heard)


@contextmanager
def deferred_interrupt() -> Iterator[threading.Event]:
    """Let the first Ctrl-C set the event that is given, for runs that end between two steps; a second ends at once."""
    stop = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield stop  # only the main thread hears signals
        return
    before = signal.getsignal(signal.SIGINT)

    def hear(number: int, frame: object) -> None:
        if stop.is_set():
            raise KeyboardInterrupt
        stop.set()

    signal.signal(signal.SIGINT, hear)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _terminate(number: int, frame: object) -> None:
    _heard.append(number)
    if not callable(signal.getsignal(signal.SIGINT)):  # ignored, as in the background of a shell's script
        raise KeyboardInterrupt
    signal.raise_signal(signal.SIGINT)
