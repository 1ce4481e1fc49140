"""From masks to polygons along the edges of pixels, holes included.

Pixel `(x, y)` covers the square from `(x, y)` to `(x + 1, y + 1)`, so that a polygon's area is the mask's area and its
bounds are the mask's box. A single pixel is a square, never a degenerate line.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glesam.common.boxes import pixel_box

Ring = npt.NDArray[np.float32]

_AREA_CHANGE = 0.05
"""Share of a ring's area that simplifying may add or take away; small and thin rings are simplified less."""


def trace(mask: npt.NDArray[np.bool_], tolerance: float = 1.0) -> list[Ring]:
    """Trace the outline of a mask.

    Args:
        mask: `(H, W)` bool.
        tolerance: farthest distance, in pixels, between the outline and its simplification (Douglas and Peucker 1973);
            0 keeps every corner, and the rings then enclose exactly the mask's pixels.

    Returns:
        Rings `(K, 2)` float32 of `(x, y)`, K >= 3, first point not repeated. An outer ring has positive signed area
        (x right, y down: clockwise on the screen), a hole negative; holes follow the outer ring they lie in. Pixels
        that touch at a corner belong together. Empty mask: no rings.
    """
    box = pixel_box(mask)
    if box is None:
        return []
    x0, y0, x1, y1 = box
    offset = np.array([x0, y0], np.float32)
    return [_simplify(edges, tolerance) + offset for edges in _edge_rings(mask[y0:y1, x0:x1])]


def signed_area(ring: npt.NDArray[np.floating]) -> float:
    """Area by the shoelace formula: positive for outer rings, negative for holes."""
    x, y = ring.astype(np.float64).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _edge_rings(mask: npt.NDArray[np.bool_]) -> list[Ring]:
    """Rings through every corner of the mask's outline, turned as `trace` promises.

    OpenCV follows the centres of border pixels. In a mask of doubled size, border centres at odd coordinates lie on
    right and lower edges, those at even ones on left and upper edges, so halving rounded up gives the edge.
    """
    import cv2

    doubled = mask.astype(np.uint8).repeat(2, axis=0).repeat(2, axis=1)
    contours, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    parents = hierarchy[0, :, 3].tolist()
    rings = [_corners((np.asarray(c)[:, 0].astype(np.int64) + 1) // 2) for c in contours]
    holes: dict[int, list[Ring]] = {}
    for ring, parent in zip(rings, parents, strict=True):
        if parent >= 0:
            holes.setdefault(parent, []).append(_turned(ring, -1))
    outer = [(i, _turned(ring, 1)) for i, ring in enumerate(rings) if parents[i] < 0]
    return [each for i, ring in outer for each in [ring, *holes.get(i, [])]]


def _corners(path: npt.NDArray[np.int64]) -> Ring:
    """Keep the points of a closed path along edges where it turns."""
    path = path[(path != np.roll(path, 1, axis=0)).any(axis=1)]
    before, after = path - np.roll(path, 1, axis=0), np.roll(path, -1, axis=0) - path
    corners: Ring = path[(before != after).any(axis=1)].astype(np.float32)
    return corners


def _turned(ring: Ring, sign: int) -> Ring:
    """The ring in the direction that gives its area this sign."""
    return ring if signed_area(ring) * sign > 0 else ring[::-1]


def _simplify(ring: Ring, tolerance: float) -> Ring:
    """Drop points within the tolerance, or within a half or quarter of it where the area would change too much."""
    import cv2

    exact = signed_area(ring)
    for share in (1.0, 0.5, 0.25) if tolerance > 0 else ():
        simpler = np.asarray(cv2.approxPolyDP(ring[:, None], tolerance * share, True), np.float32)[:, 0]
        if len(simpler) >= 3 and abs(signed_area(simpler) - exact) <= _AREA_CHANGE * abs(exact):
            return simpler
    return ring
