"""Clouds and particles: their statistics."""

from __future__ import annotations

import numpy as np
import pytest

from glesam.degrade.optics.textures import clouds, count_for, particles


@pytest.mark.parametrize("shape", [(8, 8), (8, 200), (120, 90), (300, 1)])
def test_clouds_have_mean_zero_and_deviation_one(shape: tuple[int, int]) -> None:
    texture = clouds(*shape, 40.0, np.random.default_rng(0))
    assert texture.shape == shape
    assert texture.mean() == pytest.approx(0.0, abs=1e-5)
    assert texture.std() == pytest.approx(1.0, abs=1e-4)


def test_clouds_are_smooth_over_their_finest_cell() -> None:
    texture = clouds(200, 200, 80.0, np.random.default_rng(0))
    neighbours = np.corrcoef(texture[:, :-1].ravel(), texture[:, 1:].ravel())[0, 1]
    far = np.corrcoef(texture[:, :-160].ravel(), texture[:, 160:].ravel())[0, 1]
    assert neighbours > 0.98
    assert abs(far) < 0.5


def test_particles_are_as_many_as_asked_and_cover_what_they_should() -> None:
    dot = np.ones((1, 1), dtype=np.float32)
    cover = particles(100, 100, 50, dot, np.random.default_rng(0))
    assert 45 <= np.count_nonzero(cover) <= 50
    seen = cover[cover > 0]
    assert seen.min() >= 0.4
    assert seen.max() <= 1.0
    assert particles(100, 100, 0, dot, np.random.default_rng(0)).max() == 0


def test_particles_are_spread_evenly() -> None:
    cover = particles(200, 200, 4000, np.ones((1, 1), dtype=np.float32), np.random.default_rng(0)) > 0
    quarters = cover.reshape(2, 100, 2, 100).sum(axis=(1, 3))
    assert np.abs(quarters / quarters.mean() - 1).max() < 0.1


def test_count_does_not_depend_on_the_resolution() -> None:
    assert count_for(300, 450, 0.5) == count_for(600, 900, 0.5) == round(0.5 * 100 * 1.5)
