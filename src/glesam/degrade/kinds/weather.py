"""Snow, fog and rain: scattered light over the scene, and particles in front of it at several distances."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from glesam.degrade.draws import Draws
from glesam.degrade.optics.photometry import to_float, to_uint8, veil
from glesam.degrade.optics.point_spread import disc, line, spread
from glesam.degrade.optics.textures import clouds, count_for, particles
from glesam.images.pixels import RGB

_STRIP = 2**18
"""Pixels worked on at once where a whole image in float would be too much."""

# Far, middle and near particles: size and number relative to the middle ones. Numbers fall with the square of the
# distance's inverse or faster, as a camera sees few near ones; near ones are out of focus, hence fainter.
_SNOW_LAYERS = (("far", 0.45, 4.0, 0.75), ("middle", 1.0, 1.0, 0.95), ("near", 2.6, 0.1, 0.6))
_RAIN_LAYERS = (("far", 0.45, 3.0, 0.45), ("middle", 1.0, 1.0, 0.7), ("near", 2.2, 0.15, 0.55))


def snow(image: RGB, draws: Draws, *, veil_strength: float, flakes: float, size: float) -> RGB:
    """Snowfall: a pale veil that takes colour and contrast, and flakes of three distances drifting with the wind.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws.
        veil_strength: share of the light that comes from the white air, 0..1.
        flakes: middle-distance flakes per square of a tenth of the short side.
        size: radius of a middle-distance flake as a share of the short side.
    """
    height, width = image.shape[:2]
    wind = draws.uniform("wind", -0.5, 0.5)
    scene = to_float(image)
    white = np.array([0.93, 0.95, 0.98], dtype=np.float32)
    gusts = 1.0 + 0.12 * clouds(height, width, min(height, width) / 2, draws.field("veil"))
    shown = veil(scene, np.clip(1.0 - veil_strength * gusts, 0.0, 1.0)[..., None], white)
    for name, scale, number, opacity in _SNOW_LAYERS:
        radius = max(size * scale * min(height, width), 0.6)
        # A flake falls about its own diameter during the exposure.
        flake = _blurred_disc(radius, 2.0 * radius, math.pi / 2 + wind)
        cover = particles(
            height, width, count_for(height, width, flakes * number), flake, draws.field(f"flakes_{name}")
        )
        _lay_over(shown, white, opacity * cover)
    return to_uint8(shown)


def fog(image: RGB, draws: Draws, *, density: float) -> RGB:
    """Drifting fog: Koschmieder's law with an optical depth that varies in banks and grows towards the top (far away).

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws.
        density: mean optical depth; the mean transmission is about `exp(-density)`.
    """
    height, width = image.shape[:2]
    airlight = np.full(3, draws.uniform("airlight", 0.78, 0.9), dtype=np.float32)
    airlight *= np.array([0.985, 1.0, 1.015], dtype=np.float32)
    banks = clouds(height, width, min(height, width) / 1.5, draws.field("banks"))
    distance = np.linspace(1.3, 0.7, height, dtype=np.float32)[:, None]
    depth = density * distance * np.clip(1.0 + 0.3 * banks, 0.2, 2.0)
    return to_uint8(veil(to_float(image), np.exp(-depth)[..., None], airlight))


def rain(image: RGB, draws: Draws, *, darkening: float, mist: float, drops: float, length: float) -> RGB:
    """Rainfall: a dull, misty scene behind bright slanted streaks of three distances.

    A drop moves during the exposure and so adds a constant brightness along its streak while hiding part of the
    scene: Garg & Nayar, "Vision and Rain", IJCV 2007.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws.
        darkening: factor on the scene's brightness (overcast sky), 0..1.
        mist: share of the light that comes from the grey air, 0..1.
        drops: middle-distance streaks per square of a tenth of the short side.
        length: of a middle-distance streak, as a share of the short side.
    """
    height, width = image.shape[:2]
    slant = draws.uniform("slant", -0.35, 0.35)
    grey = np.array([0.58, 0.61, 0.64], dtype=np.float32)
    shown = veil(to_float(image) * darkening, np.full((1, 1, 1), 1.0 - mist, dtype=np.float32), grey)
    bright = np.array([0.86, 0.89, 0.92], dtype=np.float32)
    for name, scale, number, opacity in _RAIN_LAYERS:
        way = max(length * scale * min(height, width), 3.0)
        thickness = max(0.0035 * scale * min(height, width), 1.0)
        angle = math.pi / 2 + slant + draws.uniform(f"gust_{name}", -0.05, 0.05)
        count = count_for(height, width, drops * number)
        cover = particles(height, width, count, line(way, angle, thickness), draws.field(f"drops_{name}"))
        _lay_over(shown, bright, opacity * cover)
    return to_uint8(shown)


def _lay_over(scene: NDArray[np.floating], colour: NDArray[np.float32], cover: NDArray[np.float32]) -> None:
    """Put a colour over a scene, in place, where and as much as a cover of 0..1 says; some rows at a time."""
    rows = max(1, _STRIP // max(1, cover.shape[1]))
    for top in range(0, len(scene), rows):
        part = scene[top : top + rows]
        part += (colour - part) * cover[top : top + rows, :, None]


def _blurred_disc(radius: float, way: float, angle: float) -> NDArray[np.float32]:
    """A disc smeared along a line: the disc is drawn on a canvas that holds both."""
    reach = math.ceil(radius + way / 2) + 1
    round_kernel = disc(radius)
    canvas = np.zeros((2 * reach + 1, 2 * reach + 1), dtype=np.float32)
    half = round_kernel.shape[0] // 2
    canvas[reach - half : reach + half + 1, reach - half : reach + half + 1] = round_kernel
    return spread(canvas, line(max(way, 1.0), angle))
