"""Masks drawn on their image, for the eye."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

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
    canvas = matching(masks, image).copy()
    tint(canvas, masks.to_labels(), alpha)
    width = max(1, round(max(masks.size) * _OUTLINE_SHARE))
    for index in masks.paint_order.tolist():
        (x0, y0, x1, y1), inside_box = masks.crop(index)
        outline(canvas[y0:y1, x0:x1], inside_box, colour(index), width)
    drawn = Image.fromarray(canvas)
    if masks.class_names:
        draw_captions(drawn, masks)
    return drawn


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


def outline(canvas: RGB, mask: npt.NDArray[np.bool_], rgb: Colour, width: int) -> None:
    """Paint a mask's inner border, in place: the colour, with a thin white line around where there is room."""
    if not mask.size:
        return
    line, halo = _border(mask, width), _border(mask, max(1, width // 2))
    canvas[line] = rgb
    if width > 1:
        canvas[halo] = 255


def _border(mask: npt.NDArray[np.bool_], width: int) -> npt.NDArray[np.bool_]:
    """Pixels of a mask at most `width` from its outside."""
    import cv2

    padded = np.pad(mask.astype(np.uint8), 1)
    core = np.asarray(cv2.erode(padded, np.ones((3, 3), np.uint8), iterations=width))[1:-1, 1:-1]
    return np.asarray(mask & (core == 0))


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
