"""Low light: the noise in the raw domain obeys its law, and the development inverts the way to raw."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from glesam.degrade.draws import Draws
from glesam.degrade.kinds.low_light import add_sensor_noise, low_light, mosaic, read_variance
from glesam.degrade.real import KINDS


def generators() -> tuple[np.random.Generator, np.random.Generator]:
    return np.random.default_rng(1), np.random.default_rng(2)


def test_shot_noise_variance_is_proportional_to_the_mean() -> None:
    shot, means = 0.01, np.array([0.05, 0.1, 0.2, 0.4])
    samples = [add_sensor_noise(np.full((400, 400), m, np.float32), shot, 0.0, *generators()) for m in means]
    variances = np.array([sample.var() for sample in samples])
    slope, offset = np.polyfit([sample.mean() for sample in samples], variances, 1)
    assert slope == pytest.approx(shot, rel=0.02)
    # What is left at no light is the quantisation to 1/1023: a twelfth of a squared step.
    assert offset == pytest.approx(0.0, abs=5e-5)
    assert variances == pytest.approx(shot * means, rel=0.02)


def test_photons_are_counted_in_whole_numbers() -> None:
    counts = add_sensor_noise(np.full((64, 64), 0.05, np.float32), 0.01, 0.0, *generators()) / 0.01
    assert np.abs(counts - np.rint(counts)).max() < 0.06


def test_read_noise_does_not_depend_on_light_and_bands_follow_rows() -> None:
    dark = add_sensor_noise(np.zeros((600, 600), np.float32), 0.001, 1e-4, *generators())
    rows = dark.mean(axis=1)
    assert (dark - rows[:, None]).var() == pytest.approx(1e-4, rel=0.03)
    # Rows share 0.15 of the deviation; a row's mean of pixel noise adds 1/600 of its variance.
    assert rows.var() == pytest.approx(1e-4 * (0.15**2 + 1 / 600), rel=0.2)


def test_read_variance_lies_on_the_published_line() -> None:
    assert np.log(read_variance(0.001)) == pytest.approx(2.18 * np.log(0.001) + 1.20)


def test_mosaic_is_rggb() -> None:
    light = np.arange(4 * 6 * 3, dtype=np.float32).reshape(4, 6, 3)
    pattern = np.array([[0, 1], [1, 2]])
    expected = [[light[r, c, pattern[r % 2, c % 2]] for c in range(6)] for r in range(4)]
    assert np.array_equal(mosaic(light), expected)


def test_full_light_without_noise_is_the_image_again() -> None:
    rows, columns = np.mgrid[0:80, 0:100]
    image = np.dstack([60 + columns, 40 + rows, 200 - columns]).astype(np.uint8)
    developed = low_light(image, Draws(0), stops=0.0, lift=0.0, shot=1e-8)
    # Smooth, so that filling in the mosaic costs nothing; what is left is the raw data's 1,023 steps.
    assert np.abs(developed.astype(int) - image)[2:-2, 2:-2].max() <= 3


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_the_image_is_darker_by_the_stops_that_are_not_lifted(severity: int) -> None:
    parameters = KINDS["low_light"].at(severity)
    grey = np.full((200, 200, 3), 128, dtype=np.uint8)
    developed = low_light(grey, Draws(0), stops=parameters["stops"], lift=parameters["lift"], shot=1e-7)
    # Level 128 is linear 0.2158 (sRGB); the tone curve leaves mid-grey where it is.
    light = 0.2158 * 2.0 ** (parameters["lift"] - parameters["stops"])
    encoded = 1.055 * light ** (1 / 2.4) - 0.055
    assert developed.mean(axis=(0, 1)) == pytest.approx([255 * (3 * encoded**2 - 2 * encoded**3)] * 3, abs=2.5)


def test_noise_takes_over_as_light_goes() -> None:
    image = skimage.data.coffee()[100:200, 100:220]
    ratios = []
    for severity in (1, 3, 5):
        parameters = KINDS["low_light"].at(severity)
        first, second = (low_light(image, Draws(seed), **parameters).astype(float) for seed in (0, 1))
        ratios.append((first - second).std() / first.std())
    assert ratios == sorted(ratios)
