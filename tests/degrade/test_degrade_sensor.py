"""Noise measured on flat images."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import normaltest
from skimage.color import rgb2ycbcr

from glesam.degrade.draws import Draws
from glesam.degrade.kinds.sensor import gaussian_noise, impulse_noise, iso_noise


def flat(level: int, side: int = 256) -> np.ndarray:
    return np.full((side, side, 3), level, dtype=np.uint8)


@pytest.mark.parametrize("variance", [60.0, 255.0, 520.0])
def test_gaussian_noise_has_the_variance_it_says(variance: float) -> None:
    noise = gaussian_noise(flat(128), Draws(0), variance=variance).astype(float) - 128
    # Rounding to whole levels adds 1/12.
    assert noise.var() == pytest.approx(variance + 1 / 12, rel=0.02)
    assert noise.mean() == pytest.approx(0.0, abs=0.15)
    assert normaltest(noise[::8, ::8].ravel()).pvalue > 0.001


def test_gaussian_noise_is_white_and_alike_in_no_two_channels() -> None:
    noise = gaussian_noise(flat(128), Draws(0), variance=255.0).astype(float) - 128
    assert abs(np.corrcoef(noise[:, :-1].ravel(), noise[:, 1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.02


@pytest.mark.parametrize("factor", [1.12, 1.45, 2.0])
def test_impulse_noise_multiplies_within_its_range(factor: float) -> None:
    ratio = impulse_noise(flat(100), Draws(0), factor=factor).astype(float) / 100
    assert ratio.min() == pytest.approx(factor - 0.05, abs=0.006)
    assert ratio.max() == pytest.approx(factor + 0.05, abs=0.006)
    assert ratio.mean() == pytest.approx(factor, abs=0.002)


def test_impulse_noise_leaves_black_black() -> None:
    assert impulse_noise(flat(0), Draws(0), factor=2.0).max() == 0


def test_iso_noise_grows_with_light_as_photon_noise() -> None:
    deviations = [
        rgb2ycbcr(iso_noise(flat(level), Draws(0), colour_shift=0.1, intensity=0.2))[..., 0].std()
        for level in (51, 102, 178)
    ]
    levels = np.array([51, 102, 178]) / 255 + 0.05
    assert np.array(deviations) / deviations[0] == pytest.approx(np.sqrt(levels / levels[0]), rel=0.04)


def test_iso_noise_is_blotchy_in_colour_and_fine_in_luma() -> None:
    planes = rgb2ycbcr(iso_noise(flat(128), Draws(0), colour_shift=0.3, intensity=0.3))
    correlation = [np.corrcoef(planes[:, :-1, c].ravel(), planes[:, 1:, c].ravel())[0, 1] for c in range(3)]
    assert abs(correlation[0]) < 0.02
    # White noise blurred by a Gaussian of 1 px: exp(-1/4) between neighbours.
    assert correlation[1] == pytest.approx(np.exp(-0.25), abs=0.05)
    assert correlation[2] == pytest.approx(np.exp(-0.25), abs=0.05)


def test_colour_shift_acts_on_colour_alone() -> None:
    mild, strong = (
        rgb2ycbcr(iso_noise(flat(128), Draws(0), colour_shift=shift, intensity=0.2)).std(axis=(0, 1))
        for shift in (0.2, 0.4)
    )
    assert strong[0] == pytest.approx(mild[0], rel=0.03)
    assert strong[1:] == pytest.approx(2 * mild[1:], rel=0.05)
