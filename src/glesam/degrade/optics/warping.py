"""Moving pixels: one pair of coordinate maps, used alike for an image (linear) and for its mask (nearest)."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray


def grid(height: int, width: int) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Column and row of every pixel, each (H, W) float32: the maps that move nothing."""
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32)
    return columns, rows


def reflect(positions: NDArray[np.float32], size: int) -> NDArray[np.float32]:
    """Fold positions in pixels into `[0, size - 1]` by mirroring at the first and last pixel.

    Folding the maps, and not leaving the border to each sampler, is what keeps image and mask in step there.
    """
    period = 2.0 * (size - 1)
    folded = np.abs(positions) % period
    return np.minimum(folded, period - folded).astype(np.float32)


def warp_image(image: NDArray[np.uint8], map_x: NDArray[np.float32], map_y: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Sample an image at the maps' places, bilinearly.

    Args:
        image: (H, W, 3) uint8.
        map_x: (H, W) float32 columns in the input, within the image.
        map_y: (H, W) float32 rows in the input, within the image.
    """
    warped: NDArray[np.uint8] = cv2.remap(image, map_x, map_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return warped


def warp_mask(mask: NDArray[Any], map_x: NDArray[np.float32], map_y: NDArray[np.float32]) -> NDArray[Any]:
    """Sample a mask of any whole-number type at the nearest pixel of the maps' places; no new value can appear."""
    columns = np.rint(map_x).astype(np.intp)
    rows = np.rint(map_y).astype(np.intp)
    return mask[rows, columns]
