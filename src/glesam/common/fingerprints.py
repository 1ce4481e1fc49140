"""Whether files are still those that a result was made of: by size and time, and by content where these changed.

Results that are kept (packs, parts of an evaluation, built sets, journals of clips) store the digests of their sources.
Reading every source again would cost as much as many of these results, so a digest is only computed again where size or
time of change differ from those noted with it.
"""

from __future__ import annotations

import hashlib
import os
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from glesam.common.files import sha256

_SETTLED_NS = 2_000_000_000
"""A file changed less than this before its digest was taken may change again within one tick of its clock."""

Marks = dict[str, list[Any]]
"""Path to size in bytes, time of change in ns, and SHA-256, as JSON keeps it."""


class Digests:
    """Digests of files, computed again only where a file's size or time differs from what is noted.

    Args:
        noted: marks of an earlier run, or nothing; broken ones are passed over.
    """

    def __init__(self, noted: Mapping[str, Any] | None = None) -> None:
        self.marks: Marks = {path: mark for path, mark in (noted or {}).items() if _is_mark(mark)}

    def of(self, path: str | Path) -> str:
        """SHA-256 of a file as hex digits; of no file, `missing`.

        Raises:
            OSError: the file is there and cannot be read.
        """
        place = os.path.abspath(path)
        try:
            status = os.stat(place)
        except FileNotFoundError:
            return "missing"
        mark = self.marks.get(place)
        if mark is not None and mark[:2] == [status.st_size, status.st_mtime_ns]:
            return str(mark[2])
        digest = sha256(place)
        if time.time_ns() - status.st_mtime_ns > _SETTLED_NS:
            self.marks[place] = [status.st_size, status.st_mtime_ns, digest]
        else:
            self.marks.pop(place, None)
        return digest

    def joint(self, paths: Iterable[str | Path]) -> str:
        """One digest of several files' contents, in their order; their names and places are left out."""
        joined = hashlib.sha256()
        for path in paths:
            joined.update(self.of(path).encode())
        return joined.hexdigest()


def _is_mark(mark: Any) -> bool:
    if not isinstance(mark, list) or len(mark) != 3:
        return False
    return isinstance(mark[0], int) and isinstance(mark[1], int) and isinstance(mark[2], str)
