"""Low light, made where it arises: in the raw data of the sensor, before colour and tone.

The image is taken back to raw values, darkened, given photon and read noise, and developed again: Brooks et al.,
"Unprocessing Images for Learned Raw Denoising", CVPR 2019. The camera's colour matrix is left out.
"""

from __future__ import annotations

import math
from functools import cache

import cv2
import numpy as np
from numpy.typing import NDArray

from glesam.degrade.draws import Draws
from glesam.degrade.optics.photometry import light_levels, linear_to_srgb, srgb_to_linear, to_uint8
from glesam.images.pixels import RGB

_BLACK = 0.0625
_RAW_STEPS = 1023
_ROW_SHARE = 0.15


def low_light(image: RGB, draws: Draws, *, stops: float, lift: float, shot: float) -> RGB:
    """Underexpose in the raw domain, add the sensor's noise, and develop with a partial lift.

    White-balance gains are drawn from the ranges of Brooks et al.; read noise follows their line
    `log read = 2.18 log shot + 1.20`.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws: `gain_red`, `gain_blue`; fields `photons`, `read`.
        stops: underexposure, in powers of two.
        lift: how many of them the camera's digital gain gives back.
        shot: variance of the photon noise per unit of signal, raw white being 1 (Brooks: 0.0001 to 0.012).
    """
    gains = np.array([draws.uniform("gain_red", 1.9, 2.4), 1.0, draws.uniform("gain_blue", 1.5, 1.9)], np.float32)
    raw = mosaic(_tone_to_light()[image] / gains) * np.float32(2.0**-stops)
    noisy = add_sensor_noise(raw, shot, read_variance(shot), draws.field("photons"), draws.field("read"))
    light = _demosaic(noisy) * gains * np.float32(2.0**lift)
    return _light_to_tone()[light_levels(light)]


def read_variance(shot: float) -> float:
    """Variance of the read noise that goes with a shot-noise slope: the line of Brooks et al., without its scatter."""
    return math.exp(2.18 * math.log(shot) + 1.20)


def add_sensor_noise(
    raw: NDArray[np.float32], shot: float, read: float, photons: np.random.Generator, reading: np.random.Generator
) -> NDArray[np.float32]:
    """Count photons, read them out, and quantise.

    The variance at signal x is `shot x + read`, plus the rows' shared share of the read noise (banding: Wei et al.,
    CVPR 2020) and one quantisation step.

    Args:
        raw: (H, W) signal, raw white being 1.
        shot: signal of one photon.
        read: variance of the read noise.
        photons: generator of the photon counts.
        reading: generator of the read noise.

    Returns:
        (H, W) float32, at least -0.0625: negative values are kept above the black level, as raw files do.
    """
    counted = photons.poisson(raw / shot).astype(np.float32) * np.float32(shot)
    deviation = math.sqrt(read)
    pixels = reading.standard_normal(raw.shape, dtype=np.float32)
    rows = reading.standard_normal((raw.shape[0], 1), dtype=np.float32)
    noisy = counted + np.float32(deviation) * (pixels + np.float32(_ROW_SHARE) * rows)
    counts: NDArray[np.float32] = np.clip(np.rint(noisy * _RAW_STEPS) / _RAW_STEPS, -_BLACK, 1.0).astype(np.float32)
    return counts


def mosaic(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Keep one channel per pixel, (H, W, 3) to (H, W): red at even rows and columns, blue at odd ones (RGGB)."""
    raw: NDArray[np.float32] = light[..., 1].copy()
    raw[0::2, 0::2] = light[0::2, 0::2, 0]
    raw[1::2, 1::2] = light[1::2, 1::2, 2]
    return raw


def _demosaic(raw: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill in the missing channels, (H, W) to (H, W, 3), bilinearly, above the black level."""
    scale = 65535.0 / (1.0 + _BLACK)
    counts = np.rint((raw + _BLACK) * scale).astype(np.uint16)
    colours = cv2.cvtColor(counts, cv2.COLOR_BayerRGGB2RGB).astype(np.float32)
    light: NDArray[np.float32] = colours / np.float32(scale) - np.float32(_BLACK)
    return light


@cache
def _tone_to_light() -> NDArray[np.float32]:
    """Linear light of the 256 levels: inverse of the smooth-step tone curve (Brooks et al.), then of sRGB."""
    levels = np.arange(256) / 255.0
    return srgb_to_linear(0.5 - np.sin(np.arcsin(1.0 - 2.0 * levels) / 3.0)).astype(np.float32)


@cache
def _light_to_tone() -> NDArray[np.uint8]:
    """Level of each of 65,536 values of linear light: sRGB, then the smooth-step tone curve `3 x^2 - 2 x^3`."""
    encoded = linear_to_srgb(np.arange(65536) / 65535.0)
    return to_uint8(3.0 * encoded**2 - 2.0 * encoded**3)
