"""Corrective clicks against a distance by brute force, and rounds against a predictor that does as it is told."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from glesam.errors import DataError
from glesam.evaluate.measure.clicks import Click, clicks_needed, next_click, rounds


def depth_by_hand(error: np.ndarray) -> np.ndarray:
    """Distance of each pixel of an error to the nearest pixel that is none; beyond the image there is none."""
    framed = np.pad(error, 1)
    outside = np.argwhere(~framed)
    depth = np.zeros(framed.shape)
    for y, x in np.argwhere(framed):
        depth[y, x] = np.sqrt(((outside - (y, x)) ** 2).sum(axis=1).min())
    return depth[1:-1, 1:-1]


@pytest.mark.parametrize("seed", range(5))
def test_a_click_is_where_the_error_is_deepest(seed: int) -> None:
    rng = np.random.default_rng(seed)
    blocks = rng.random((2, 5, 6)) < 0.5
    mask, truth = (np.kron(each, np.ones((4, 4), bool)).astype(bool) for each in blocks)
    click = next_click(mask, truth)
    assert click is not None
    missed, wrong = depth_by_hand(truth & ~mask), depth_by_hand(mask & ~truth)
    assert click.label == int(missed.max() > wrong.max())
    depth = missed if click.label else wrong
    assert depth[click.y, click.x] == pytest.approx(depth.max(), abs=1e-4)


def test_a_pixel_is_clicked_once_and_a_right_mask_not_at_all() -> None:
    truth = np.zeros((9, 9), bool)
    truth[2:7, 2:7] = True
    first = next_click(np.zeros_like(truth), truth)
    assert first == Click(4, 4, 1)
    second = next_click(np.zeros_like(truth), truth, [first])
    assert second is not None
    assert second != first
    assert next_click(truth, truth) is None


def test_masks_of_two_sizes_are_refused() -> None:
    with pytest.raises(DataError, match="of one size"):
        next_click(np.zeros((4, 4), bool), np.zeros((4, 5), bool))


@dataclass
class Painter:
    """Paints a disc of radius 3 for a positive click, and takes one away for a negative; logits count the calls."""

    size: tuple[int, int] = (30, 40)
    asked: list[dict[str, Any]] = field(default_factory=list)

    def set_image(self, image: Any) -> None:
        raise AssertionError("the image is set before")

    def predict(self, **asked: Any) -> SimpleNamespace:
        self.asked.append(asked)
        ys, xs = np.mgrid[: self.size[0], : self.size[1]]
        masks = np.zeros((len(asked["points"]), *self.size), bool)
        for mask, points, labels in zip(masks, asked["points"], asked["labels"], strict=True):
            for (x, y), label in zip(points, labels, strict=True):
                mask[(ys - y) ** 2 + (xs - x) ** 2 <= 9] = bool(label)
        logits = np.full((len(masks), 2, 2), len(self.asked), np.float32)
        return SimpleNamespace(masks=masks, scores=np.full(len(masks), 0.5, np.float32), logits=logits)


def test_rounds_go_on_from_the_last_logits_until_a_mask_is_right() -> None:
    ys, xs = np.mgrid[:30, :40]
    disc = (ys - 10) ** 2 + (xs - 12) ** 2 <= 9  # right after one click
    square = np.zeros((30, 40), bool)
    square[5:25, 15:35] = True
    painter = Painter()
    going = rounds(painter, [disc, square], 4)
    first = next(going)
    assert len(painter.asked) == 1  # rounds are made as they are asked for, so that few masks are in memory
    done = [first, *going]
    assert [len(r.masks) for r in done] == [2] * 4
    assert done[0].clicks[0] == Click(12, 10, 1)
    assert [r.clicks[0] for r in done[1:]] == [None] * 3
    assert all(np.array_equal(r.masks[0], disc) for r in done)
    assert [a["points"].shape for a in painter.asked] == [(2, 1, 2), (1, 2, 2), (1, 3, 2), (1, 4, 2)]
    assert painter.asked[0].get("mask_input") is None
    assert [a["mask_input"].max() for a in painter.asked[1:]] == [1, 2, 3]
    for number, (before, after) in enumerate(itertools.pairwise(done), 1):
        made = [click for each in done[:number] if (click := each.clicks[1]) is not None]
        assert after.clicks[1] == next_click(before.masks[1], square, made)


def test_clicks_needed_counts_the_first_that_reaches_and_all_where_none_does() -> None:
    assert clicks_needed([0.5, 0.86, 0.8, 0.9], 0.85) == 2
    assert clicks_needed([0.5, 0.6], 0.85) == 2
    assert clicks_needed([0.9], 0.9) == 1
