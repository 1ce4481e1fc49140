"""Non-maximum suppression on boxes and on masks, in numpy; of equal scores the first wins, so that order is fixed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Bool, Float64, Int
from glesam.masks.runs import RunMask

Numbers = npt.NDArray[Any]


def box_nms(boxes: Numbers, scores: Numbers, threshold: float) -> Int:
    """Keep boxes from the highest score on, each unless it has an IoU above the threshold with a kept one.

    Args:
        boxes: `(N, 4)` `(x0, y0, x1, y1)`, ends excluded.
        scores: `(N,)`.
        threshold: IoU above which two boxes are the same.

    Returns:
        `(K,)` int64 indices of the kept, highest score first.
    """
    corners = np.asarray(boxes, np.float64).reshape(-1, 4)
    return _suppress(scores, lambda index, rest: box_iou(corners[index], corners[rest]) > threshold)


def mask_nms(masks: Sequence[RunMask], scores: Numbers, threshold: float) -> Int:
    """As `box_nms`, by the IoU of the masks themselves.

    Returns:
        `(K,)` int64 indices of the kept, highest score first.
    """
    areas = np.array([mask.area for mask in masks], np.float64)
    boxes = np.array([mask.box for mask in masks], np.float64).reshape(-1, 4)

    def same(index: int, rest: Int) -> Bool:
        # The IoU cannot exceed the ratio of the areas, nor the share that the boxes' overlap leaves room for.
        room = np.minimum(_overlap(boxes[index], boxes[rest]), np.minimum(areas[index], areas[rest]))
        possible = room > threshold * np.maximum(areas[index], areas[rest])
        hits = [masks[index].iou(masks[other]) > threshold for other in rest[possible]]
        possible[possible] = hits
        return np.asarray(possible, bool)

    return _suppress(scores, same)


def box_iou(box: Float64, others: Float64) -> Float64:
    """IoU of one box `(4,)` with `(N, 4)` others; 0 for empty ones."""
    common = _overlap(box, others)
    areas = (others[:, 2] - others[:, 0]) * (others[:, 3] - others[:, 1])
    whole = (box[2] - box[0]) * (box[3] - box[1]) + areas - common
    return np.asarray(np.divide(common, whole, out=np.zeros_like(common), where=whole > 0), np.float64)


def _overlap(box: Float64, others: Float64) -> Float64:
    """Area that one box shares with each of others."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    return np.asarray(np.clip(high - low, 0, None).prod(axis=1), np.float64)


def _suppress(scores: Numbers, same: Callable[[int, Int], Bool]) -> Int:
    """Greedy suppression: take the best that is left, drop what is the same."""
    left = np.argsort(-np.asarray(scores, np.float64), kind="stable").astype(np.int64)
    kept = []
    while len(left):
        best, left = int(left[0]), left[1:]
        kept.append(best)
        left = left[~same(best, left)]
    return np.array(kept, np.int64)
