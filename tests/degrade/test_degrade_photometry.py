"""Transfer functions against scikit-image and the standard's own numbers."""

from __future__ import annotations

import numpy as np
import pytest
from skimage.color import rgb2xyz

from glesam.degrade.optics.photometry import (
    LUMINANCE,
    decode,
    encode,
    light_levels,
    linear_to_srgb,
    srgb_to_linear,
    to_float,
    to_uint8,
    veil,
)

LEVELS = np.repeat(np.arange(256, dtype=np.uint8)[None, :, None], 3, axis=2)


def test_known_values_of_srgb() -> None:
    assert srgb_to_linear(np.array([0.0, 0.5, 1.0])) == pytest.approx([0.0, 0.21404114, 1.0])
    assert linear_to_srgb(np.array([0.0, 0.18, 1.0])) == pytest.approx([0.0, 0.46135612, 1.0])


def test_luminance_is_that_of_scikit_image() -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    assert decode(image) @ LUMINANCE == pytest.approx(rgb2xyz(image)[..., 1], abs=2e-4)


def test_tables_invert_each_other() -> None:
    assert np.array_equal(encode(decode(LEVELS)), LEVELS)
    assert decode(LEVELS)[0, :, 0] == pytest.approx(srgb_to_linear(np.arange(256) / 255), abs=1e-7)


def test_float_and_back() -> None:
    assert np.array_equal(to_uint8(to_float(LEVELS)), LEVELS)
    assert np.array_equal(to_uint8(np.array([-1.0, 0.499 / 255, 0.501 / 255, 2.0])), [0, 0, 1, 255])
    assert np.array_equal(light_levels(np.array([-1.0, 0.5, 9.0])), [0, 32768, 65535])


def test_veil_is_koschmieders_law() -> None:
    scene, airlight = np.full((2, 2, 3), 0.2), np.array([0.8, 0.9, 1.0])
    transmission = np.array([[1.0, 0.0], [0.5, 0.25]])[..., None]
    seen = veil(scene, transmission, airlight)
    assert seen[0, 0] == pytest.approx([0.2, 0.2, 0.2])
    assert seen[0, 1] == pytest.approx(airlight)
    assert seen[1, 0] == pytest.approx([0.5, 0.55, 0.6])
    assert seen[1, 1] == pytest.approx(0.2 * 0.25 + airlight * 0.75)
