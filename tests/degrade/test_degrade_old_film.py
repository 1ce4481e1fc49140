"""Old film: grain, fading, scratches and dust, each by itself."""

from __future__ import annotations

import numpy as np
import pytest

from glesam.degrade.draws import Draws
from glesam.degrade.kinds.old_film import old_film

BARE = {"fade": 0.0, "grain": 0.0, "scratches": 0.0, "dust": 0.0}


def flat(level: int, height: int = 200, width: int = 200) -> np.ndarray:
    return np.full((height, width, 3), level, dtype=np.uint8)


def grain_of(level: int, grain: float) -> np.ndarray:
    """What the grain adds: the difference of the same film with it and without it, in 0..1."""
    with_grain, without = (old_film(flat(level), Draws(3), **{**BARE, "grain": g}) for g in (grain, 0.0))
    return (with_grain.astype(float) - without)[..., 1] / 255


@pytest.mark.parametrize("level", [26, 77, 128, 204])
def test_grain_has_the_deviation_of_the_boolean_model(level: int) -> None:
    share = level / 255
    assert grain_of(level, 0.1).std() == pytest.approx(0.1 * np.sqrt(share * (1 - share)), rel=0.06)


def test_grain_comes_in_clumps_and_is_grey() -> None:
    grain = grain_of(128, 0.1)
    # Noise blurred by a Gaussian of 0.6 px: exp(-1 / (4 0.36)) between neighbours.
    assert np.corrcoef(grain[:, :-1].ravel(), grain[:, 1:].ravel())[0, 1] == pytest.approx(np.exp(-1 / 1.44), abs=0.06)
    film = old_film(flat(128), Draws(3), **{**BARE, "grain": 0.1})
    assert np.array_equal(film[..., 0], film[..., 2])


def test_fading_takes_colours_lifts_blacks_and_darkens_corners() -> None:
    red = np.full((200, 200, 3), (200, 20, 20), dtype=np.uint8)
    old = np.median(old_film(red, Draws(0), **{**BARE, "fade": 0.9})[80:120, 80:120], axis=(0, 1))
    assert old.max() - old.min() < 40
    assert old[0] > old[1] > old[2]
    black = old_film(flat(0), Draws(0), **{**BARE, "fade": 0.5})
    assert np.median(black[80:120, 80:120]) == pytest.approx(0.12 * 0.5 * 255, abs=1)
    white = np.median(old_film(flat(255), Draws(0), **{**BARE, "fade": 0.5}).reshape(10, 20, 10, 20, 3), axis=(1, 3, 4))
    assert white[0, 0] < 0.9 * white[5, 5]


def test_scratches_run_down_the_film() -> None:
    film = old_film(flat(128, 300, 300), Draws(1), **{**BARE, "scratches": 6.0}).astype(float)[..., 0] - 128
    down, across = np.abs(np.diff(film, axis=0)).mean(), np.abs(np.diff(film, axis=1)).mean()
    assert across > 5 * down
    assert np.abs(film).max() > 20


@pytest.mark.parametrize("level", [0, 255])
def test_dust_is_light_on_black_and_dark_on_white(level: int) -> None:
    settings = {**BARE, "dust": 0.7}
    dusty = np.abs(old_film(flat(level, 300, 300), Draws(1), **settings).astype(float) - level).max(axis=2)
    clean = np.abs(old_film(flat(level, 300, 300), Draws(1), **BARE).astype(float) - level).max(axis=2)
    specks = (dusty > 80).mean() - (clean > 80).mean()
    assert 0.0005 < specks < 0.05
