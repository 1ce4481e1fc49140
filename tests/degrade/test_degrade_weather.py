"""Weather on images where its law can be read off."""

from __future__ import annotations

import math

import numpy as np
import pytest
import skimage.data

from glesam.degrade.draws import Draws
from glesam.degrade.kinds.weather import fog, rain, snow


def flat(colour: tuple[int, int, int], height: int = 200, width: int = 260) -> np.ndarray:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def test_fog_follows_koschmieder_with_the_recorded_airlight() -> None:
    draws = Draws(3)
    scene = skimage.data.coffee()[::4, ::4]
    # A black and a white image in the same fog give transmission and airlight of each pixel.
    black, white = (fog(np.full_like(scene, v), Draws(3), density=0.9) / 255.0 for v in (0, 255))
    transmission = white - black
    seen = fog(scene, draws, density=0.9) / 255.0
    assert seen == pytest.approx(scene / 255.0 * transmission + black, abs=0.007)
    airlight = float(draws.record["airlight"]) * np.array([0.985, 1.0, 1.015])
    assert black / (1 - transmission) == pytest.approx(np.broadcast_to(airlight, black.shape), abs=0.02)


def test_fog_has_the_mean_optical_depth_it_says() -> None:
    black, white = (fog(flat((v, v, v)), Draws(5), density=0.9) / 255.0 for v in (0, 255))
    depth = -np.log(white - black)
    assert depth.mean() == pytest.approx(0.9, rel=0.1)


def test_fog_thickens_towards_the_top_on_average() -> None:
    rows = [
        -np.log((255.0 - fog(flat((0, 0, 0), 50, 65), Draws(s), density=0.9)) / 255.0).mean(axis=(1, 2))
        for s in range(40)
    ]
    mean = np.mean(rows, axis=0)
    assert mean[:15].mean() > 1.2 * mean[-15:].mean()


@pytest.mark.parametrize("seed", range(4))
def test_rain_falls_at_the_recorded_slant(seed: int) -> None:
    draws = Draws(seed)
    # Large, so that streaks are wider than a pixel and their edges show their direction.
    image = flat((40, 40, 40), 800, 800)
    seen = rain(image, draws, darkening=1.0, mist=0.0, drops=0.5, length=0.1)[..., 1].astype(float)
    gradient_y, gradient_x = np.gradient(seen)
    along = 0.5 * math.atan2(2 * (gradient_x * gradient_y).sum(), (gradient_x**2 - gradient_y**2).sum()) + math.pi / 2
    expected = math.pi / 2 + float(draws.record["slant"])
    assert math.sin(along - expected) == pytest.approx(0.0, abs=0.12)


def test_rain_dulls_the_scene_between_its_streaks() -> None:
    seen = rain(flat((200, 100, 50)), Draws(0), darkening=0.8, mist=0.2, drops=0.3, length=0.05)
    grey = np.array([0.58, 0.61, 0.64]) * 255
    assert np.median(seen, axis=(0, 1)) == pytest.approx(np.array([200, 100, 50]) * 0.8 * 0.8 + 0.2 * grey, abs=1.0)


@pytest.mark.parametrize(("drops", "length"), [(0.0, 0.05), (2.0, 0.05)])
def test_rain_covers_more_with_more_drops(drops: float, length: float) -> None:
    seen = rain(flat((40, 40, 40)), Draws(0), darkening=1.0, mist=0.0, drops=drops, length=length)
    covered = (seen[..., 0] > 45).mean()
    assert (covered == 0) if drops == 0 else (0.1 < covered < 0.6)


def test_snow_is_light_on_dark_and_nothing_on_white() -> None:
    dark = snow(flat((30, 30, 30)), Draws(0), veil_strength=0.0, flakes=1.6, size=0.006)
    assert dark.min() >= 30
    assert 0.01 < (dark[..., 0] > 90).mean() < 0.3
    white = snow(flat((237, 242, 250)), Draws(0), veil_strength=0.4, flakes=1.6, size=0.006)
    assert np.abs(white.astype(int) - (237, 242, 250)).max() <= 1


def test_snow_flakes_do_not_depend_on_the_resolution() -> None:
    covered = [
        (snow(flat((0, 0, 0), side, side), Draws(1), veil_strength=0.0, flakes=1.6, size=0.01)[..., 0] > 60).mean()
        for side in (200, 400)
    ]
    assert covered[0] == pytest.approx(covered[1], rel=0.25)
