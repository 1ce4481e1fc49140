"""Old film: faded dyes, grain, scratches along the film's way, dust, and a lens that darkens the corners."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from glesam.degrade.draws import Draws
from glesam.degrade.optics.photometry import LUMINANCE, to_float, to_uint8
from glesam.degrade.optics.point_spread import disc
from glesam.degrade.optics.textures import clouds, count_for, particles
from glesam.images.pixels import RGB

_PAPER = np.array([1.04, 0.97, 0.80], dtype=np.float32)


def old_film(image: RGB, draws: Draws, *, fade: float, grain: float, scratches: float, dust: float) -> RGB:
    """Fade, darken the corners, add grain, then dust and scratches on top, as they lie on the film.

    The grain's variance at density u is `u (1 - u)`, that of a random cover of the film by grains (Boolean model:
    Newson et al., Computer Graphics Forum 2017). Scratches are near-vertical lines that run through (Joyeux
    et al., CVPR 1999).

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws.
        fade: how far colours go to a warm grey and blacks are lifted, 0..1.
        grain: twice the deviation of the grain at mid-grey, on values in 0..1.
        scratches: expected number of scratches per image as wide as high.
        dust: specks per square of a tenth of the short side.
    """
    height, width = image.shape[:2]
    shown = _fade(to_float(image), fade) * _vignette(height, width, fade)[..., None]
    shown += (grain * _grain(height, width, draws.field("grain_field")) * _boolean_deviation(shown))[..., None]
    shown = _add_dust(shown, dust, draws)
    ink = _scratches(height, width, scratches, draws)
    return to_uint8(shown + ink[..., None])


def _fade(values: NDArray[np.float32], fade: float) -> NDArray[np.float32]:
    """Move colours towards a warm grey with lifted blacks and dull whites."""
    grey = (values @ LUMINANCE)[..., None] * _PAPER
    toned = values + np.float32(min(1.0, 1.3 * fade)) * (grey - values)
    faded: NDArray[np.float32] = np.float32(0.12 * fade) + toned * np.float32(1.0 - 0.22 * fade)
    return faded


def _vignette(height: int, width: int, fade: float) -> NDArray[np.float32]:
    """Fall-off towards the corners, half of `fade` at the very corner."""
    rows = np.linspace(-1.0, 1.0, height, dtype=np.float32)[:, None]
    columns = np.linspace(-1.0, 1.0, width, dtype=np.float32)[None, :]
    share: NDArray[np.float32] = 1.0 - np.float32(0.5 * fade) * ((rows**2 + columns**2) / 2.0) ** 1.5
    return share


def _grain(height: int, width: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """Grain of deviation 1: white noise softened to clumps of about a pixel and a half (more on large images)."""
    deviation = max(0.6, 0.0018 * min(height, width))
    soft = cv2.GaussianBlur(rng.standard_normal((height, width), dtype=np.float32), (0, 0), deviation)
    grain: NDArray[np.float32] = soft / np.float32(max(float(soft.std()), 1e-6))
    return grain


def _boolean_deviation(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Deviation `sqrt(u (1 - u))` of the Boolean grain model, (H, W), at the luminance u."""
    luminance = np.clip(values @ LUMINANCE, 0.02, 0.98)
    deviation: NDArray[np.float32] = np.sqrt(luminance * (1.0 - luminance))
    return deviation


def _add_dust(values: NDArray[np.float32], dust: float, draws: Draws) -> NDArray[np.float32]:
    """Specks of irregular shape, dark (dust on the print) and light (dust on the negative)."""
    height, width = values.shape[:2]
    ragged = 0.5 + 0.7 * clouds(height, width, 0.01 * min(height, width), draws.field("dust_shape"), octaves=2)
    for name, target, share, size in (
        ("dark", 0.08, 0.5, 0.006),
        ("light", 0.93, 0.4, 0.004),
        ("big", 0.9, 0.06, 0.012),
    ):
        speck = disc(max(size * min(height, width), 0.8))
        cover = particles(height, width, count_for(height, width, dust * share), speck, draws.field(f"dust_{name}"))
        cover = np.clip(cover * np.clip(ragged, 0.0, None) * 1.5, 0.0, 1.0)
        values = values + (np.float32(target) - values) * cover[..., None]
    return values


def _scratches(height: int, width: int, scratches: float, draws: Draws) -> NDArray[np.float32]:
    """Light or dark lines down the image, slowly wandering, broken in places; (H, W) to be added."""
    rng = draws.field("scratch_field")
    count = max(1, round(scratches * width / height))
    rows = np.arange(height, dtype=np.float32)
    columns = np.arange(width, dtype=np.float32)[None, :]
    ink = np.zeros((height, width), dtype=np.float32)
    for _ in range(count):
        start, lean, sway, phase, strength, length = rng.random(6)
        path = (
            start * width
            + (lean - 0.5) * 0.03 * height
            + 0.004 * width * np.sin(2 * math.pi * (sway * rows / height + phase))
        )
        thickness = max(0.5, 0.0012 * min(height, width)) * (0.7 + rng.random())
        profile = np.exp(-0.5 * ((columns - path[:, None]) / thickness) ** 2)
        worn = np.clip(clouds(height, 1, 0.15 * height, rng, octaves=3)[:, 0] + 2.0 * length - 0.5, 0.0, 1.0)
        ink += np.float32((0.12 + 0.4 * strength) * (1.0 if rng.random() < 0.75 else -0.6)) * profile * worn[:, None]
    return ink
