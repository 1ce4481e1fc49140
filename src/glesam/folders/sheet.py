"""The contact sheet of a folder job: images with their masks drawn in, failed ones first."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glesam.common.messages import shown
from glesam.draw.sheet import Tile, wrapped, write_contact_sheet
from glesam.errors import ImageError
from glesam.images.opening import identified
from glesam.images.reading import ReadOptions, read_with
from glesam.images.shrink import resize_ids, shrink

SHEET = "contact-sheet.jpg"
MOST_TILES = 48
"""Eight rows of six: what one can take in at a glance. A larger folder shows every n-th image."""

_SIDE = 448
"""Pixels of the longer side that are kept of an image, twice a tile's: the sheet of any images fits in memory."""


@dataclass(frozen=True)
class Entry:
    """One image of the sheet.

    Attributes:
        name: what it is called.
        path: the image, or None when it cannot be read again.
        mask: PNG of object ids, or None.
        reading: how the image is read.
    """

    name: str
    path: Path | None
    mask: Path | None
    reading: ReadOptions = field(default_factory=ReadOptions)


def draw_sheet(path: str | Path, entries: Sequence[Entry], failed: Mapping[str, str]) -> None:
    """Draw images with their masks into one JPEG.

    Args:
        path: file of the sheet.
        entries: finished images, in the order of the sheet; at most `MOST_TILES`, evenly spread, are drawn.
        failed: name to reason of images that failed; they come first, in red.

    Raises:
        OSError: the file cannot be written.
    """
    tiles = [Tile(name, None, None, reason) for name, reason in list(failed.items())[:MOST_TILES]]
    tiles += [_tile(entry) for entry in _spread(entries, MOST_TILES - len(tiles))]
    if tiles:
        write_contact_sheet(path, wrapped(tiles))


def _spread(entries: Sequence[Entry], count: int) -> list[Entry]:
    """At most `count` of the entries, evenly spread, in order."""
    if len(entries) <= count:
        return list(entries)
    return [entries[index * len(entries) // count] for index in range(count)]


def _ids(path: Path) -> npt.NDArray[np.int32]:
    """Ids of a mask that this job wrote; as large as the image that was read."""
    with path.open("rb") as stream, identified(stream, shown(path)) as image:
        return np.asarray(image).astype(np.int32)


def _tile(entry: Entry) -> Tile:
    """Read an image and its mask again, small."""
    if entry.path is None:
        return Tile(entry.name, None, None)
    try:
        image = read_with(entry.path, entry.reading).pixels
        ids = None if entry.mask is None else _ids(entry.mask)
    except (ImageError, OSError) as error:
        return Tile(entry.name, None, None, " ".join(str(error).split()))
    small = shrink(image, _SIDE)
    return Tile(entry.name, small, None if ids is None else resize_ids(ids, (small.shape[0], small.shape[1])))
