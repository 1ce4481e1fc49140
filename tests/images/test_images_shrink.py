"""Smaller copies: sizes by the formula, pixels by block means, and bit for bit what OpenCV gives."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from glesam.images.shrink import resize_ids, shrink, shrunk_size


@pytest.mark.parametrize(
    ("size", "longest", "expected"),
    [
        ((2000, 3000), 1024, (683, 1024)),
        ((3, 5000), 448, (1, 448)),  # 0.27 of a pixel is one
        ((101, 100), 100, (100, 99)),
        ((448, 10), 448, (448, 10)),
    ],
)
def test_sizes(size: tuple[int, int], longest: int, expected: tuple[int, int]) -> None:
    assert shrunk_size(size, longest) == expected
    assert shrink(np.zeros((*size, 3), np.uint8), longest).shape == (*expected, 3)


def test_pixels_are_means_of_blocks_and_ids_stay_ids() -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (40, 60, 3), np.uint8)
    small = shrink(image, 15)
    assert np.abs(small - image.reshape(10, 4, 15, 4, 3).mean(axis=(1, 3))).max() <= 0.5
    for size in ((40, 61), (233, 97)):
        image, ids = rng.integers(0, 256, (*size, 3), np.uint8), rng.integers(0, 70_000, size).astype(np.int32)
        scale = 31 / max(size)
        to = (round(size[1] * scale), round(size[0] * scale))
        small = shrink(image, 31)
        assert np.array_equal(small, cv2.resize(image, to, interpolation=cv2.INTER_AREA))
        smaller = resize_ids(ids, small.shape[:2])
        rows, columns = ([int((i + 0.5) * size[k] / n) for i in range(n)] for k, n in enumerate(small.shape[:2]))
        assert np.array_equal(smaller, ids[np.ix_(rows, columns)])


@pytest.mark.parametrize("side", [512, 352, 125])
def test_a_mask_stays_where_its_image_is(side: int) -> None:
    yy, xx = np.mgrid[:640, :640]
    inside = (yy - 301) ** 2 + (xx - 333) ** 2 < 200**2
    image = np.repeat(inside[..., None] * np.uint8(255), 3, axis=2)
    small, ids = shrink(image, side)[..., 0].astype(float), resize_ids(inside.astype(np.int32), (side, side))
    yy, xx = np.mgrid[:side, :side]
    for axis in (yy, xx):
        assert abs((axis * small).sum() / small.sum() - axis[ids > 0].mean()) < 0.05


def test_what_fits_is_not_copied() -> None:
    image, ids = np.zeros((10, 12, 3), np.uint8), np.zeros((10, 12), np.int32)
    assert shrink(image, 12) is image
    assert resize_ids(ids, (10, 12)) is ids
