"""The depth proxy: its range, its order, and its edges."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from glesam.degrade.draws import Draws
from glesam.degrade.optics.depth_proxy import depth_proxy


@pytest.mark.parametrize("seed", range(3))
def test_covers_zero_to_one_and_rises_to_the_top(seed: int) -> None:
    depth = depth_proxy(skimage.data.cat(), Draws(seed))
    assert depth.shape == (300, 451)
    assert depth.min() == 0
    assert depth.max() == 1
    assert depth[:60].mean() > depth[-60:].mean() + 0.2


def test_pale_things_are_farther_than_deep_coloured_ones() -> None:
    image = np.full((90, 120, 3), (200, 30, 30), dtype=np.uint8)
    image[:, 60:] = (210, 215, 220)
    depth = np.mean([depth_proxy(image, Draws(seed)) for seed in range(8)], axis=0)
    assert depth[:, 75:].mean() > depth[:, :45].mean() + 0.2


def test_edges_lie_where_the_image_has_them() -> None:
    image = np.full((90, 120, 3), (120, 20, 20), dtype=np.uint8)
    image[:, 60:] = (230, 235, 240)
    steps = np.abs(np.diff(depth_proxy(image, Draws(0)), axis=1)).mean(axis=0)
    assert steps.argmax() == 59
    assert steps[59] > 5 * np.median(steps)


def test_flat_images_fall_back_to_the_plane() -> None:
    depth = depth_proxy(np.full((40, 60, 3), 128, dtype=np.uint8), Draws(0))
    assert np.all(np.diff(depth.mean(axis=1)) < 0)
