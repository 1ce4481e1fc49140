"""Locks on files that end with the process which holds them, and the one run that may work in a folder.

They are the system's own (`flock`, on Windows `LockFile`), so that a killed process leaves none behind. On file systems
that have no locks they cannot protect; there a warning says so.
"""

from __future__ import annotations

import errno
import json
import os
import socket
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from glesam.common.messages import shown
from glesam.errors import ConfigError

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK = ".glesam.lock"
"""File of a folder in which a run works."""
MANDATORY = sys.platform == "win32"
"""Whether a locked file cannot be written, renamed or removed by others."""

_NEW_SECONDS = 2.0
"""An empty file that is younger may be between its making and its lock."""
_LOOKS = 41
_BUSY = (errno.EACCES, errno.EAGAIN, errno.EDEADLK)
_held: set[int] = set()


def lock(handle: int) -> bool:
    """Lock an open file if nobody else has; it stays locked until `close`, and no forked process keeps it.

    Returns:
        False where another process holds it; the file is still the caller's to close.

    Raises:
        OSError: the file system has no locks; `close` closes the file all the same.
    """
    _held.add(handle)
    try:
        if sys.platform == "win32":
            msvcrt.locking(handle, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _BUSY:
            _held.discard(handle)
            return False
        raise
    return True


def close(handle: int) -> None:
    """Close a file, and so give up its lock; closing it twice does nothing."""
    if handle in _held:
        _held.discard(handle)
        os.close(handle)


def is_free(path: Path) -> bool:
    """Whether nobody writes a temporary file any more: it is there, and its lock is to be had.

    One that may be between its making and its lock is waited for, two seconds at most.
    """
    for _ in range(_LOOKS):
        free = _look(path)
        if free is not None:
            return free
        time.sleep(_NEW_SECONDS / (_LOOKS - 1))
    return False


def _look(path: Path) -> bool | None:
    """As `is_free`; None for an empty file that was made just now."""
    try:
        handle = os.open(path, os.O_RDWR)
    except OSError:
        return False
    try:
        status = os.fstat(handle)
        if not status.st_size and time.time() - status.st_mtime < _NEW_SECONDS:
            return None  # not locked: its writer would find it taken
        return lock(handle)
    except OSError:
        return False
    finally:
        _held.discard(handle)
        os.close(handle)


@contextmanager
def sole(folder: str | Path, name: str = LOCK) -> Iterator[None]:
    """Work in a folder as its only run while the block runs.

    Args:
        folder: made if it is not there.
        name: file of the lock, for runs that may share the folder.

    Raises:
        ConfigError: another run works there; says which process on which machine, and since when.
        OSError: the folder cannot be written.
    """
    path = Path(folder) / name
    path.parent.mkdir(parents=True, exist_ok=True)
    handle = _take(path)
    try:
        yield
    finally:
        if not MANDATORY:
            _remove(path, handle)
        close(handle)


def _take(path: Path) -> int:
    """The open, locked file; its content says who has it."""
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
        if not _locked(path, handle):
            os.close(handle)
            raise _occupied(path)
        # Whoever ends removes the file: what was locked may be one that is no longer under this name.
        if _is_same(path, handle):
            break
        close(handle)
    note = {"process": os.getpid(), "host": socket.gethostname(), "since": datetime.now().isoformat(" ", "seconds")}
    os.ftruncate(handle, 0)
    os.write(handle, json.dumps(note).encode())
    return handle


def _locked(path: Path, handle: int) -> bool:
    """Lock a file; where there are no locks, with a warning instead."""
    try:
        return lock(handle)
    except OSError as error:
        warnings.warn(f"{shown(path)}: two runs at once are not noticed here ({error.strerror})", stacklevel=5)
        return True


def _occupied(path: Path) -> ConfigError:
    """The error for a folder in which another run works."""
    who = "another process"
    with suppress(OSError, ValueError, KeyError, TypeError):
        note = json.loads(path.read_bytes())
        who = f"process {note['process']} on {note['host']}, since {note['since']},"
    return ConfigError(
        f"expected no other run in {shown(path.parent)}, {shown(who)} works there; wait for it or end it, or choose "
        "another folder"
    )


def _is_same(path: Path, handle: int) -> bool:
    try:
        return os.path.samestat(os.stat(path), os.fstat(handle))
    except OSError:
        return False


def _remove(path: Path, handle: int) -> None:
    """Remove the file of a lock, unless the folder was replaced and another run has its own there."""
    if _is_same(path, handle):
        path.unlink(missing_ok=True)


def _forget() -> None:
    """A forked process does not hold what its parent holds."""
    for handle in list(_held):
        close(handle)


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget)
