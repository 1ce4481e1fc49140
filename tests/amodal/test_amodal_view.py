"""Views of objects: where they lie, and that a map comes back to where it was cut out."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glesam.amodal.view import look_at


def _image(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def test_a_view_shows_the_square_around_the_box() -> None:
    image, mask = _image(60, 80), np.zeros((60, 80), bool)
    mask[20:36, 30:46] = True
    view = look_at(image, mask, 32, reach=2.0)
    assert (view.columns.image, view.rows.image) == (slice(22, 54), slice(12, 44))
    np.testing.assert_array_equal(view.pixels, image[12:44, 22:54])
    # 16 of the view's 32 pixels, so 4 of its 8 cells.
    expected = np.zeros((8, 8), np.float32)
    expected[2:6, 2:6] = 1
    np.testing.assert_array_equal(view.visible, expected)
    assert (view.inside == 1).all()


def test_outside_the_image_is_grey_and_not_inside() -> None:
    image, mask = _image(16, 16), np.ones((16, 16), bool)
    view = look_at(image, mask, 32, reach=2.0)
    assert view.rows == view.columns == (slice(0, 16), slice(8, 24))
    np.testing.assert_array_equal(view.pixels[8:24, 8:24], image)
    assert (view.pixels[:8] == 127).all()
    assert view.inside.sum() == 16
    assert (view.inside[2:6, 2:6] == 1).all()


def test_shares_are_means_over_cells() -> None:
    image, mask = _image(64, 64), np.zeros((64, 64), bool)
    mask[8:56, 8:56] = True
    view = look_at(image, mask, 32, reach=4 / 3)  # two pixels of the image for one of the view: cells of 8
    other = np.random.default_rng(1).random((64, 64)) > 0.5
    expected = other.reshape(8, 8, 8, 8).mean(axis=(1, 3))
    np.testing.assert_allclose(view.shares(other), expected, atol=1 / 255)


@pytest.mark.parametrize("reach", [1.0, 2.0, 3.0])
def test_a_map_comes_back_to_its_place(reach: float) -> None:
    image, mask = _image(90, 120), np.zeros((90, 120), bool)
    mask[5:45, 60:118] = True  # the view leaves the image above and to the right
    view = look_at(image, mask, 128, reach)
    found = view.above(view.visible - 0.5, (90, 120))
    assert np.count_nonzero(found & mask) / np.count_nonzero(found | mask) > 0.95
    everywhere = view.above(np.ones((32, 32), np.float32), (90, 120))
    ys, xs = np.nonzero(everywhere)
    middle, half = ((60 + 118) / 2, (5 + 45) / 2), reach * 58 / 2
    for values, centre, most in ((xs, middle[0], 120), (ys, middle[1], 90)):
        assert values.min() == pytest.approx(max(0, centre - half), abs=1)
        assert values.max() + 1 == pytest.approx(min(most, centre + half), abs=1)


def test_maps_are_bilinear_between_cells() -> None:
    image, mask = _image(64, 64), np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    view = look_at(image, mask, 32, reach=2.0)  # the whole image: a cell is 8 pixels
    values = np.random.default_rng(2).standard_normal((8, 8)).astype(np.float32)
    expected = cv2.resize(values, (64, 64), interpolation=cv2.INTER_LINEAR)
    clear = np.abs(expected) > 1e-5
    np.testing.assert_array_equal(view.above(values, (64, 64))[clear], (expected > 0)[clear])


@given(
    st.integers(1, 40),
    st.integers(1, 40),
    st.sampled_from((32, 64)),
    st.floats(1, 3),
    st.integers(0, 2**32 - 1),
)
def test_any_mask_of_any_image_is_looked_at(height: int, width: int, side: int, reach: float, seed: int) -> None:
    rng = np.random.default_rng(seed)
    mask = rng.random((height, width)) > 0.7
    mask[rng.integers(height), rng.integers(width)] = True
    view = look_at(_image(height, width), mask, side, reach)
    assert view.pixels.shape == (side, side, 3)
    assert view.visible.sum() > 0
    assert (view.visible <= view.inside + 1e-6).all()
    everywhere = view.above(np.ones((side // 4, side // 4), np.float32), mask.shape)
    assert everywhere[mask].all()
