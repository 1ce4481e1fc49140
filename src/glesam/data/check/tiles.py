"""Chooses what the contact sheet of a checked set shows: faulty samples first, then sound ones from all over it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np

from glesam.data.base import SegmentationDataset
from glesam.data.check.check import CheckReport
from glesam.data.check.files import scan_folder
from glesam.data.files import read_image, read_mask
from glesam.data.readers.folder import IMAGE_SUFFIXES
from glesam.draw.sheet import Tile
from glesam.errors import DataError

T = TypeVar("T")
K = TypeVar("K")


def folder_tiles(root: str | Path, report: CheckReport, count: int = 24) -> list[Tile]:
    """Tiles of a plain set; what cannot be read, or is not there, is left blank.

    Raises:
        DataError: one of the two folders is missing, or there are no images.
    """
    files = scan_folder(Path(root))
    faults = _faults(report)
    tiles = []
    for name in _choose(sorted(files.images), faults, count):
        image = _readable(read_image, files.images[name])
        mask = _readable(read_mask, files.masks[name]) if name in files.masks else None
        tiles.append(Tile(name, image, mask, faults.get(name, "")))
    return tiles


def dataset_tiles(dataset: SegmentationDataset, report: CheckReport, count: int = 24) -> list[Tile]:
    """Tiles of a set of any other layout; samples that cannot be read are left blank."""
    faults, places = _faults(report), {name: index for index, name in enumerate(dataset.names)}
    tiles = []
    for name in _choose(dataset.names, faults, count):
        sample = _readable(dataset.__getitem__, places[name])
        image, mask = (None, None) if sample is None else (sample.image, sample.mask)
        tiles.append(Tile(name, image, mask, faults.get(name, "")))
    return tiles


def _faults(report: CheckReport) -> dict[str, str]:
    """Kinds of problem by sample name; a finding may be named after the sample or after its file."""
    faults: dict[str, list[str]] = {}
    for finding in report.problems:
        path = Path(finding.name)
        name = path.stem if path.suffix.lower() in IMAGE_SUFFIXES else finding.name
        faults.setdefault(name, []).append(finding.kind)
    return {name: ", ".join(dict.fromkeys(kinds)) for name, kinds in faults.items()}


def _choose(names: list[str], faults: dict[str, str], count: int) -> list[str]:
    """Up to `count` names: faulty ones first, then others at even distances."""
    faulty = [name for name in names if name in faults][:count]
    sound = [name for name in names if name not in faults]
    places = np.linspace(0, len(sound) - 1, min(count - len(faulty), len(sound))).round().astype(int)
    return faulty + [sound[place] for place in places]


def _readable(read: Callable[[K], T], key: K) -> T | None:
    """What a file or sample holds, or None when it cannot be read: that it cannot is in the report already."""
    try:
        return read(key)
    except (DataError, OSError):
        return None
