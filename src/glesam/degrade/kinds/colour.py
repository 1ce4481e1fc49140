"""Changes of colour and tone: jitter, brightness, contrast."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from glesam.degrade.draws import Draws
from glesam.degrade.optics.photometry import to_float, to_uint8
from glesam.images.pixels import RGB

_LEAST_SHARE = 0.6


def colour_jitter(
    image: RGB, draws: Draws, *, brightness: float, contrast: float, saturation: float, hue: float
) -> RGB:
    """Shift brightness, contrast, saturation and hue, in this order, each up or down.

    Each shift is 0.6 to 1 of its parameter, never near nothing, so that a severity means what it says.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws.
        brightness: largest change of its factor, which is 1 where nothing changes.
        contrast: the same for the contrast about the mean.
        saturation: the same for the saturation.
        hue: largest shift, in turns of the colour circle.
    """
    values = to_float(image) * np.float32(1.0 + _signed(draws, "brightness_shift", brightness))
    centre = float(values.mean())
    values = (values - centre) * np.float32(1.0 + _signed(draws, "contrast_shift", contrast)) + centre
    hsv = cv2.cvtColor(np.clip(values, 0.0, 1.0).astype(np.float32), cv2.COLOR_RGB2HSV)
    hsv[..., 1] = np.clip(hsv[..., 1] * (1.0 + _signed(draws, "saturation_shift", saturation)), 0.0, 1.0)
    hsv[..., 0] = (hsv[..., 0] + 360.0 * _signed(draws, "hue_shift", hue)) % 360.0
    return to_uint8(cv2.cvtColor(hsv, cv2.COLOR_HSV2RGB))


def brightness(image: RGB, draws: Draws, *, factor: float) -> RGB:
    """Darken: every value times `factor`, rounded. Nothing here is random.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: not used.
        factor: 0..1.
    """
    return _by_table(image, np.arange(256) * factor)


def contrast(image: RGB, draws: Draws, *, factor: float) -> RGB:
    """Stretch about level 128: `(v - 128) factor + 128`, rounded and clipped. Nothing here is random.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: not used.
        factor: above 1.
    """
    return _by_table(image, (np.arange(256) - 128.0) * factor + 128.0)


def _by_table(image: RGB, levels: NDArray[np.floating]) -> RGB:
    """Replace each level by its entry."""
    replaced: RGB = np.rint(levels).clip(0, 255).astype(np.uint8)[image]
    return replaced


def _signed(draws: Draws, name: str, largest: float) -> float:
    """A shift of 0.6 to 1 of `largest`, up or down."""
    sign = 1.0 if draws.flag(f"{name}_up", 0.5) else -1.0
    return sign * draws.uniform(name, _LEAST_SHARE * largest, largest)
