"""Suppression against a plain double loop over pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from glesam.everything.nms import box_iou, box_nms, mask_nms
from glesam.masks.runs import RunMask

Bool = npt.NDArray[np.bool_]


def pixel_nms(masks: list[Bool], scores: npt.NDArray[np.float64], threshold: float) -> list[int]:
    order = sorted(range(len(masks)), key=lambda i: (-scores[i], i))
    kept: list[int] = []
    for i in order:
        ious = [(masks[i] & masks[k]).sum() / max(1, (masks[i] | masks[k]).sum()) for k in kept]
        if all(iou <= threshold for iou in ious):
            kept.append(i)
    return kept


def rectangles(rng: np.random.Generator, count: int, side: int = 24) -> npt.NDArray[np.int64]:
    low = rng.integers(0, side - 4, (count, 2))
    return np.concatenate([low, np.minimum(low + rng.integers(1, 12, (count, 2)), side)], axis=1)


def painted(box: npt.NDArray[np.int64], side: int = 24) -> Bool:
    mask = np.zeros((side, side), bool)
    mask[box[1] : box[3], box[0] : box[2]] = True
    return mask


@pytest.mark.parametrize("threshold", [0.0, 0.3, 0.7, 1.0])
@pytest.mark.parametrize("seed", range(4))
def test_boxes_and_masks_agree_with_pixels(seed: int, threshold: float) -> None:
    rng = np.random.default_rng(seed)
    boxes = rectangles(rng, 60)
    boxes[30:40] = boxes[:10]  # the same again
    scores = rng.integers(0, 6, 60) / 6  # many are equal
    masks = [painted(box) for box in boxes]
    expected = pixel_nms(masks, scores, threshold)
    assert box_nms(boxes, scores, threshold).tolist() == expected
    assert mask_nms([RunMask.from_array(m) for m in masks], scores, threshold).tolist() == expected


@pytest.mark.parametrize("threshold", [0.1, 0.5, 0.8])
def test_masks_that_are_no_boxes(threshold: float) -> None:
    rng = np.random.default_rng(7)
    base = rng.random((6, 20, 22)) < 0.5
    masks = [base[i % 6] ^ (rng.random((20, 22)) < 0.1 * (i // 6)) for i in range(30)]
    scores = rng.random(30)
    got = mask_nms([RunMask.from_array(m) for m in masks], scores, threshold)
    expected = pixel_nms(masks, scores, threshold)
    assert got.tolist() == expected
    assert len(expected) < 30


def test_nothing_in_nothing_out() -> None:
    assert box_nms(np.zeros((0, 4)), np.zeros(0), 0.5).tolist() == []
    assert mask_nms([], np.zeros(0), 0.5).tolist() == []


def test_empty_boxes_have_no_overlap() -> None:
    assert box_iou(np.zeros(4), np.array([[0.0, 0, 0, 0], [0, 0, 5, 5]])).tolist() == [0, 0]
