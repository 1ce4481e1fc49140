"""Underwater: what the water does to flat and to black scenes."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from glesam.degrade.draws import Draws
from glesam.degrade.kinds.underwater import underwater
from glesam.degrade.optics.photometry import srgb_to_linear
from glesam.degrade.real import KINDS, degrade

CLEAR = {"distance": 0.0, "depth": 0.0, "turbidity": 0.0, "blur": 0.0, "snow": 0.0}


def light(image: np.ndarray) -> np.ndarray:
    return srgb_to_linear(image / 255.0).mean(axis=(0, 1))


def left(draws: Draws) -> np.ndarray:
    return np.array([float(draws.record[f"left_{name}"]) for name in ("red", "green", "blue")])


@pytest.mark.parametrize("seed", range(6))
def test_coefficients_lie_in_the_published_ranges(seed: int) -> None:
    draws = Draws(seed)
    underwater(skimage.data.cat(), draws, **CLEAR)
    red, green, blue = left(draws)
    assert 0.80 <= red <= 0.85
    assert 0.92 <= green <= 0.97
    assert 0.90 <= blue <= 0.99
    assert (blue < green) == (draws.record["water"] == "coast") or blue >= 0.95


@pytest.mark.parametrize("seed", range(4))
def test_sunlight_loses_its_colours_by_beers_law(seed: int) -> None:
    grey = np.full((60, 60, 3), 255, dtype=np.uint8)
    draws = Draws(seed)
    seen = light(underwater(grey, draws, **{**CLEAR, "depth": 5.0}))
    sunlight = left(draws) ** 5
    # The camera takes back a quarter of the cast (in logarithms) and lifts all channels alike.
    assert np.diff(np.log(seen)) == pytest.approx(0.75 * np.diff(np.log(sunlight)), abs=0.03)


@pytest.mark.parametrize("seed", range(4))
def test_endless_water_has_the_colour_of_scattering_over_loss(seed: int) -> None:
    black = np.zeros((60, 60, 3), dtype=np.uint8)
    draws = Draws(seed)
    seen = light(underwater(black, draws, **{**CLEAR, "distance": 500.0, "turbidity": 0.1}))
    veil = 0.1 / (-np.log(left(draws)) + 0.1)
    assert np.diff(np.log(seen)) == pytest.approx(0.75 * np.diff(np.log(veil)), abs=0.03)


def test_red_fades_first_with_severity() -> None:
    shares = []
    for severity in (1, 3, 5):
        seen = light(degrade(skimage.data.cat(), "underwater", severity, 0))
        shares.append(seen[0] / seen.sum())
    assert shares == sorted(shares, reverse=True)
    assert shares[-1] < 0.15


def test_floating_particles_are_added_by_density() -> None:
    black = np.zeros((200, 200, 3), dtype=np.uint8)
    settings = {**CLEAR, "depth": 1.0}
    none, some = (underwater(black, Draws(0), **{**settings, "snow": snow}) for snow in (0.0, 0.5))
    assert none.max() == 0
    assert 0.001 < (some[..., 1] > 60).mean() < 0.05


def test_far_things_lose_contrast() -> None:
    scene = np.random.default_rng(0).integers(0, 256, (200, 200, 3), dtype=np.uint8)
    seen = underwater(scene, Draws(1), **{**KINDS["underwater"].at(4), "snow": 0.0, "blur": 0.0}).astype(float)
    assert seen[:50].std(axis=(0, 1)).mean() < 0.8 * seen[-50:].std(axis=(0, 1)).mean()
