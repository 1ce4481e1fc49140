"""The grid of clicks that stands for "everything" (SAM, Kirillov et al., ICCV 2023, appendix B)."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt


def point_grid(points_per_side: int, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Spread clicks evenly over a picture, each in the middle of its cell.

    Args:
        points_per_side: n, clicks in each row and in each column.
        size: `(H, W)` of the picture in pixels.

    Returns:
        `(n * n, 2)` float32 `(x, y)` in pixels, row by row from the top left.
    """
    height, width = size
    middles = (np.arange(points_per_side) + 0.5) / points_per_side
    xs, ys = np.meshgrid(middles * width, middles * height)
    return np.stack([xs.ravel(), ys.ravel()], axis=1).astype(np.float32)
