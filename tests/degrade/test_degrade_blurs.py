"""Blurs of single bright points, whose images are known from geometry, and Pillow's resampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.data
from skimage.transform import resize

from glesam.degrade.draws import Draws
from glesam.degrade.kinds.blurs import motion_blur, resampling_blur, zoom_blur


def test_resampling_is_bilinear_without_a_low_pass() -> None:
    image = skimage.data.cat()
    small = (round(image.shape[0] / 4), round(image.shape[1] / 4))
    reduced = resize(image / 255.0, small, order=1, anti_aliasing=False, mode="edge")
    expected = resize(reduced, image.shape[:2], order=1, anti_aliasing=False, mode="edge") * 255
    difference = np.abs(resampling_blur(image, Draws(0), factor=4.0) - expected)
    assert difference.max() <= 2.0


def test_resampling_to_nothing_stops_at_one_pixel() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3), dtype=np.uint8)
    assert resampling_blur(image, Draws(0), factor=100.0).std(axis=(0, 1)) == pytest.approx([0, 0, 0])


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_motion_blur_draws_a_point_out_along_the_recorded_angle(seed: int) -> None:
    image = np.zeros((101, 101, 3), dtype=np.uint8)
    image[48:53, 48:53] = 255
    draws = Draws(seed)
    blurred = motion_blur(image, draws, length=41.0)[..., 0].astype(float)
    rows, columns = np.mgrid[-50:51, -50:51]
    weight = blurred / blurred.sum()
    covariance = np.array(
        [
            [(weight * columns**2).sum(), (weight * columns * rows).sum()],
            [(weight * columns * rows).sum(), (weight * rows**2).sum()],
        ]
    )
    values, vectors = np.linalg.eigh(covariance)
    angle = math.atan2(vectors[1, 1], vectors[0, 1])
    assert math.sin(angle - draws.record["angle"]) == pytest.approx(0.0, abs=0.03)  # type: ignore[operator]
    assert values[1] == pytest.approx(41**2 / 12 + 5**2 / 12, rel=0.08)
    assert blurred.sum() == pytest.approx(25 * 255, rel=0.1)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_zoom_blur_draws_a_point_out_along_its_radius(seed: int) -> None:
    image = np.zeros((201, 301, 3), dtype=np.uint8)
    image[99:102, 229:232] = 255
    draws = Draws(seed)
    blurred = zoom_blur(image, draws, zoom=1.33)[..., 0].astype(float)
    centre_x = (0.5 + float(draws.record["centre_x"])) * 300
    centre_y = (0.5 + float(draws.record["centre_y"])) * 200
    rows, columns = np.nonzero(blurred > 2)
    distances = np.hypot(columns - centre_x, rows - centre_y)
    start = math.hypot(230 - centre_x, 100 - centre_y)
    assert distances.min() == pytest.approx(start / math.sqrt(1.33), abs=3)
    assert distances.max() == pytest.approx(start * math.sqrt(1.33), abs=3)
    across = ((columns - centre_x) * (100 - centre_y) - (rows - centre_y) * (230 - centre_x)) / start
    assert np.abs(across).max() < 3.5


@pytest.mark.parametrize("blur", ["motion", "zoom", "resampling"])
def test_flat_images_stay_flat(blur: str) -> None:
    image = np.full((30, 40, 3), (10, 128, 250), dtype=np.uint8)
    blurred = {
        "motion": lambda: motion_blur(image, Draws(0), length=51.0),
        "zoom": lambda: zoom_blur(image, Draws(0), zoom=1.6),
        "resampling": lambda: resampling_blur(image, Draws(0), factor=9.0),
    }[blur]()
    assert np.array_equal(blurred, image)
