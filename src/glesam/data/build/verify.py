"""Compares a built set with its manifest: what is missing, changed or extra."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from glesam.common.files import sha256
from glesam.data.build.manifest import FileRecord, Manifest, pixels_sha256
from glesam.data.files import decode_pixels
from glesam.errors import DataError

KINDS = ("clear", "lq1", "lq2", "lq3", "masks")


@dataclass(frozen=True)
class Problem:
    """One file that is not as the manifest says."""

    kind: Literal["missing", "changed", "extra"]
    path: str
    detail: str


@dataclass
class VerifyReport:
    """How many files were compared, and what is wrong, by path."""

    checked: int = 0
    problems: list[Problem] = field(default_factory=list)


def verify(
    folder: str | Path,
    pixels_only: bool = False,
    manifest: str | Path | None = None,
    advance: Callable[[], None] | None = None,
) -> VerifyReport:
    """Compare every file of a built set with a manifest: presence, size and hash; and look for files that are in none.

    Args:
        folder: the set.
        pixels_only: compare decoded pixels, not files: for a set that another machine built, whose PNG encoder may pack
            the same pixels otherwise, or for one that was packed again without loss.
        manifest: manifest to compare with, such as another machine's; the folder's own when not given.
        advance: called after each file.

    Raises:
        DataError: there is no such folder, or the manifest is missing, broken or of another version.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise DataError(f"expected a built set in {folder}, found no such folder; check the path")
    listed = Manifest.load(manifest if manifest is not None else folder)
    report = VerifyReport()
    entries = [entry for sample in listed.samples.values() for entry in sample.files.values()]
    for entry in entries:
        report.problems += _compare(folder, entry, pixels_only)
        report.checked += 1
        if advance is not None:
            advance()
    report.problems += _extra(folder, {entry.path for entry in entries})
    report.problems.sort(key=lambda problem: (problem.path, problem.kind))
    return report


def _compare(folder: Path, entry: FileRecord, pixels_only: bool) -> list[Problem]:
    """What is wrong with one file; nothing when it is as recorded."""
    path = folder / entry.path
    if not path.is_file():
        return [Problem("missing", entry.path, "not there")]
    if not pixels_only:
        size = path.stat().st_size
        if size == entry.bytes and sha256(path) == entry.sha256:
            return []
    pixels = _pixels(path)
    if pixels is None:
        return [Problem("changed", entry.path, "cannot be decoded")]
    if pixels_sha256(pixels) != entry.pixels:
        return [Problem("changed", entry.path, "other pixels")]
    return [] if pixels_only else [Problem("changed", entry.path, "same pixels, file packed otherwise (see --pixels)")]


def _pixels(path: Path) -> npt.NDArray[Any] | None:
    """Decoded pixels: RGB of an image, values of a mask; None when the file cannot be decoded."""
    try:
        decoded = decode_pixels(path)
    except DataError:
        return None
    return np.ascontiguousarray(decoded[..., ::-1]) if decoded.ndim == 3 else np.asarray(decoded)


def _extra(folder: Path, listed: set[str]) -> list[Problem]:
    """Files in the set's folders that the manifest does not name."""
    found = (path for kind in KINDS for path in (folder / kind).rglob("*") if path.is_file())
    paths = (path.relative_to(folder).as_posix() for path in found)
    return [Problem("extra", path, "not in the manifest") for path in paths if path not in listed]
