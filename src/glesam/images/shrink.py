"""Smaller copies of images that are longer than a side allows, with their masks of ids."""

from __future__ import annotations

from typing import TypeVar

import cv2
import numpy as np
import numpy.typing as npt

from glesam.images.pixels import RGB

_Number = TypeVar("_Number", bound=np.generic)


def shrunk_size(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """`(H, W)` at which the longer side has at most `longest` pixels, each rounded to the nearest, at least 1."""
    scale = longest / max(size)
    return size if scale >= 1 else (max(1, round(size[0] * scale)), max(1, round(size[1] * scale)))


def shrink(image: RGB, longest: int) -> RGB:
    """Shrink `(H, W, 3)` uint8 by averaging over areas, so that no side exceeds `longest` pixels.

    An image that fits is given back itself, not a copy.
    """
    size = (image.shape[0], image.shape[1])
    smaller = shrunk_size(size, longest)
    if smaller == size:
        return image
    return np.asarray(cv2.resize(image, smaller[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def resize_ids(ids: npt.NDArray[_Number], size: tuple[int, int]) -> npt.NDArray[_Number]:
    """A mask of ids `(H, W)` at another size, by the pixel under each new pixel's centre; at its own size itself.

    OpenCV's `INTER_NEAREST` takes the pixel under the corner, and so moves a mask half a pixel off its image.
    """
    if ids.shape == size:
        return ids
    rows, columns = ((2 * np.arange(new) + 1) * old // (2 * new) for new, old in zip(size, ids.shape, strict=True))
    resized: npt.NDArray[_Number] = ids[rows[:, None], columns]
    return resized
