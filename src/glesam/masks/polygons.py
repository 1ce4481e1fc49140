"""From masks to polygons along the edges of pixels, holes included.

Pixel `(x, y)` covers the square from `(x, y)` to `(x + 1, y + 1)`, so that a polygon's area is the mask's area and its
bounds are the mask's box. A single pixel is a square, never a degenerate line.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glesam.common.boxes import pixel_box
from glesam.masks.rings import Ring, polygons, signed_area, simplified

__all__ = ["Ring", "signed_area", "trace"]


def trace(mask: npt.NDArray[np.bool_], tolerance: float = 1.0) -> list[Ring]:
    """Trace the outline of a mask; the rings together are a valid multi-polygon (see `glesam.masks.rings`).

    Args:
        mask: `(H, W)` bool.
        tolerance: farthest distance, in pixels, between the outline and its simplification (Douglas and Peucker 1973);
            0 keeps every corner, and the rings then enclose exactly the mask's pixels.

    Returns:
        Rings `(K, 2)` float32 of `(x, y)`, K >= 3, first point not repeated. An outer ring has positive signed area
        (x right, y down: clockwise on the screen), a hole negative; holes follow the outer ring they lie in. Pixels
        that touch at a corner only lie in rings of their own. Empty mask: no rings.
    """
    box = pixel_box(mask)
    if box is None:
        return []
    x0, y0, x1, y1 = box
    exact = polygons(np.asarray(mask[y0:y1, x0:x1]))
    found = simplified(exact, tolerance) if tolerance > 0 else exact
    offset = np.array([x0, y0], np.float32)
    return [ring + offset for polygon in found for ring in polygon]
