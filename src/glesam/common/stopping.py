"""Work that can be told to stop: a flag for the thread that does it, which long loops look at before each step."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

_here = threading.local()


class StoppedError(Exception):
    """Work was told to stop; nobody waits for its result any more."""


@contextmanager
def stoppable(flag: threading.Event) -> Iterator[None]:
    """Within this block, work of the current thread stops at its next `check` once the flag is set."""
    before = getattr(_here, "flag", None)
    _here.flag = flag
    try:
        yield
    finally:
        _here.flag = before


def check() -> None:
    """Say that a new step of long work begins.

    Raises:
        StoppedError: the work was told to stop; never outside of `stoppable`.
    """
    flag = getattr(_here, "flag", None)
    if flag is not None and flag.is_set():
        raise StoppedError
