"""Contact sheets: rows of small captioned images, with their masks drawn over them; faulty ones are framed in red."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from glesam.common.files import atomic_path
from glesam.draw.colours import colour
from glesam.draw.overlay import outline, tint
from glesam.errors import ConfigError
from glesam.images.pixels import RGB

SUFFIXES = (".png", ".jpg", ".jpeg")
SIDE = 224
"""Pixels of an image's longer side."""
_LINE, _GAP, _FONT = 17, 8, 12
_PAPER, _INK, _ALARM = (250, 250, 250), (40, 40, 40), (200, 30, 30)
_OPACITY = 0.45


@dataclass(frozen=True, eq=False)
class Tile:
    """One place of the sheet.

    Attributes:
        title: line above the image.
        image: `(H, W, 3)` uint8 RGB, or None when it cannot be read.
        mask: `(H, W)` ids, or None.
        fault: what is wrong, written in red below the title; empty when nothing is.
    """

    title: str
    image: RGB | None
    mask: npt.NDArray[np.int32] | None = None
    fault: str = ""


def contact_sheet(rows: Sequence[Sequence[Tile]], side: int = SIDE) -> RGB:
    """Draw rows of tiles.

    Args:
        rows: tiles from left to right, rows from top to bottom; rows may differ in length.
        side: longer side of each image in the sheet, in pixels.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ConfigError: there is no tile.
    """
    if not any(rows):
        raise ConfigError("expected at least one image for the contact sheet, got none; check the inputs")
    fitted = [[_fitted(tile, side) for tile in row] for row in rows if row]
    heads = [_LINE * (1 + any(tile.fault for tile in row)) + 3 for row in fitted]
    sides = [max(_height(tile, side) for tile in row) for row in fitted]
    width = _GAP + max(len(row) for row in fitted) * (side + _GAP)
    sheet = Image.new("RGB", (width, _GAP + sum(heads) + sum(sides) + _GAP * len(fitted)), _PAPER)
    top = _GAP
    for row, head, height in zip(fitted, heads, sides, strict=True):
        for place, tile in enumerate(row):
            _draw(sheet, tile, (_GAP + place * (side + _GAP), top), head, side)
        top += head + height + _GAP
    return np.asarray(sheet)


def write_contact_sheet(path: str | Path, rows: Sequence[Sequence[Tile]], side: int = SIDE) -> None:
    """Draw rows of tiles into a PNG or JPEG file.

    Raises:
        ConfigError: the name ends otherwise, or there is no tile.
        OSError: the file cannot be written.
    """
    check_suffix(path)
    sheet = Image.fromarray(contact_sheet(rows, side))
    with atomic_path(path) as temporary:
        sheet.save(temporary)


def check_suffix(path: str | Path) -> None:
    """Refuse a name that is no PNG's or JPEG's.

    Raises:
        ConfigError: the name ends otherwise.
    """
    if Path(path).suffix.lower() not in SUFFIXES:
        raise ConfigError(f"expected a contact sheet named {', '.join(SUFFIXES)}, got {path}; rename it")


def wrapped(tiles: Sequence[Tile], columns: int = 6) -> list[list[Tile]]:
    """Break a line of tiles into rows of at most `columns`."""
    return [list(tiles[start : start + columns]) for start in range(0, len(tiles), columns)]


def draw_mask(image: RGB, mask: npt.NDArray[np.int32], opacity: float = _OPACITY) -> RGB:
    """Tint each object of an `(H, W)` id mask in a colour of its own and draw its outline; `(H, W, 3)` uint8 RGB."""
    ids = np.unique(mask[mask > 0])
    labels = np.where(mask > 0, np.searchsorted(ids, mask) + 1, 0)
    canvas = image.copy()
    tint(canvas, labels, opacity)
    for index in range(len(ids)):
        outline(canvas, labels == index + 1, colour(index), 1)
    return canvas


def _height(tile: Tile, side: int) -> int:
    """Rows of pixels that a fitted tile takes below its text."""
    return side if tile.image is None else tile.image.shape[0]


def _fitted(tile: Tile, side: int) -> Tile:
    """Scale an image so that its longer side fills its place, and draw its mask over it."""
    if tile.image is None:
        return tile
    height, width = tile.image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Enlarging by the nearest pixel shows small images as they are, instead of blurring them once more.
    small = np.asarray(cv2.resize(tile.image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST))
    if tile.mask is not None:
        # A mask of another size is stretched on purpose: the sheet shows how it misses the image.
        small = draw_mask(small, np.asarray(cv2.resize(tile.mask, size, interpolation=cv2.INTER_NEAREST)))
    return replace(tile, image=small, mask=None)


def _draw(sheet: Image.Image, tile: Tile, corner: tuple[int, int], head: int, side: int) -> None:
    """Draw one tile: two lines of text, the image, a frame around a faulty one."""
    (left, top), pen, font = corner, ImageDraw.Draw(sheet), ImageFont.load_default(_FONT)
    pen.text((left, top + 1), _cut(tile.title, font, side), _INK, font)
    pen.text((left, top + 1 + _LINE), _cut(tile.fault, font, side), _ALARM, font)
    top += head
    if tile.image is not None:
        small = Image.fromarray(tile.image)
        sheet.paste(small, (left + (side - small.width) // 2, top))
    else:
        pen.line((left, top, left + side, top + side), _ALARM)
        pen.line((left, top + side, left + side, top), _ALARM)
    if tile.fault:
        pen.rectangle((left - 2, top - 2, left + side + 1, top + _height(tile, side) + 1), outline=_ALARM, width=2)


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont, width: int) -> str:
    """Shorten a text to a width in pixels."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."
