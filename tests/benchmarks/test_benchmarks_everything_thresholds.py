"""Thresholds that are played through keep what everything mode's own suppression keeps; sums by hand."""

from __future__ import annotations

import numpy as np
import pytest

import everything_thresholds
from glesam.everything.nms import box_iou, box_nms, mask_nms
from glesam.masks.runs import RunMask


def rectangles(count: int = 60, side: int = 40) -> tuple[list[RunMask], np.ndarray]:
    """Many masks, most of them like another, and their boxes."""
    rng = np.random.default_rng(5)
    low = rng.integers(0, 4, (count, 2)) * 7
    boxes = np.concatenate([low, low + rng.integers(8, 12, (count, 2))], axis=1)
    masks = np.zeros((count, side, side), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
        mask[y0 + 2 : y1 - 2, x0 + 2 : x1 - 2] = rng.random() < 0.5
    return [RunMask.from_array(mask) for mask in masks], boxes


@pytest.mark.parametrize(("box", "mask"), [(0.9, 0.7), (0.7, 0.9), (1.0, 0.5)])
def test_what_is_kept_is_what_the_product_keeps(box: float, mask: float) -> None:
    runs, boxes = rectangles()
    alike = np.array([box_iou(each, boxes) for each in boxes.astype(float)])
    rng = np.random.default_rng(6)
    ious, stability = np.sort(rng.random(len(runs)))[::-1], rng.random(len(runs))
    none = np.zeros((len(runs), 0))
    image = everything_thresholds.Candidates(
        ious, stability, alike, everything_thresholds.masks_alike(runs, alike), none
    )
    left = np.flatnonzero((ious >= 0.2) & (stability >= 0.3))
    left = left[box_nms(boxes[left], ious[left], box)]
    left = left[mask_nms([runs[i] for i in left], ious[left], mask)]
    assert 3 < len(left) < len(runs) / 2
    assert image.kept(0.2, 0.3, box, mask).tolist() == left.tolist()


def test_recall_and_masks_of_a_combination() -> None:
    apart = np.eye(2)
    truths = np.array([[0.92, 0.1, 0.0], [0.3, 0.52, 0.0]])
    image = everything_thresholds.Candidates(np.array([0.9, 0.4]), np.array([0.8, 0.8]), apart, apart, truths)
    masks, half, mean = everything_thresholds.play([image], (0.1, 0.0, 0.9, 0.7))
    assert (masks, half) == (2, pytest.approx(2 / 3))
    assert mean == pytest.approx((9 + 1 + 0) / 30)  # .92 passes nine of ten cuts, .52 the first
    assert everything_thresholds.play([image], (0.5, 0.0, 0.9, 0.7))[:2] == (1, pytest.approx(1 / 3))
    report = everything_thresholds.report(
        {(0.1, 0.0, 0.9, 0.7): (2, 2 / 3, 1 / 3), (0.5, 0.0, 0.9, 0.7): (1, 1 / 3, 0.3)}, (0.1, 0.0, 0.9, 0.7), [1.5], 1
    )
    assert report.splitlines()[2:] == [
        "| 0.1 | 0 | 0.9 | 0.7 | 2.0 | 0.667 | 0.333 |",
        "| 0.5 | 0 | 0.9 | 0.7 | 1.0 | 0.333 | 0.300 |",
    ]
