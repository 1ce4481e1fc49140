"""Point-spread functions against brute-force coverage and against moments known from geometry."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy.ndimage import correlate

from glesam.degrade.optics.point_spread import disc, line, spread


def positions(kernel: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    reach = kernel.shape[0] // 2
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return columns, rows


@pytest.mark.parametrize("radius", [0.0, 0.3, 0.5, 1.0, 2.5, 7.0, 13.4])
def test_disc_sums_to_one_and_is_even(radius: float) -> None:
    kernel = disc(radius)
    assert kernel.sum() == pytest.approx(1.0, abs=1e-6)
    assert kernel.min() >= 0
    for turned in (kernel.T, kernel[::-1], kernel[:, ::-1]):
        assert np.array_equal(kernel, turned)


@pytest.mark.parametrize("radius", [2.5, 4.0, 7.3, 13.4])
def test_disc_is_the_area_of_a_disc_in_each_pixel(radius: float) -> None:
    kernel = disc(radius)
    reach, parts = kernel.shape[0] // 2, 32
    fine = (np.arange(kernel.shape[0] * parts) + 0.5) / parts - 0.5 - reach
    inside = np.hypot(fine[:, None], fine[None, :]) <= radius
    covered = inside.reshape(kernel.shape[0], parts, kernel.shape[0], parts).mean(axis=(1, 3))
    # One pixel's share of the disc is 1 / area; soft edges are within a fifth of a pixel of the true share.
    assert kernel == pytest.approx(covered / covered.sum(), abs=0.2 / covered.sum())


@pytest.mark.parametrize("radius", [3.0, 8.0, 20.0])
def test_disc_has_the_variance_of_a_disc(radius: float) -> None:
    kernel = disc(radius)
    columns, _ = positions(kernel)
    assert (kernel * columns**2).sum() == pytest.approx(radius**2 / 4, rel=0.06)


@pytest.mark.parametrize("angle", [0.0, 0.4, math.pi / 4, 1.3, math.pi / 2, 2.8])
@pytest.mark.parametrize("length", [9.0, 21.0, 50.0])
def test_line_has_the_moments_of_a_line(length: float, angle: float) -> None:
    kernel = line(length, angle)
    columns, rows = positions(kernel)
    along, across = (
        columns * math.cos(angle) + rows * math.sin(angle),
        rows * math.cos(angle) - columns * math.sin(angle),
    )
    assert kernel.sum() == pytest.approx(1.0, abs=1e-5)
    assert (kernel * along).sum() == pytest.approx(0.0, abs=1e-5)
    assert (kernel * along**2).sum() == pytest.approx(length**2 / 12, rel=0.08)
    assert (kernel * across**2).sum() < 0.3


def test_a_line_of_one_pixel_moves_nothing() -> None:
    image = np.random.default_rng(0).random((20, 20, 3), dtype=np.float32)
    assert spread(image, line(1.0, 0.7)) == pytest.approx(image, abs=1e-6)


def test_spread_is_scipys_correlation_mirrored_at_the_border() -> None:
    plane = np.random.default_rng(0).random((30, 41), dtype=np.float32)
    kernel = line(9.0, 0.5, 2.0)
    assert spread(plane, kernel) == pytest.approx(correlate(plane, kernel, mode="mirror"), abs=1e-5)
