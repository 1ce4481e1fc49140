"""Haze against Koschmieder's law, from the recorded airlight."""

from __future__ import annotations

import numpy as np
import pytest
import skimage.data

from glesam.degrade.draws import Draws
from glesam.degrade.optics.depth_proxy import depth_proxy
from glesam.degrade.real import degrade


@pytest.mark.parametrize("severity", [1, 3, 5])
def test_haze_is_koschmieders_law_with_what_is_recorded(severity: int) -> None:
    scene = skimage.data.coffee()[::3, ::3]
    record: dict = {}
    hazy = degrade(scene, "haze", severity, 5, record=record)
    grey, tint = record["airlight_green"], record["tint"]
    airlight = np.array([grey * (1 + tint), grey, grey * (1 - tint)])
    depth = depth_proxy(scene, Draws.replay(record)).astype(float)
    transmission = np.exp(-record["beta"] * (0.3 + 0.7 * depth))[..., None]
    expected = scene / 255.0 * transmission + airlight * (1 - transmission)
    assert np.abs(hazy / 255.0 - expected).max() <= 0.51 / 255
    assert transmission.max() == pytest.approx(np.exp(-0.3 * record["beta"]))
    assert transmission.min() == pytest.approx(np.exp(-record["beta"]))


def test_the_same_air_stands_before_all_channels() -> None:
    scene = skimage.data.coffee()[::3, ::3]
    record: dict = {}
    hazy = degrade(scene, "haze", 2, 9, record=record) / 255.0
    grey, tint = record["airlight_green"], record["tint"]
    airlight = np.array([grey * (1 + tint), grey, grey * (1 - tint)])
    clear = (np.abs(scene / 255.0 - airlight) > 0.25).all(axis=2)
    transmission = (hazy[clear] - airlight) / (scene[clear] / 255.0 - airlight)
    # Rounding by half a level moves each channel's value by at most 0.5 / 255 / 0.25.
    assert clear.sum() > 1000
    assert np.ptp(transmission, axis=1).max() < 2 * 0.5 / 255 / 0.25 + 1e-6
