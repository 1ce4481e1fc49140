"""Noise of the sensor: Gaussian, high-ISO, and the multiplicative noise that RobustSeg calls impulse noise."""

from __future__ import annotations

import math

import cv2
import numpy as np

from glesam.degrade.draws import Draws
from glesam.degrade.optics.photometry import to_float, to_uint8
from glesam.images.pixels import RGB

# Deviations of high-ISO noise per unit of `intensity`, at mid-grey, on values in 0..1; set so that the published range
# gives the PSNR of the published formula (12.9 dB, mean over three images of scikit-image at half size).
_LUMA_DEVIATION = 0.2
_CHROMA_DEVIATION = 0.44
_RANGE_OF_FACTOR = 0.05


def gaussian_noise(image: RGB, draws: Draws, *, variance: float) -> RGB:
    """White Gaussian noise, drawn for each pixel and channel by itself.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws.
        variance: in squared levels of 0..255.
    """
    noise = draws.field("noise").standard_normal(image.shape, dtype=np.float32)
    return to_uint8((image + noise * np.float32(math.sqrt(variance))) / 255.0)


def iso_noise(image: RGB, draws: Draws, *, colour_shift: float, intensity: float) -> RGB:
    """Noise of a high ISO setting: fine grain in the luma, coarser blotches in the two chroma planes.

    The luma deviation grows with the root of the luma, as photon noise does; in-camera sharpening leaves luma noise
    fine, while chroma is denoised at a coarser scale and so stays blotchy.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws.
        colour_shift: strength of the chroma part.
        intensity: strength of both parts.
    """
    rng = draws.field("noise")
    planes = cv2.cvtColor(to_float(image), cv2.COLOR_RGB2YCrCb)
    noise = rng.standard_normal(image.shape, dtype=np.float32)
    # Blur by 1 px keeps 1 / (2 sqrt(pi)) of a white field's deviation; give it back.
    noise[..., 1:] = cv2.GaussianBlur(noise[..., 1:], (0, 0), 1.0) * np.float32(2.0 * math.sqrt(math.pi))
    photon = np.sqrt(planes[..., 0] + np.float32(0.05)) * np.float32(math.sqrt(2.0))
    noise[..., 0] *= np.float32(_LUMA_DEVIATION * intensity)
    noise[..., 1:] *= np.float32(_CHROMA_DEVIATION * intensity * colour_shift)
    planes += noise * photon[..., None]
    return to_uint8(cv2.cvtColor(planes, cv2.COLOR_YCrCb2RGB))


def impulse_noise(image: RGB, draws: Draws, *, factor: float) -> RGB:
    """Multiplicative noise: every value times its own factor from `factor` +- 0.05.

    RobustSeg's "impulse noise" is this, and not salt and pepper; the width is that of its range, 1.4 to 1.5.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws.
        factor: mean factor, above 1.
    """
    spread = draws.field("factors").random(image.shape, dtype=np.float32)
    factors = np.float32(factor - _RANGE_OF_FACTOR) + np.float32(2 * _RANGE_OF_FACTOR) * spread
    return to_uint8(to_float(image) * factors)
