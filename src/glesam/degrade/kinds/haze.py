"""Haze: light scattered by the air between the camera and things, thicker with distance."""

from __future__ import annotations

import numpy as np

from glesam.degrade.draws import Draws
from glesam.degrade.optics.depth_proxy import depth_proxy
from glesam.degrade.optics.photometry import to_float, to_uint8, veil
from glesam.images.pixels import RGB


def haze(image: RGB, draws: Draws, *, beta: float) -> RGB:
    """Koschmieder's law `I = J t + A (1 - t)` with `t = exp(-beta (0.3 + 0.7 d))` and d of `depth_proxy`.

    On sRGB values, as RESIDE does (Li et al., IEEE TIP 2019, whose A is drawn from 0.7..1 and whose beta
    lies in 0.6..1.8). The nearest thing already stands behind 0.3 of the farthest one's air.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws: `airlight_red`, `airlight_green`, `airlight_blue` are A.
        beta: optical depth at the farthest place.
    """
    depth = depth_proxy(image, draws)
    grey = draws.uniform("airlight_green", 0.75, 0.95)
    tint = draws.uniform("tint", -0.03, 0.03)
    airlight = np.array([grey * (1 + tint), grey, grey * (1 - tint)], dtype=np.float32)
    transmission = np.exp(-np.float32(beta) * (np.float32(0.3) + np.float32(0.7) * depth))
    return to_uint8(veil(to_float(image), transmission[..., None], airlight))
