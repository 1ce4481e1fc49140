"""A picture of a data set at a glance: samples with their masks drawn over them, faulty ones first."""

from __future__ import annotations

import colorsys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image, ImageDraw, ImageFont

from glesam.common.files import atomic_path

Picture: TypeAlias = npt.NDArray[np.uint8]

_TILE, _CAPTION, _GAP = 224, 34, 8
_PAPER, _INK, _ALARM = (250, 250, 250), (40, 40, 40), (200, 30, 30)
# Golden-ratio steps around the colour circle keep neighbouring ids far apart in hue.
_HUE_STEP = 0.6180339887498949


@dataclass(frozen=True)
class Tile:
    """One cell of the sheet.

    Attributes:
        title: first line below the picture.
        image: `(H, W, 3)` uint8 RGB, or None when it cannot be read.
        mask: `(H, W)` ids of the same size, or None.
        fault: what is wrong, drawn in red; empty when nothing is.
    """

    title: str
    image: Picture | None
    mask: npt.NDArray[np.int32] | None
    fault: str = ""


def write_contact_sheet(path: str | Path, tiles: Sequence[Tile], columns: int = 6) -> None:
    """Write tiles as one PNG or JPEG (by the suffix of `path`), row by row.

    Raises:
        OSError: the file cannot be written.
    """
    columns = min(columns, max(1, len(tiles)))
    rows = -(-len(tiles) // columns)
    step_x, step_y = _TILE + _GAP, _TILE + _CAPTION + _GAP
    sheet = Image.new("RGB", (columns * step_x + _GAP, max(1, rows) * step_y + _GAP), _PAPER)
    for place, tile in enumerate(tiles):
        _draw(sheet, tile, _GAP + place % columns * step_x, _GAP + place // columns * step_y)
    with atomic_path(path) as temporary:
        sheet.save(temporary)


def draw_mask(image: Picture, mask: npt.NDArray[np.int32], opacity: float = 0.45) -> Picture:
    """Tint each object of an `(H, W)` id mask in a colour of its own and draw its outline; `(H, W, 3)` uint8 RGB."""
    tinted = image.astype(np.float32)
    for place, i in enumerate(int(i) for i in np.unique(mask) if i > 0):
        colour = np.asarray(colorsys.hsv_to_rgb(place * _HUE_STEP % 1.0, 0.9, 1.0), dtype=np.float32) * 255
        inside = mask == i
        tinted[inside] = (1 - opacity) * tinted[inside] + opacity * colour
        edge = inside & (cv2.erode(inside.astype(np.uint8), np.ones((3, 3), np.uint8)) == 0)
        tinted[edge] = colour
    return np.clip(np.rint(tinted), 0, 255).astype(np.uint8)


def _draw(sheet: Image.Image, tile: Tile, left: int, top: int) -> None:
    """Draw one tile: picture, frame, two lines of text."""
    pen = ImageDraw.Draw(sheet)
    colour = _ALARM if tile.fault else _INK
    if tile.image is not None:
        picture = Image.fromarray(_fitted(tile.image, tile.mask))
        sheet.paste(picture, (left + (_TILE - picture.width) // 2, top + (_TILE - picture.height) // 2))
    else:
        pen.line((left, top, left + _TILE, top + _TILE), _ALARM)
        pen.line((left, top + _TILE, left + _TILE, top), _ALARM)
    if tile.fault:
        pen.rectangle((left - 2, top - 2, left + _TILE + 1, top + _TILE + 1), outline=_ALARM, width=2)
    font = ImageFont.load_default(12)
    pen.text((left, top + _TILE + 3), _cut(tile.title, font), _INK, font)
    pen.text((left, top + _TILE + 18), _cut(tile.fault, font), colour, font)


def _fitted(image: Picture, mask: npt.NDArray[np.int32] | None) -> Picture:
    """Scale picture and mask into the tile and draw the one over the other."""
    height, width = image.shape[:2]
    scale = _TILE / max(height, width)
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if mask is None:
        return np.asarray(small, dtype=np.uint8)
    # A mask of another size is stretched on purpose: the sheet shows how it misses the picture.
    return draw_mask(small, cv2.resize(mask, size, interpolation=cv2.INTER_NEAREST))


def _cut(text: str, font: ImageFont.FreeTypeFont | ImageFont.ImageFont) -> str:
    """Shorten a text to the width of a tile."""
    if font.getlength(text) <= _TILE:
        return text
    while text and font.getlength(text + "...") > _TILE:
        text = text[:-1]
    return text + "..."
