"""Smaller copies of images that are longer than a side allows, with their masks of ids."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from glesam.images.pixels import RGB


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


def resize_ids(ids: npt.NDArray[np.int32], size: tuple[int, int]) -> npt.NDArray[np.int32]:
    """A mask of ids `(H, W)` at another size, by the nearest pixel; at its own size itself."""
    if ids.shape == size:
        return ids
    return np.asarray(cv2.resize(ids, size[::-1], interpolation=cv2.INTER_NEAREST), np.int32)
