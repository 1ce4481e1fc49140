"""From a map of likeness to prompts: its peaks, its regions, and windows of the reference objects' sizes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Float
from glesam.common.boxes import pixel_box
from glesam.everything.nms import box_nms

LEVELS = (0.3, 0.5, 0.7)
"""Cuts of the map at which connected regions become boxes; 0 are the surroundings, 1 the reference objects."""

SCALES = (0.6, 1.0, 1.6)
"""Window sizes relative to the reference objects'."""

_LEAST = 0.2
"""Value below which a place is not worth asking about."""

_SAME_WINDOW, _SAME_REGION = 0.6, 0.8
_SMOOTH = 1.5
"""Cells of blur: the map of a thing with several parts falls apart into these."""


def peaks(values: Float, most: int) -> Float:
    """Places where a map is highest among their eight neighbours.

    Args:
        values: `(h, w)` map.
        most: number of peaks at most.

    Returns:
        `(n, 2)` float32 `(x, y)` in cells, centres at .5, highest first.
    """
    smooth = np.asarray(cv2.GaussianBlur(values, (3, 3), 0.7), np.float32)
    high = (smooth >= np.asarray(cv2.dilate(smooth, np.ones((3, 3))))) & (smooth >= _LEAST)
    rows, columns = np.nonzero(high)
    order = np.argsort(-smooth[rows, columns], kind="stable")[:most]
    return np.stack([columns[order], rows[order]], axis=1).astype(np.float32) + 0.5


def lattice(values: Float, taken: Float, step: int, most: int) -> Float:
    """Places of a regular grid where a map is high: things of one kind that touch have no peak each.

    Args:
        values: `(h, w)` map.
        taken: `(m, 2)` places `(x, y)` in cells, near which no further one is wanted.
        step: cells from one place to the next.
        most: places at most.

    Returns:
        `(n, 2)` float32 `(x, y)` in cells, highest first.
    """
    height, width = values.shape
    xs, ys = (np.arange(n % step // 2 + step // 2, n, step) for n in (width, height))
    places = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    smooth = np.asarray(cv2.GaussianBlur(values, (3, 3), 0.7), np.float32)
    height_of = smooth[places[:, 1], places[:, 0]]
    centres = places.astype(np.float32) + 0.5
    far = np.array([not len(taken) or np.abs(taken - c).max(axis=1).min() >= step / 2 for c in centres], bool)
    chosen = np.flatnonzero(far & (height_of >= LEVELS[0]))
    return centres[chosen[np.argsort(-height_of[chosen], kind="stable")[:most]]]


def region_boxes(values: Float, most: int) -> Float:
    """Boxes around connected regions above each of `LEVELS`, of the map as it is and smoothed, and around all of them.

    Args:
        values: `(h, w)` map.
        most: boxes at most.

    Returns:
        `(n, 4)` float32 `(x0, y0, x1, y1)` in cells, those with the highest mean times the root of the area first.
    """
    rows: list[tuple[int, int, int, int]] = []
    worth: list[float] = []
    for shown in (values, np.asarray(cv2.GaussianBlur(values, (0, 0), _SMOOTH), np.float32)):
        for level in LEVELS:
            above = shown > level
            _, _, stats, _ = cv2.connectedComponentsWithStats(above.astype(np.uint8), connectivity=4)
            for x, y, width, height, area in [*stats[1:].tolist(), *_around(above)]:
                rows.append((x, y, x + width, y + height))
                worth.append(float(values[y : y + height, x : x + width].mean()) * float(area) ** 0.5)
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    return boxes[_suppressed(boxes, worth, _SAME_REGION)[:most]]


def _around(above: npt.NDArray[np.bool_]) -> list[tuple[int, int, int, int, int]]:
    """The box around all cells above, as x, y, width, height, cells."""
    box = pixel_box(above)
    if box is None:
        return []
    x0, y0, x1, y1 = box
    return [(x0, y0, x1 - x0, y1 - y0, int(above.sum()))]


def window_boxes(values: Float, sizes: Sequence[tuple[float, float]], most: int) -> Float:
    """Windows of given sizes that hold the map's high values and little around them.

    A window counts as the mean inside it minus the mean of a ring as wide as half of it.

    Args:
        values: `(h, w)` map.
        sizes: `(width, height)` of reference objects, in cells.
        most: windows at most.

    Returns:
        `(n, 4)` float32 `(x0, y0, x1, y1)` in cells, best first, no two of the same size and place.
    """
    rows: list[tuple[float, float, float, float]] = []
    scores: list[float] = []
    for width, height in _distinct(sizes, values.shape):
        contrast = _contrast(values, width, height)
        high = (contrast >= np.asarray(cv2.dilate(contrast, np.ones((3, 3))))) & (contrast > 0)
        for y, x in np.argwhere(high).tolist():
            rows.append((x + 0.5 - width / 2, y + 0.5 - height / 2, x + 0.5 + width / 2, y + 0.5 + height / 2))
            scores.append(float(contrast[y, x]))
    boxes = np.array(rows, np.float32).reshape(-1, 4)
    limits = np.array([values.shape[1], values.shape[0]] * 2, np.float32)
    return np.asarray(np.clip(boxes, 0, limits), np.float32)[_suppressed(boxes, scores, _SAME_WINDOW)[:most]]


def _suppressed(boxes: Float, scores: Sequence[float], threshold: float) -> npt.NDArray[np.int64]:
    return box_nms(boxes, np.array(scores), threshold)


def _distinct(sizes: Sequence[tuple[float, float]], shape: tuple[int, ...]) -> list[tuple[int, int]]:
    """Odd widths and heights in cells, at all scales, each once; none larger than the map."""
    found: dict[tuple[int, int], None] = {}
    for scale in SCALES:
        for width, height in sizes:
            pair = (_odd(width * scale), _odd(height * scale))
            if pair[0] <= shape[1] and pair[1] <= shape[0]:
                found[pair] = None
    return list(found)


def _odd(length: float) -> int:
    """The nearest odd number, at least 1: a window with a cell in its middle."""
    return max(1, 2 * round((length - 1) / 2) + 1)


def _contrast(values: Float, width: int, height: int) -> Float:
    """Mean in the window around each cell, minus the mean in the ring around the window."""
    outer = (_odd(1.5 * width + 1), _odd(1.5 * height + 1))
    inside = np.asarray(cv2.boxFilter(values, -1, (width, height), normalize=False, borderType=cv2.BORDER_REPLICATE))
    whole = np.asarray(cv2.boxFilter(values, -1, outer, normalize=False, borderType=cv2.BORDER_REPLICATE))
    area, ring = width * height, outer[0] * outer[1] - width * height
    return np.asarray(inside / area - (whole - inside) / ring, np.float32)
