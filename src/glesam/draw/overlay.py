"""Masks drawn on their image, for the eye."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt
from PIL import Image

from glesam.common.arrays import Bool, row_slices
from glesam.draw.captions import draw_captions
from glesam.draw.colours import Colour, colour
from glesam.errors import DataError
from glesam.images.pixels import RGB
from glesam.images.reading import ImageInput, read

if TYPE_CHECKING:
    from glesam.masks.masks import Masks

_OUTLINE_SHARE = 1 / 400
"""Width of the outline as a share of the image's longer side: visible when the image fills a screen."""


def overlay(masks: Masks, image: ImageInput, alpha: float = 0.5) -> Image.Image:
    """See `glesam.masks.masks.Masks.overlay`."""
    if not 0 <= alpha <= 1:
        raise DataError(f"expected alpha from 0 to 1, got {alpha}; 0 draws outlines only")
    rgb = matching(masks, image)
    shapes = [_Shape(index, *masks.crop(index)) for index in masks.paint_order.tolist()]
    whole = masks.whole if masks.has_whole else None
    hidden = [] if whole is None else [_hidden(masks, whole, index) for index in masks.paint_order.tolist()]
    width = max(1, round(max(masks.size) * _OUTLINE_SHARE))
    drawn = Image.new("RGB", masks.size[::-1])
    for rows in row_slices(rgb):  # not the whole: Pillow holds four bytes a pixel besides the image's three
        strip = rgb[rows].copy()
        _hatch_rows(strip, rows.start, hidden, width)
        _draw_rows(strip, rows.start, shapes, alpha, width)
        drawn.paste(Image.fromarray(strip), (0, rows.start))
    if masks.class_names:
        draw_captions(drawn, masks)
    return drawn


class _Shape(NamedTuple):
    """An object: which one, the box of its pixels, and the mask within."""

    which: int
    box: tuple[int, int, int, int]
    mask: Bool


def _hidden(masks: Masks, whole: Masks, index: int) -> _Shape:
    """What of a whole object is not seen."""
    (x0, y0, x1, y1), inside = whole.crop(index)
    return _Shape(index, (x0, y0, x1, y1), np.asarray(inside & ~masks.mask(index)[y0:y1, x0:x1]))


def _hatch_rows(strip: RGB, first: int, shapes: Sequence[_Shape], width: int) -> None:
    """Hatch the part of objects that lies in the rows of an image from `first` on, in place."""
    for which, (x0, y0, x1, y1), mask in shapes:
        top, bottom = max(y0, first), min(y1, first + len(strip))
        if top >= bottom:
            continue
        rows, columns = np.ogrid[top:bottom, x0:x1]
        lines = (rows + columns) // (2 * width) % 3 == 0
        canvas = strip[top - first : bottom - first, x0:x1]
        canvas[lines & mask[top - y0 : bottom - y0]] = colour(which)
        outline(canvas, mask, colour(which), max(1, width // 2), top - y0)


def _draw_rows(strip: RGB, first: int, shapes: Sequence[_Shape], alpha: float, width: int) -> None:
    """Draw the part of objects that lies in the rows of an image from `first` on, in place."""
    labels = np.zeros(strip.shape[:2], np.int32)
    parts = []
    for shape in shapes:
        x0, y0, x1, y1 = shape.box
        top, bottom = max(y0, first), min(y1, first + len(strip))
        if top < bottom:
            place = (slice(top - first, bottom - first), slice(x0, x1))
            labels[place][shape.mask[top - y0 : bottom - y0]] = shape.which + 1
            parts.append((shape, place, top - y0))
    tint(strip, labels, alpha)
    for shape, place, start in parts:
        outline(strip[place], shape.mask, colour(shape.which), width, start)


def tint(canvas: RGB, labels: npt.NDArray[np.integer[Any]], alpha: float) -> None:
    """Paint objects over an image, in place.

    Args:
        canvas: `(H, W, 3)` uint8 RGB.
        labels: `(H, W)`: 0, or the number of the object from 1 on, which has the colour of its number less 1.
        alpha: share of the colour.
    """
    palette = np.array([(0, 0, 0), *(colour(i) for i in range(int(labels.max(initial=0))))], np.float32)
    inside = labels > 0
    canvas[inside] = np.rint((1 - alpha) * canvas[inside] + alpha * palette[labels[inside]]).astype(np.uint8)


def outline(canvas: RGB, mask: Bool, rgb: Colour, width: int, first: int = 0) -> None:
    """Paint a mask's inner border, in place: the colour, with a thin white line around where there is room.

    Args:
        canvas: `(h, W, 3)` uint8 RGB: rows of the image from the mask's row `first` on.
        mask: `(H, W)` of the whole object.
        rgb: colour of the line.
        width: of the line in pixels.
        first: row of the mask that is the canvas's first.
    """
    if not mask.size:
        return
    line = _border(mask, width, first, len(canvas))
    halo = _border(mask, max(1, width // 2), first, len(canvas))
    canvas[line] = rgb
    if width > 1:
        canvas[halo] = 255


def _border(mask: Bool, width: int, first: int, count: int) -> Bool:
    """Pixels of `count` rows of a mask, from `first` on, that are at most `width` from its outside."""
    import cv2

    above = min(first, width)  # rows that decide about the first one
    band = mask[first - above : first + count + width]
    padded = np.pad(band.astype(np.uint8), 1)
    core = np.asarray(cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width))[1:-1, 1:-1]
    return np.asarray(band & (core == 0))[above : above + count]


def matching(masks: Masks, image: ImageInput) -> RGB:
    """The image's pixels, if it is as large as the masks.

    Raises:
        DataError: it is not.
    """
    rgb = read(image)
    if rgb.shape[:2] != masks.size:
        (height, width), (h, w) = masks.size, rgb.shape[:2]
        raise DataError(f"expected the masks' image of {width}x{height} pixels, got {w}x{h}; give the same image")
    return rgb
