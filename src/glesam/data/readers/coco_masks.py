"""COCO's two ways to write a mask (Lin et al., ECCV 2014): run lengths, read by `glesam.masks.rle`, and polygons."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Bool, Int
from glesam.errors import DataError
from glesam.masks import rle

_FINER = 5
"""COCO walks along outlines on a grid so many times finer than the pixels."""

_MIDDLE = 2
"""An outline counts for a column of pixels where it leaves this one of the column's finer columns for the next."""

_CROSSINGS = 1 << 20
"""Crossings of edges with columns that are held at once while a polygon is filled."""

_CELLS = 1 << 24
"""Pixels of a polygon's columns that are filled at once."""

_FAR = 1e9
"""Coordinates beyond this, in pixels, are taken for this."""


def polygon_mask(polygons: Sequence[Sequence[float]], height: int, width: int) -> Bool:
    """Fill polygons into an `(height, width)` bool mask: the union of all, each by the even-odd rule.

    Which pixels of its edge a polygon has is COCO's rule (`rleFrPoly` of its API), so that masks are those of
    pycocotools, bit for bit. Parts outside the image are cut off.

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
    """Add one polygon to `mask`: find where edges cross the columns, then count crossings from the top."""
    height, width = mask.shape
    start = np.trunc(np.clip(corners, -_FAR, _FAR) * _FINER + 0.5).astype(np.int64)
    end = np.roll(start, -1, axis=0)
    left = max(0, _columns_before(start[:, 0].min()))
    right = min(width, _columns_before(start[:, 0].max()))
    if left >= right:
        return
    flips = np.zeros((right - left) * height + 1, dtype=np.bool_)
    step = max(1, _CROSSINGS // width)
    for first in range(0, len(start), step):
        part = slice(first, first + step)
        column, row = _crossings(start[part], end[part], width)
        rows = np.ceil(np.clip((row + 0.5) / _FINER - 0.5, 0, height)).astype(np.int64)
        # The row after the last is the first one of the next column: there the outline ends.
        np.logical_xor.at(flips, (column - left) * height + rows, True)
    _add_inside(mask[:, left:right], flips[:-1])


def _add_inside(mask: Bool, flips: Bool) -> None:
    """Add to `(height, width)` what lies inside, from where each column goes in and out, column after column."""
    height, width = mask.shape
    step = max(1, _CELLS // height)
    inside = np.False_
    for first in range(0, width, step):
        part = np.logical_xor.accumulate(flips[first * height : (first + step) * height]) ^ inside
        mask[:, first : first + step] |= part.reshape(-1, height).T
        inside = part[-1]


def _columns_before(x: Any) -> Any:
    """Number of pixel columns, from 0 on, whose middle lies left of a finer column."""
    return -((_MIDDLE - x) // _FINER)


def _crossings(start: Int, end: Int, width: int) -> tuple[Int, Int]:
    """Where edges between finer pixels `(n, 2)` cross the middles of columns: columns, and finer rows.

    An edge goes step by step along its longer side, and the other coordinate is rounded.
    """
    span = np.abs(end - start)
    flat = span[:, 0] >= span[:, 1]
    backwards = np.where(flat, start[:, 0] > end[:, 0], start[:, 1] > end[:, 1])[:, None]
    (x, y), (x_end, y_end) = np.where(backwards, end, start).T, np.where(backwards, start, end).T
    slope = np.where(flat, y_end - y, x_end - x) / np.maximum(np.where(flat, span[:, 0], span[:, 1]), 1)
    first = np.clip(_columns_before(np.minimum(x, x_end)), 0, width)
    counts = np.clip(_columns_before(np.maximum(x, x_end)), 0, width) - first
    edge = np.repeat(np.arange(len(start)), counts)
    column = np.arange(edge.size) - np.repeat(np.cumsum(counts) - counts, counts) + first[edge]
    x, y, slope, flat, rises = x[edge], y[edge], slope[edge], flat[edge], (x_end > x)[edge]
    middle = _FINER * column + _MIDDLE
    along = middle - x
    flat_row = np.minimum(np.trunc(y + slope * along + 0.5), np.trunc(y + slope * (along + 1) + 0.5))
    # On a steep edge, the step that takes the rounded x over the middle; the quotient may be off by one.
    near = np.ceil((middle + 0.5 - x) / np.where(flat, 1.0, slope)) + np.array([[-1], [0], [1]])
    reached = np.trunc(x + slope * near + 0.5)
    over = np.where(rises, reached > middle, reached <= middle)
    steep_row = y + np.take_along_axis(near, np.argmax(over, axis=0)[None], axis=0)[0] - 1
    return column, np.where(flat, flat_row, steep_row).astype(np.int64)
