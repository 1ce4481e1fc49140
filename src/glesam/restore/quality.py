"""How near an image is to another: PSNR, which says nothing of masks, so that both are always given together."""

from __future__ import annotations

import math

import numpy as np

from glesam.images.pixels import RGB


def psnr(image: RGB, reference: RGB) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels, `10 log10(255^2 / MSE)`.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        reference: the clear image, of the same shape.

    Returns:
        Infinity for equal images.
    """
    error = float(np.mean((image.astype(np.float64) - reference.astype(np.float64)) ** 2))
    return math.inf if error == 0 else 10 * math.log10(255**2 / error)
