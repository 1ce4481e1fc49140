"""Stability and boxes, against their definitions in numpy."""

from __future__ import annotations

import numpy as np
import torch

from glesam.everything.clicks import stability_scores
from glesam.views.enlarge import mask_boxes


def test_stability_is_the_iou_of_the_two_cuts() -> None:
    logits = torch.randn(20, 9, 11, generator=torch.Generator().manual_seed(0)) * 3
    got = stability_scores(logits, 1.5).numpy()
    for values, score in zip(logits.numpy(), got, strict=True):
        high, low = values > 1.5, values > -1.5
        assert score == (high & low).sum() / (high | low).sum()


def test_nothing_is_not_stable() -> None:
    assert stability_scores(torch.full((1, 3, 3), -9.0), 1.0).tolist() == [0.0]


def test_boxes_enclose_what_is_above_zero() -> None:
    rng = np.random.default_rng(0)
    inside = rng.random((40, 7, 9)) < 0.06
    inside[3] = False
    got = mask_boxes(torch.from_numpy(np.where(inside, 1.0, -1.0))).tolist()
    for mask, box in zip(inside, got, strict=True):
        ys, xs = np.nonzero(mask)
        expected = [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1] if len(xs) else [0, 0, 0, 0]
        assert box == expected
