"""How far away each pixel may be, guessed from one image: enough for haze and water that thicken with distance."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from glesam.degrade.draws import Draws
from glesam.degrade.optics.photometry import LUMINANCE, to_float

# Zhu, Mai & Shao, IEEE TIP 2015, equation 8: d = w0 + w1 value + w2 saturation, learnt from depth maps.
_PRIOR = (0.121779, 0.959710, -0.780245)
_GUIDE_RADIUS = 0.06
_GUIDE_EPSILON = 1e-3


def depth_proxy(image: NDArray[np.uint8], draws: Draws) -> NDArray[np.float32]:
    """Relative distance: nearer at the bottom, farther where things are pale, with edges where the image has them.

    Half and half (the share is drawn) a slanted plane that falls to zero at the image's foot, and the colour
    attenuation prior of Zhu, Mai & Shao (IEEE TIP 2015, equation 8), smoothed by a guided filter (He, Sun & Tang,
    PAMI 2013).

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws: `depth_tilt`, `depth_plane_share`.

    Returns:
        (H, W) float32 from 0 (near) to 1 (far), both reached.
    """
    height, width = image.shape[:2]
    tilt = draws.uniform("depth_tilt", -0.3, 0.3)
    share = draws.uniform("depth_plane_share", 0.4, 0.7)
    rows = np.linspace(1.0, 0.0, height, dtype=np.float32)[:, None]
    plane = _to_unit(rows + np.linspace(-0.5, 0.5, width, dtype=np.float32)[None, :] * np.float32(tilt))
    values = to_float(image)
    brightest = values.max(axis=2)
    saturation = 1.0 - values.min(axis=2) / np.maximum(brightest, 1.0 / 255.0)
    prior = _PRIOR[0] + _PRIOR[1] * brightest + _PRIOR[2] * saturation
    radius = max(1, round(_GUIDE_RADIUS * min(height, width)))
    smooth = _guided_filter(values @ LUMINANCE, prior.astype(np.float32), radius)
    return _to_unit(share * plane + (1.0 - share) * _to_unit(smooth))


def _guided_filter(guide: NDArray[np.float32], values: NDArray[np.float32], radius: int) -> NDArray[np.float32]:
    """Guided filter (He, Sun & Tang, PAMI 2013, algorithm 1) of one plane by another, both (H, W) float32."""
    side = (2 * radius + 1, 2 * radius + 1)

    def mean(plane: NDArray[np.float32]) -> NDArray[np.float32]:
        averaged: NDArray[np.float32] = cv2.blur(plane, side, borderType=cv2.BORDER_REFLECT_101)
        return averaged

    mean_guide, mean_values = mean(guide), mean(values)
    covariance = mean(guide * values) - mean_guide * mean_values
    variance = mean(guide * guide) - mean_guide * mean_guide
    slope = np.asarray(covariance / (variance + np.float32(_GUIDE_EPSILON)), np.float32)
    return mean(slope) * guide + mean(mean_values - slope * mean_guide)


def _to_unit(values: NDArray[np.float32]) -> NDArray[np.float32]:
    """Stretch to 0..1; an even plane becomes 0."""
    low, high = float(values.min()), float(values.max())
    return ((values - low) / max(high - low, 1e-6)).astype(np.float32)
