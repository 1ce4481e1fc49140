"""Writing files so that a reader never sees a half of one, and naming them by their content."""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; rename it to `target` when the block ends well.

    The temporary name keeps the suffix, so that writers which choose the format by suffix work. On any error,
    Ctrl-C included, the temporary file is removed and an existing `target` stays as it was.

    Raises:
        OSError: the folder cannot be made or written.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=f".{target.stem[:40]}.", suffix=target.suffix, dir=target.parent)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private (0600); give the result the rights that an ordinary new file has.
        temporary.chmod(0o666 & ~_umask())
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


def write_bytes(target: str | Path, content: bytes) -> None:
    """Write bytes to `target` in one step."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: str | Path, content: str) -> None:
    """Write UTF-8 text to `target` in one step."""
    write_bytes(target, content.encode("utf-8"))


def sha256(path: str | Path) -> str:
    """Hex digest of a file's content."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() if hasattr(hashlib, "file_digest") else _digest(stream)


def _digest(stream: object) -> str:
    """SHA-256 in chunks, for Python 3.10, which has no `hashlib.file_digest`."""
    digest = hashlib.sha256()
    for chunk in iter(lambda: stream.read(1 << 20), b""):  # type: ignore[attr-defined]
        digest.update(chunk)
    return digest.hexdigest()


def _umask() -> int:
    """Read the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask
