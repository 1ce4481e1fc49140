"""A picture of degradations at a glance: rows of captioned pictures side by side."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from glesam.common.files import atomic_path
from glesam.errors import ConfigError

SUFFIXES = (".png", ".jpg", ".jpeg")
_CAPTION, _GAP, _FONT = 20, 8, 13
_PAPER, _INK = (250, 250, 250), (30, 30, 30)


class Cell(NamedTuple):
    """One picture of the sheet: `(H, W, 3)` uint8 RGB, and what is written above it."""

    caption: str
    image: NDArray[np.uint8]


def contact_sheet(rows: Sequence[Sequence[Cell]], side: int = 240) -> NDArray[np.uint8]:
    """Draw rows of cells.

    Args:
        rows: cells from left to right, rows from top to bottom; rows may differ in length.
        side: longer side of each picture in the sheet, in pixels.

    Returns:
        `(H, W, 3)` uint8 RGB.

    Raises:
        ConfigError: there is no cell.
    """
    if not any(rows):
        raise ConfigError("expected at least one picture for the contact sheet, got none; check the inputs")
    fitted = [[Cell(cell.caption, _fitted(cell.image, side)) for cell in row] for row in rows if row]
    heights = [_CAPTION + max(cell.image.shape[0] for cell in row) + _GAP for row in fitted]
    width = _GAP + max(len(row) for row in fitted) * (side + _GAP)
    sheet = Image.new("RGB", (width, _GAP + sum(heights)), _PAPER)
    top = _GAP
    for row, height in zip(fitted, heights, strict=True):
        for place, cell in enumerate(row):
            _draw(sheet, cell, _GAP + place * (side + _GAP), top, side)
        top += height
    return np.asarray(sheet)


def write_contact_sheet(path: str | Path, rows: Sequence[Sequence[Cell]], side: int = 240) -> None:
    """Draw rows of cells into a PNG or JPEG file.

    Raises:
        ConfigError: the name ends otherwise, or there is no cell.
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


def wrapped(cells: Sequence[Cell], columns: int) -> list[list[Cell]]:
    """Break a line of cells into rows of at most `columns`."""
    return [list(cells[start : start + columns]) for start in range(0, len(cells), columns)]


def _fitted(image: NDArray[np.uint8], side: int) -> NDArray[np.uint8]:
    """Scale a picture so that its longer side fills its cell."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    # Enlarging by the nearest pixel shows small pictures as they are, instead of blurring them once more.
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_NEAREST))


def _draw(sheet: Image.Image, cell: Cell, left: int, top: int, side: int) -> None:
    """Write the caption, cut to the width of the cell, and paste the picture below it."""
    font = ImageFont.load_default(_FONT)
    text = cell.caption
    while text and font.getlength(text) > side:
        text = text[:-4] + "..." if len(text) > 4 else ""
    ImageDraw.Draw(sheet).text((left, top + 1), text, _INK, font)
    picture = Image.fromarray(cell.image)
    sheet.paste(picture, (left + (side - picture.width) // 2, top + _CAPTION))
