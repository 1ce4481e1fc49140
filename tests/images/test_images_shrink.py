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
        rows, columns = ((np.arange(n) * (size[k] / n)).astype(int) for k, n in enumerate(small.shape[:2]))
        assert np.array_equal(smaller, ids[rows][:, columns])


def test_what_fits_is_not_copied() -> None:
    image, ids = np.zeros((10, 12, 3), np.uint8), np.zeros((10, 12), np.int32)
    assert shrink(image, 12) is image
    assert resize_ids(ids, (10, 12)) is ids
