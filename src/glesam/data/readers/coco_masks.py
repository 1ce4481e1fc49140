"""COCO's two ways to write a mask (Lin et al., ECCV 2014): run lengths, read by `glesam.masks.rle`, and polygons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Bool
from glesam.errors import DataError
from glesam.masks import rle

_BAND_CROSSINGS, _BAND_PIXELS = 1 << 20, 1 << 24
"""Crossings of edges with rows, and pixels, that are held at once while a polygon is filled."""


def polygon_mask(polygons: Sequence[Sequence[float]], height: int, width: int) -> Bool:
    """Fill polygons into an `(height, width)` bool mask: the union of all, each by the even-odd rule.

    A pixel belongs to a polygon when its centre `(x + 0.5, y + 0.5)` does. Parts outside the image are cut off.

    Args:
        polygons: each `[x0, y0, x1, y1, ...]` in pixels.
        height: rows.
        width: columns.

    Raises:
        DataError: a polygon has fewer than three corners, an odd number of values, or a value that is no number.
    """
    mask = np.zeros((height, width), dtype=np.bool_)
    parts = [_corners(polygon) for polygon in polygons]
    drawn = [corners for corners in parts if len(corners) >= 3]
    if parts and not drawn:
        raise DataError("expected a polygon of three corners or more, got none; write it again")
    for corners in drawn:  # a line or a point beside others covers nothing
        _fill(mask, corners)
    return mask


def decode_segmentation(segmentation: Any, height: int, width: int) -> Bool:
    """Make a mask of the field `segmentation` of a COCO annotation: polygons, or `{"counts": ..., "size": [h, w]}`.

    Raises:
        DataError: the field is neither, or is broken.
    """
    if isinstance(segmentation, list):
        return polygon_mask(segmentation, height, width)
    if not isinstance(segmentation, dict) or "counts" not in segmentation:
        raise DataError(f"expected polygons or run lengths, got {type(segmentation).__name__}; write the mask again")
    if list(segmentation.get("size", (height, width))) != [height, width]:
        raise DataError(
            f"expected run lengths of size {[height, width]}, got {segmentation['size']}; write the mask again"
        )
    return rle.decode({"size": [height, width], "counts": segmentation["counts"]})


def _corners(polygon: Sequence[float]) -> npt.NDArray[np.float64]:
    """A polygon as `(K, 2)` corners."""
    try:
        flat = np.asarray(polygon, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise DataError(f"expected a polygon of numbers, got {str(polygon)[:40]!r}; write it again") from error
    if flat.ndim != 1 or flat.size % 2 or not np.isfinite(flat).all():
        raise DataError(
            f"expected a polygon [x0, y0, x1, y1, ...] of finite numbers, got {str(polygon)[:40]!r}; write it again"
        )
    return flat.reshape(-1, 2)


def _fill(mask: Bool, corners: npt.NDArray[np.float64]) -> None:
    """Add one polygon to `mask`: mark where edges cross the rows' centre lines, then count crossings from the left."""
    height, width = mask.shape
    top = int(np.clip(np.floor(corners[:, 1].min()), 0, height))
    bottom = int(np.clip(np.ceil(corners[:, 1].max()), 0, height))
    # Bands of rows: many long edges cross many rows each, and each crossing takes some memory.
    step = max(1, min(_BAND_CROSSINGS // len(corners), _BAND_PIXELS // width))
    for row in range(top, bottom, step):
        _fill_rows(mask[row : min(row + step, bottom)], corners - np.array([0.0, row]))


def _fill_rows(mask: Bool, corners: npt.NDArray[np.float64]) -> None:
    """Add one polygon to some rows of a mask."""
    height, width = mask.shape
    start, end = corners, np.roll(corners, -1, axis=0)
    low, high = np.minimum(start[:, 1], end[:, 1]), np.maximum(start[:, 1], end[:, 1])
    # Rows whose centre line y + 0.5 lies in [low, high): half open, so that a shared corner counts once.
    first = np.clip(np.ceil(low - 0.5), 0, height).astype(np.int64)
    rows = np.clip(np.ceil(high - 0.5), 0, height).astype(np.int64) - first
    edge = np.repeat(np.arange(len(corners)), rows)
    if edge.size == 0:
        return
    row = np.arange(edge.size) - np.repeat(np.cumsum(rows) - rows, rows) + first[edge]
    slope = (end[edge, 0] - start[edge, 0]) / (end[edge, 1] - start[edge, 1])
    crossing = start[edge, 0] + (row + 0.5 - start[edge, 1]) * slope
    column = np.clip(np.ceil(crossing - 0.5), 0, width).astype(np.int64)
    top, left = row.min(), column.min()
    flips = np.zeros((row.max() - top + 1, column.max() - left + 1), dtype=np.bool_)
    np.logical_xor.at(flips, (row - top, column - left), True)
    inside = np.logical_xor.accumulate(flips, axis=1)[:, :-1]
    mask[top : top + inside.shape[0], left : left + inside.shape[1]] |= inside
