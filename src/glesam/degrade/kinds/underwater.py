"""Underwater photographs: colour eaten by the water, light scattered into and out of the line of sight."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from glesam.degrade.draws import Draws
from glesam.degrade.optics.depth_proxy import depth_proxy
from glesam.degrade.optics.photometry import LUMINANCE, decode, encode, veil
from glesam.degrade.optics.point_spread import disc
from glesam.degrade.optics.textures import count_for, particles
from glesam.images.pixels import RGB

# Share of light left after one metre, in red, green and blue. Clear ocean: Chiang & Chen, IEEE TIP 2012.
# Coast: the same red, while dissolved matter takes more of the blue than of the green.
_WATERS = {
    "ocean": ((0.80, 0.85), (0.93, 0.97), (0.95, 0.99)),
    "coast": ((0.80, 0.85), (0.92, 0.95), (0.90, 0.93)),
}
# Share of the scattered light that comes back to the camera, and share of the cast that its white balance takes back.
_BACKWARD = 0.6
_WHITE_BALANCE = 0.25
_CHANNELS = ("red", "green", "blue")


def underwater(
    image: RGB, draws: Draws, *, distance: float, depth: float, turbidity: float, blur: float, snow: float
) -> RGB:
    """Underwater image formation after Akkaynak & Treibitz, CVPR 2018, in linear light.

    `I = (J t + B (1 - t)) exp(-k D)` with `t = exp(-(k + b) z)` and `B = 0.6 b / (k + b)`: the sun's light loses its
    red to absorption k on the way down (D); on the way to the camera (z) the scene's light is absorbed (k) and
    scattered away (b), and what endless water scatters into the camera before absorbing it is the veil B, blue or green
    even near the surface. Light scattered a little forward is a blurred copy of the scene (McGlamery 1980). Last,
    the camera takes back a part of the cast and exposes automatically.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws: `water`; `left_red`, `left_green`, `left_blue` are `exp(-k)`, left after one metre.
        distance: to the farthest thing, in metres; the nearest is at a third of it.
        depth: D, below the surface, in metres.
        turbidity: b, per metre, alike in all channels.
        blur: deviation of the forward-scattered copy, as a share of the short side.
        snow: floating particles per square of a tenth of the short side.
    """
    height, width = image.shape[:2]
    absorption = _absorption(draws)
    way = distance * (1.0 + 2.0 * depth_proxy(image, draws)[..., None]) / 3.0
    lost = absorption + np.float32(turbidity)
    transmission = np.exp(-lost * way)
    scene = _scatter_forward(decode(image), transmission, blur * min(height, width))
    sunlight = np.exp(-absorption * np.float32(depth))
    shown = veil(scene, transmission, np.float32(_BACKWARD * turbidity) / lost) * sunlight
    particle = disc(max(0.004 * min(height, width), 0.6))
    cover = particles(height, width, count_for(height, width, snow), particle, draws.field("particles"))
    shown += (0.6 * sunlight - shown) * (0.5 * cover)[..., None]
    return encode(_expose(shown))


def _absorption(draws: Draws) -> NDArray[np.float32]:
    """Attenuation k per metre of the three channels, for a drawn water."""
    ranges = _WATERS[draws.choice("water", tuple(_WATERS), (0.6, 0.4))]
    left = [draws.uniform(f"left_{name}", *bounds) for name, bounds in zip(_CHANNELS, ranges, strict=True)]
    return -np.log(np.array(left, dtype=np.float32))


def _scatter_forward(
    scene: NDArray[np.float32], transmission: NDArray[np.float32], deviation: float
) -> NDArray[np.float32]:
    """Mix in a blurred copy where little light arrives straight (judged in green)."""
    blurred = cv2.GaussianBlur(scene, (0, 0), max(deviation, 0.05), borderType=cv2.BORDER_REFLECT_101)
    mixed: NDArray[np.float32] = blurred + (scene - blurred) * transmission[..., 1:2]
    return mixed


def _expose(light: NDArray[np.float32]) -> NDArray[np.float32]:
    """Balance the colours in part, then lift all alike, at most fourfold, until the brightest hundredth reaches 0.6."""
    means = np.maximum(light.mean(axis=(0, 1)), 1e-4)
    light = light * ((means @ LUMINANCE) / means) ** np.float32(_WHITE_BALANCE)
    bright = float(np.quantile((light @ LUMINANCE)[::4, ::4], 0.99))
    exposed: NDArray[np.float32] = light * np.float32(np.clip(0.6 / max(bright, 1e-3), 1.0, 4.0))
    return exposed
