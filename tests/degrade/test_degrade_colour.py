"""Colour and tone against plain arithmetic and the standard library's colour spaces."""

from __future__ import annotations

import colorsys

import numpy as np
import pytest

from glesam.degrade.draws import Draws
from glesam.degrade.kinds.colour import brightness, colour_jitter, contrast

RAMP = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2).repeat(8, axis=0)


@pytest.mark.parametrize("factor", [0.9, 0.55, 0.4])
def test_brightness_multiplies_exactly(factor: float) -> None:
    assert brightness(RAMP, Draws(0), factor=factor)[0, :, 0].tolist() == [round(v * factor) for v in range(256)]


@pytest.mark.parametrize("factor", [1.2, 1.65, 2.6])
def test_contrast_stretches_about_128(factor: float) -> None:
    expected = [min(255, max(0, round((v - 128) * factor + 128))) for v in range(256)]
    assert contrast(RAMP, Draws(0), factor=factor)[0, :, 0].tolist() == expected


@pytest.mark.parametrize("seed", range(5))
def test_jitter_is_what_the_record_says(seed: int) -> None:
    colours = [(200, 40, 90), (30, 160, 120), (128, 128, 128), (90, 110, 30)]
    image = np.array(colours, dtype=np.uint8).reshape(2, 2, 3).repeat(8, axis=0).repeat(8, axis=1)
    draws = Draws(seed)
    jittered = colour_jitter(image, draws, brightness=0.35, contrast=0.18, saturation=0.4, hue=0.16)

    def shift(name: str) -> float:
        return float(draws.record[name]) * (1 if draws.record[f"{name}_up"] else -1)

    assert 0.6 * 0.35 <= abs(shift("brightness_shift")) <= 0.35
    brightened = np.array(colours) / 255 * (1 + shift("brightness_shift"))
    centre = brightened.mean()
    for number, colour in enumerate(brightened):
        stretched = np.clip((colour - centre) * (1 + shift("contrast_shift")) + centre, 0, 1)
        hue, saturation, value = colorsys.rgb_to_hsv(*stretched)
        saturation = min(1.0, saturation * (1 + shift("saturation_shift")))
        expected = np.array(colorsys.hsv_to_rgb((hue + shift("hue_shift")) % 1.0, saturation, value)) * 255
        assert jittered[8 * (number // 2), 8 * (number % 2)] == pytest.approx(expected, abs=1.0)
