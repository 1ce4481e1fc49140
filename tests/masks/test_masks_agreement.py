"""Agreement of masks by their sets of pixels."""

from __future__ import annotations

import numpy as np
import pytest

from glesam.masks.agreement import mask_iou


@pytest.mark.parametrize("seed", range(4))
def test_iou_is_that_of_the_sets_of_pixels(seed: int) -> None:
    one, other = np.random.default_rng(seed).random((2, 9, 7)) < 0.1 * (seed + 1)
    sets = [set(map(tuple, np.argwhere(mask).tolist())) for mask in (one, other)]
    assert mask_iou(one, other) == pytest.approx(len(sets[0] & sets[1]) / len(sets[0] | sets[1]))


def test_two_empty_masks_have_none() -> None:
    nothing = np.zeros((2, 3), bool)
    assert mask_iou(nothing, nothing) == 0
    assert mask_iou(nothing, ~nothing) == 0
