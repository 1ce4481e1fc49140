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
    handle, name = tempfile.mkstemp(
        prefix=f".{_plain(target.stem)[:40]}.", suffix=_plain(target.suffix), dir=target.parent
    )
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        # mkstemp makes files private (0600); give the result the rights that an ordinary new file has.
        temporary.chmod(0o666 & ~_UMASK)
        temporary.replace(target)
    finally:
        temporary.unlink(missing_ok=True)


@contextmanager
def plain_path(path: str | Path) -> Iterator[Path]:
    """A path to an existing file, or to one in an existing folder, that libraries in C take, which know only UTF-8.

    It is the path itself, or a link to its folder under another name, as long as the block runs. The file's own name
    must be UTF-8 if the file is to be made.

    Raises:
        OSError: links cannot be made.
    """
    path = Path(path)
    if _is_utf8(path):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="glesam-") as folder:
        link = Path(folder) / f"file{_plain(path.suffix)}"
        if _is_utf8(Path(path.name)):
            link = Path(folder) / "folder"
            link.symlink_to(path.parent.absolute())
            yield link / path.name
        else:
            link.symlink_to(path.absolute())
            yield link


def _is_utf8(path: Path) -> bool:
    try:
        str(path).encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def write_bytes(target: str | Path, content: bytes) -> None:
    """Write bytes to `target` in one step."""
    with atomic_path(target) as temporary:
        temporary.write_bytes(content)


def write_text(target: str | Path, content: str) -> None:
    """Write UTF-8 text to `target` in one step; bytes of names that are not UTF-8 stay what they are (PEP 383)."""
    write_bytes(target, content.encode("utf-8", "surrogateescape"))


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


def _plain(name: str) -> str:
    """A name for a temporary file that libraries in C take, which know no names but UTF-8."""
    return "".join(sign if sign.isalnum() or sign in "._-" else "-" for sign in name if sign.isascii())


def _umask() -> int:
    """Read the process's umask, which can only be read by setting it."""
    mask = os.umask(0)
    os.umask(mask)
    return mask


# Once, at import: while it is read, files that other threads make get all rights.
_UMASK = _umask()
