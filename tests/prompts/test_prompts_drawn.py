"""Points and boxes of objects, against the pixels themselves."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glesam.common.seeds import generator
from glesam.errors import PromptError
from glesam.prompts.drawn import draw_points, tight_box


@given(st.integers(1, 12), st.integers(1, 12), st.integers(0, 2**30), st.integers(1, 20), st.floats(0.02, 1.0))
def test_points_lie_inside_without_repetition(height: int, width: int, seed: int, count: int, share: float) -> None:
    truth = np.random.default_rng(seed).random((height, width)) < share
    truth[height // 2, width // 2] = True
    points = draw_points(truth, count, np.random.default_rng(seed))
    assert points.shape == (count, 2)
    assert points.dtype == np.float32
    assert all(truth[int(y), int(x)] for x, y in points)
    distinct = min(count, int(truth.sum()))
    assert len({tuple(p) for p in points[:distinct].tolist()}) == distinct
    assert (points[distinct:] == points[distinct - 1]).all()


def test_points_are_uniform_over_the_object() -> None:
    truth = np.zeros((4, 6), bool)
    truth[1, 2:5] = truth[3, 0] = True
    drawn = [draw_points(truth, 2, generator("t", i)) for i in range(4000)]
    for place in (0, 1):
        _, counts = np.unique([tuple(d[place]) for d in drawn], axis=0, return_counts=True)
        assert len(counts) == 4
        # Each of 4 pixels is expected 1000 times; 5 standard deviations of the binomial law are 137.
        assert np.abs(counts - 1000).max() < 137


def test_boxes_end_with_the_far_edges_of_pixels() -> None:
    truth = np.zeros((10, 12), bool)
    truth[3:6, 4:9] = True
    np.testing.assert_array_equal(tight_box(truth), [4, 3, 9, 6])
    np.testing.assert_array_equal(tight_box(np.ones((10, 12), bool)), [0, 0, 12, 10])


def test_an_object_without_a_pixel_is_refused() -> None:
    with pytest.raises(PromptError, match="at least one pixel"):
        draw_points(np.zeros((3, 3), bool), 1, np.random.default_rng(0))
    with pytest.raises(PromptError, match="at least one pixel"):
        tight_box(np.zeros((3, 3), bool))
