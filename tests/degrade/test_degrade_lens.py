"""Defocus and rolling shutter on scenes where geometry says what must come out."""

from __future__ import annotations

import math

import numpy as np
import pytest

from glesam.degrade.draws import Draws
from glesam.degrade.kinds.lens import defocus, rolling_motion
from glesam.degrade.optics.photometry import srgb_to_linear


def test_defocus_turns_a_point_into_a_disc_and_keeps_its_light() -> None:
    image = np.zeros((200, 200, 3), dtype=np.uint8)
    image[95:106, 95:106] = 255
    light = srgb_to_linear(defocus(image, Draws(0), radius=0.15) / 255.0)[..., 1]
    assert light.sum() == pytest.approx(121, rel=0.03)
    rows, columns = np.mgrid[-100:100, -100:100]
    distance = np.hypot(rows, columns)
    area = math.pi * 30**2
    inside = light[distance < 23]
    assert inside == pytest.approx(121 / area, rel=0.1)
    assert light[distance > 38].max() == 0


def test_defocus_mixes_light_and_not_levels() -> None:
    image = np.zeros((100, 100, 3), dtype=np.uint8)
    image[:, 1::2] = 255
    # Half the light of white is level 188; the mean of the levels would be 128.
    assert defocus(image, Draws(0), radius=0.1)[50, 50, 0] == pytest.approx(188, abs=3)


def test_defocus_of_nothing_changes_nothing() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    assert np.array_equal(defocus(image, Draws(0), radius=0.01), image)


def bar(width: int = 200) -> np.ndarray:
    image = np.zeros((200, width, 3), dtype=np.uint8)
    image[:, width // 2 - 10 : width // 2 + 10] = 255
    return image


def bar_centres(image: np.ndarray) -> np.ndarray:
    weights = image[..., 0].astype(float)
    return (weights * np.arange(image.shape[1])).sum(axis=1) / weights.sum(axis=1)


@pytest.mark.parametrize("seed", range(4))
def test_a_steady_swing_slants_an_upright_bar(seed: int) -> None:
    draws = Draws(seed)
    moved = rolling_motion(bar(), draws, skew=0.2, wobble=0.0, exposure=0.05)
    slope = np.polyfit(np.arange(200), bar_centres(moved.image), 1)[0]
    # Content seen at x came from x + way, so the bar leans the other way.
    assert slope == pytest.approx(0.2 if draws.record["leftwards"] else -0.2, abs=0.005)


def test_vibration_has_the_recorded_frequency_and_phase() -> None:
    draws = Draws(2)
    moved = rolling_motion(bar(), draws, skew=0.0, wobble=0.03, exposure=0.0)
    frequency, phase = float(draws.record["frequency"]), float(draws.record["phase"])
    expected = 99.5 - 0.03 * 200 * np.sin(2 * math.pi * frequency * np.arange(200) / 200 + phase)
    assert bar_centres(moved.image) == pytest.approx(expected, abs=0.2)


def test_exposure_blurs_by_the_way_made_in_it() -> None:
    rows = [rolling_motion(bar(), Draws(1), skew=0.2, wobble=0.0, exposure=e).image[100, :, 0] for e in (0.0, 0.2)]
    sharp, blurred = (np.count_nonzero((row > 12) & (row < 243)) for row in rows)
    # Two edges, each drawn out over 0.2 x 0.2 x 200 = 8 pixels (its outermost twentieths are not counted).
    assert sharp <= 2
    assert blurred == pytest.approx(16, abs=3)


def test_mask_follows_the_middle_of_the_exposure() -> None:
    image = bar(260)
    moved = rolling_motion(image, Draws(1), skew=0.15, wobble=0.005, exposure=0.05)
    mask = image[np.rint(moved.map_y).astype(int), np.rint(moved.map_x).astype(int), 0] > 0
    assert bar_centres(mask[..., None] * 255) == pytest.approx(bar_centres(moved.image), abs=0.6)
