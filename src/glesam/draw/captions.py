"""Class names written beside the masks that they belong to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from PIL import Image, ImageDraw, ImageFont

from glesam.draw.colours import colour

if TYPE_CHECKING:
    from glesam.masks.masks import Masks

_SIZE_SHARE = 1 / 40
"""Height of the letters as a share of the image's longer side."""
_LEAST_SIZE = 10


def draw_captions(canvas: Image.Image, masks: Masks) -> None:
    """Write each object's class name and score on a plate of its colour, at the top left of its mask.

    Args:
        canvas: RGB image of the masks' size, drawn on.
        masks: with class names. Empty masks get no caption.
    """
    size = max(_LEAST_SIZE, round(max(canvas.size) * _SIZE_SHARE))
    font, pen = ImageFont.load_default(size), ImageDraw.Draw(canvas)
    for index in masks.paint_order.tolist():
        if masks.areas[index]:
            x, y, _, _ = masks.boxes[index].tolist()
            text = f"{masks.class_names[index]} {masks.scores[index]:.2f}"
            _write(pen, (x, y - size), text, font, colour(index), canvas.size)


def _write(
    pen: ImageDraw.ImageDraw,
    corner: tuple[float, float],
    text: str,
    font: ImageFont.FreeTypeFont | ImageFont.ImageFont,
    plate: tuple[int, int, int],
    size: tuple[int, int],
) -> None:
    """Write one line, moved so that it lies within the image; black or white, whichever stands out."""
    left, top, right, bottom = pen.textbbox((0, 0), text, font=font)
    width, height = right - left, bottom - top
    x = max(0.0, min(corner[0], size[0] - width - 4))
    y = max(0.0, min(corner[1], size[1] - height - 4))
    pen.rectangle((x, y, x + width + 3, y + height + 3), fill=plate)
    # Luma of ITU-R BT.601.
    bright = 0.299 * plate[0] + 0.587 * plate[1] + 0.114 * plate[2] > 128
    pen.text((x + 2 - left, y + 2 - top), text, font=font, fill=(0, 0, 0) if bright else (255, 255, 255))
