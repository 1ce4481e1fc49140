"""The files of a plain set as they are, faults included, and the way in which a mask is written."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import value_counts
from glesam.data.readers.folder import IMAGE_SUFFIXES, MASK_SUFFIXES, told_apart
from glesam.errors import DataError


@dataclass
class FolderFiles:
    """Files of a plain set by stem; second files of a stem, and masks in other formats than PNG, apart."""

    images: dict[str, Path] = field(default_factory=dict)
    masks: dict[str, Path] = field(default_factory=dict)
    doubles: list[tuple[Path, Path]] = field(default_factory=list)
    not_png: list[Path] = field(default_factory=list)


def scan_folder(root: Path) -> FolderFiles:
    """List `root/images` and `root/masks`.

    Raises:
        DataError: a folder is missing, or there are no images.
    """
    for part in ("images", "masks"):
        if not (root / part).is_dir():
            raise DataError(
                f"expected a folder {root / part}, found none; lay the set out as images/NAME.jpg + masks/NAME.png"
            )
    files = FolderFiles()
    for path in _visible(root / "images"):
        if path.suffix.lower() in IMAGE_SUFFIXES:
            _enter(files.images, path, files)
    for path in _visible(root / "masks"):
        if path.suffix.lower() in MASK_SUFFIXES:
            _enter(files.masks, path, files)
        elif path.suffix.lower() in IMAGE_SUFFIXES:
            files.not_png.append(path)
    files.images, files.masks = told_apart(files.images, files.masks)
    if not files.images:
        suffixes = ", ".join(sorted(IMAGE_SUFFIXES))
        raise DataError(f"expected images in {root / 'images'}, found none ({suffixes}); put them there")
    return files


def mask_style(raw: npt.NDArray[Any] | None) -> str | None:
    """What the values of a decoded mask file show: `0/1 mask`, `0/255 mask`, `soft-edged mask`, or None.

    Soft-edged is an 8-bit mask whose 255 is the largest value by area, and whose other values together cover less than
    it, though they are more than eight: so a drawn shape with smoothed borders, not a numbering of objects.
    """
    if raw is None or raw.ndim != 2 or raw.dtype != np.uint8:
        return None
    values, areas = value_counts(raw)
    values, areas = values[values > 0], areas[values > 0]
    if values.tolist() == [1]:
        return "0/1 mask"
    if values.tolist() == [255]:
        return "0/255 mask"
    if len(values) > 9 and values[-1] == 255 and areas[-1] > areas[:-1].sum():
        return "soft-edged mask"
    return None


def _visible(folder: Path) -> list[Path]:
    """Files of a folder, sorted, without hidden ones."""
    return sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))


def _enter(files: dict[str, Path], path: Path, found: FolderFiles) -> None:
    """Enter a file under its stem, or as a double."""
    if path.stem in files:
        found.doubles.append((files[path.stem], path))
    else:
        files[path.stem] = path
