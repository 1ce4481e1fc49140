"""Resizing: sizes, interpolations, and how they are drawn."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose

from glesam.degrade.draws import Draws
from glesam.degrade.lqseg.config import ResizeConfig
from glesam.degrade.lqseg.resize import MODES, draw_resize, resize, scaled_size


@given(st.integers(1, 5000), st.integers(1, 5000), st.floats(0.15, 1.5), st.sampled_from([1, 2, 3, 4]))
def test_sizes_are_cut_as_published_and_never_empty(height: int, width: int, factor: float, divisor: int) -> None:
    expected = (max(1, int(height / divisor * factor)), max(1, int(width / divisor * factor)))
    assert scaled_size(height, width, factor, divisor) == expected


def test_area_is_the_mean_of_blocks() -> None:
    image = np.random.default_rng(0).random((12, 20, 3), dtype=np.float32)
    expected = image.reshape(3, 4, 5, 4, 3).mean(axis=(1, 3))
    assert_allclose(resize(image, 3, 5, "area"), expected, atol=1e-6)


def test_linear_is_bilinear_at_pixel_centres() -> None:
    image = np.random.default_rng(0).random((5, 4, 3), dtype=np.float32)
    expected = np.empty((10, 8, 3))
    for row in range(10):
        for column in range(8):
            y = np.clip((row + 0.5) / 2 - 0.5, 0, 4)
            x = np.clip((column + 0.5) / 2 - 0.5, 0, 3)
            top, left = min(int(y), 3), min(int(x), 2)
            v, u = y - top, x - left
            upper = (1 - u) * image[top, left] + u * image[top, left + 1]
            lower = (1 - u) * image[top + 1, left] + u * image[top + 1, left + 1]
            expected[row, column] = (1 - v) * upper + v * lower
    assert_allclose(resize(image, 10, 8, "linear"), expected, atol=1e-5)


def test_cubic_has_the_kernel_of_a_075() -> None:
    # Halfway between pixels the weights of a = -0.75 are (-3, 19, 19, -3) / 32; halving takes 2i - 1 to 2i + 2.
    image = np.zeros((16, 16, 3), dtype=np.float32)
    image[:, 8] = 1.0
    halved = resize(image, 8, 8, "cubic")
    assert_allclose(halved[4, :, 0] * 32, [0, 0, 0, -3, 19, 0, 0, 0], atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
def test_a_constant_stays(mode: str) -> None:
    image = np.full((9, 7, 3), 0.3, dtype=np.float32)
    for size in ((1, 1), (30, 4), (8, 8)):
        result = resize(image, *size, mode)
        assert result.shape == (*size, 3)
        assert_allclose(result, 0.3, atol=1e-5)
    assert resize(image, 9, 7, mode) is image


def test_draws_follow_weights_and_ranges() -> None:
    config, n = ResizeConfig((0.2, 0.7, 0.1), (0.15, 1.5)), 3000
    drawn = []
    for seed in range(n):
        draws = Draws(seed)
        drawn.append((draw_resize(draws, "r", config), draws.record["r.direction"]))
    ways = Counter(way for _, way in drawn)
    for way, weight in zip(("up", "down", "keep"), config.weights, strict=True):
        assert abs(ways[way] / n - weight) < 5 * np.sqrt(weight * (1 - weight) / n)
    assert all(1 <= r.scale <= 1.5 for r, way in drawn if way == "up")
    assert all(0.15 <= r.scale <= 1 for r, way in drawn if way == "down")
    assert all(r.scale == 1 for r, way in drawn if way == "keep")
    assert min(r.scale for r, _ in drawn) < 0.17
    assert max(r.scale for r, _ in drawn) > 1.48
    modes = Counter(r.mode for r, way in drawn if way == "keep")
    assert set(modes) == set(MODES)
