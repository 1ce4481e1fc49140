"""Faults of the lens and the shutter: defocus, and movement while a rolling shutter reads the rows."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from glesam.degrade.draws import Draws
from glesam.degrade.kind import Moved
from glesam.degrade.optics.photometry import decode, encode
from glesam.degrade.optics.point_spread import disc, spread
from glesam.degrade.optics.warping import grid, reflect, warp_image
from glesam.images.pixels import RGB

_EXPOSURE_SAMPLES = 9


def defocus(image: RGB, draws: Draws, *, radius: float) -> RGB:
    """Out of focus: in linear light every point becomes a disc, so that bright points stay bright.

    Geometric optics of a round aperture: Potmesil & Chakravarty, SIGGRAPH 1981.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: not used; nothing here is random.
        radius: of the circle of confusion, as a share of the short side.
    """
    return encode(spread(decode(image), disc(radius * min(image.shape[:2]))))


def rolling_motion(image: RGB, draws: Draws, *, skew: float, wobble: float, exposure: float) -> Moved:
    """The camera swings while its rows are read one after the other, each row for a while.

    Row r is read at time r / H. The image's content has then moved by `skew t` sideways (a steady swing) and by
    `wobble sin(2 pi f t + phase)` in x and half of it in y (vibration): the model of Forssén & Ringaby, CVPR 2010,
    with translations only. Each row is the mean over its exposure. The mask follows the middle of the
    exposure.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws: `leftwards`, `frequency` (swings per image), `phase`.
        skew: way of the swing over the whole image, as a share of the short side.
        wobble: amplitude of the vibration, as a share of the short side.
        exposure: of one row, as a share of the time in which the image is read.
    """
    height, width = image.shape[:2]
    short = min(height, width)
    direction = -1.0 if draws.flag("leftwards", 0.5) else 1.0
    frequency = draws.uniform("frequency", 1.5, 3.5)
    phase = draws.uniform("phase", 0.0, 2.0 * math.pi)
    columns, rows = grid(height, width)

    def maps(lag: float) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        time = rows / height + lag
        swing = wobble * short * np.sin(2.0 * math.pi * frequency * time + phase)
        return (
            reflect(columns + direction * skew * short * (time - 0.5) + swing, width),
            reflect(rows + 0.5 * swing, height),
        )

    lags = np.linspace(-exposure / 2.0, exposure / 2.0, _EXPOSURE_SAMPLES)
    total = np.zeros(image.shape, dtype=np.float32)
    for lag in lags:
        total += warp_image(image, *maps(float(lag)))
    return Moved(np.rint(total / _EXPOSURE_SAMPLES).astype(np.uint8), *maps(0.0))
