"""Writing files so that a reader never sees a half of one, and naming them by their content."""

from __future__ import annotations

import hashlib
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from glesam.common import locks

_MARK = ".glesam-"
_TEMPORARY = re.compile(r"\..*\.glesam-[a-z0-9_]{8}(\.[A-Za-z0-9_-]*)?")
_swept: set[str] = set()


@contextmanager
def atomic_path(target: str | Path) -> Iterator[Path]:
    """Give a temporary path beside `target`; rename it to `target` when the block ends well.

    The temporary name keeps the suffix, so that writers which choose the format by suffix work. On any error,
    Ctrl-C included, the temporary file is removed and an existing `target` stays as it was. What a killed process left
    is removed by the next one that writes into the same folder.

    Raises:
        OSError: the folder cannot be made or written.
    """
    target = Path(target)
    target.parent.mkdir(parents=True, exist_ok=True)
    _sweep_once(target.parent)
    handle, name = tempfile.mkstemp(
        prefix=f".{_plain(target.stem)[:40]}{_MARK}", suffix=_plain(target.suffix), dir=target.parent
    )
    temporary = Path(name)
    try:
        with suppress(OSError):  # no locks there: what is left over stays
            locks.lock(handle)  # shows others that its writer lives
        yield temporary
        # mkstemp makes files private (0600); give the result the rights that an ordinary new file has.
        temporary.chmod(0o666 & ~_UMASK)
        if locks.MANDATORY:
            locks.close(handle)  # there, nobody can rename an open file
        temporary.replace(target)
    except OSError as error:
        if error.filename is None:  # a full disk, met while writing, does not say where
            error.filename = str(target)
        raise
    finally:
        locks.close(handle)
        temporary.unlink(missing_ok=True)


def sweep(folder: str | Path) -> list[Path]:
    """Remove temporary files whose writer was killed; one that is being written is locked, and stays.

    Returns:
        What was removed.
    """
    found = [Path(entry.path) for entry in _listed(Path(folder)) if _TEMPORARY.fullmatch(entry.name)]
    return [path for path in found if locks.is_free(path) and _removed(path)]


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


def replace_together(files: Mapping[Path, bytes], ready: Callable[[], None] | None = None) -> None:
    """Write files that belong together: after any stop they are all old, or none of the old ones is left.

    Args:
        files: target to content.
        ready: called when all contents are on the disk and the former files are gone.

    Raises:
        OSError: a file cannot be written; then the former ones are still there.
    """
    with ExitStack() as stack:
        for target, content in files.items():
            stack.enter_context(atomic_path(target)).write_bytes(content)
        for target in files:
            target.unlink(missing_ok=True)
        if ready is not None:
            ready()


def write_text(target: str | Path, content: str) -> None:
    """Write UTF-8 text to `target` in one step; bytes of names that are not UTF-8 stay what they are (PEP 383)."""
    write_bytes(target, content.encode("utf-8", "surrogateescape"))


def read_text(source: str | Path) -> str:
    """Read what `write_text` wrote: UTF-8, with bytes of names that are not kept as they are; line ends as they are."""
    return Path(source).read_bytes().decode("utf-8", "surrogateescape")


def is_outdated(result: str | Path, source: str | Path) -> bool:
    """Whether a file was changed after the result that was made of it; not where one of the two is not there."""
    try:
        return os.stat(source).st_mtime_ns > os.stat(result).st_mtime_ns
    except (OSError, ValueError):  # ValueError: a path with a zero byte
        return False


def sha256(path: str | Path) -> str:
    """Hex digest of a file's content."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def _sweep_once(folder: Path) -> None:
    """Sweep a folder when this process first writes into it."""
    place = os.path.abspath(folder)
    if place not in _swept:
        _swept.add(place)
        sweep(folder)


def _listed(folder: Path) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return list(entries)
    except OSError:  # one that may be written but not listed
        return []


def _removed(path: Path) -> bool:
    try:
        path.unlink()
    except OSError:  # another process was faster, or the folder belongs to somebody else
        return False
    return True


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
