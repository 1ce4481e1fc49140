"""The box of a mask's pixels: one rule for all rooms."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt


def pixel_box(mask: npt.NDArray[Any]) -> tuple[int, int, int, int] | None:
    """Edges `(x0, y0, x1, y1)` of the pixels of a mask, x1 and y1 one past the last; None if there is none.

    Args:
        mask: `(H, W)` bool, or uint8 where all but 0 counts.
    """
    import cv2  # a tenth of a second, which `import glesam` must not cost

    if mask.size == 0:
        return None
    x, y, width, height = cv2.boundingRect(np.ascontiguousarray(mask).view(np.uint8))
    return (x, y, x + width, y + height) if width else None


def pixel_window(mask: npt.NDArray[Any], margin: int = 0) -> tuple[slice, slice]:
    """Rows and columns of a mask's box and of a margin around it, within the array; empty for no pixel.

    Args:
        mask: as for `pixel_box`.
        margin: in pixels.
    """
    box = pixel_box(mask)
    if box is None:
        return slice(0, 0), slice(0, 0)
    (x0, y0, x1, y1), (height, width) = box, mask.shape
    return slice(max(0, y0 - margin), min(height, y1 + margin)), slice(max(0, x0 - margin), min(width, x1 + margin))
