"""Warping against SciPy's interpolation and NumPy's mirrored padding."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.ndimage import map_coordinates

from glesam.degrade.optics.warping import grid, reflect, warp_image, warp_mask


def maps(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    columns, rows = grid(height, width)
    return (
        reflect(columns + rng.normal(0, 6, (height, width)).astype(np.float32), width),
        reflect(rows + rng.normal(0, 6, (height, width)).astype(np.float32), height),
    )


def test_grid_moves_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (9, 13, 3), dtype=np.uint8)
    assert np.array_equal(warp_image(image, *grid(9, 13)), image)
    assert np.array_equal(warp_mask(image[..., 0], *grid(9, 13)), image[..., 0])


@given(size=st.integers(8, 40), offset=st.integers(-200, 200))
def test_reflect_is_numpys_mirrored_padding(size: int, offset: int) -> None:
    padded = np.pad(np.arange(size), 300, mode="reflect")
    assert reflect(np.array([float(offset)], np.float32), size)[0] == padded[300 + offset]


def test_images_are_sampled_as_scipy_does() -> None:
    image = np.random.default_rng(0).integers(0, 256, (40, 31, 3), dtype=np.uint8)
    map_x, map_y = maps(40, 31)
    expected = np.dstack([map_coordinates(image[..., c].astype(float), [map_y, map_x], order=1) for c in range(3)])
    # OpenCV rounds positions to 1/32 pixel: at most 1/64 in x and y each, times 255 levels.
    assert np.abs(warp_image(image, map_x, map_y) - expected).max() <= 2 * 255 / 64 + 1


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int16, np.int32, np.int64, np.uint64])
def test_masks_are_sampled_at_the_nearest_pixel(dtype: type) -> None:
    mask = np.random.default_rng(0).integers(0, 2**40, (40, 31)).astype(dtype)
    map_x, map_y = maps(40, 31)
    indices = np.arange(40 * 31, dtype=float).reshape(40, 31)
    nearest = map_coordinates(indices, [map_y.astype(float), map_x.astype(float)], order=0).astype(int)
    warped = warp_mask(mask, map_x, map_y)
    assert warped.dtype == mask.dtype
    # At an exact half either neighbour is as near.
    assert (warped != mask.reshape(-1)[nearest]).mean() < 0.002
