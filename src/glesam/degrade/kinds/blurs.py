"""Blurs: resampling, straight motion, and zoom during the exposure."""

from __future__ import annotations

import math

import cv2
import numpy as np

from glesam.degrade.draws import Draws
from glesam.degrade.optics.point_spread import line, spread
from glesam.images.pixels import RGB

# Frames of a zoom: one per so many pixels of way at the border, within limits that bound the time.
_ZOOM_STEP = 2.0
_ZOOM_FRAMES = (8, 40)


def resampling_blur(image: RGB, draws: Draws, *, factor: float) -> RGB:
    """Make the image smaller and large again, both bilinear and without a low-pass (so that it may alias).

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: not used; nothing here is random.
        factor: ratio of the sides.
    """
    height, width = image.shape[:2]
    small = (max(1, round(width / factor)), max(1, round(height / factor)))
    reduced = cv2.resize(image, small, interpolation=cv2.INTER_LINEAR)
    enlarged: RGB = cv2.resize(reduced, (width, height), interpolation=cv2.INTER_LINEAR)
    return enlarged


def motion_blur(image: RGB, draws: Draws, *, length: float) -> RGB:
    """An even straight movement in a drawn direction.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws.
        length: way in pixels.
    """
    kernel = line(length, draws.uniform("angle", 0.0, math.pi))
    return np.rint(spread(image.astype(np.float32), kernel)).clip(0, 255).astype(np.uint8)


def zoom_blur(image: RGB, draws: Draws, *, zoom: float) -> RGB:
    """The lens zooms during the exposure: mean of images enlarged by `zoom**-0.5` to `zoom**0.5` about one point.

    The range lies evenly about 1, so that an object stays, on average, where its mask is; enlarging from 1 upwards
    would shift it outwards. The mirrored surroundings fill what a reduction uncovers.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws; the point lies within a twentieth of the size from the centre.
        zoom: ratio of the last enlargement to the first, above 1.
    """
    height, width = image.shape[:2]
    x = (0.5 + draws.uniform("centre_x", -0.05, 0.05)) * (width - 1)
    y = (0.5 + draws.uniform("centre_y", -0.05, 0.05)) * (height - 1)
    half_way = math.log(zoom) / 2.0
    frames = int(np.clip(round(half_way * math.hypot(width, height) / _ZOOM_STEP), *_ZOOM_FRAMES))
    total = np.zeros(image.shape, dtype=np.float32)
    for scale in np.exp(np.linspace(-half_way, half_way, frames)):
        matrix = np.array([[scale, 0.0, x - scale * x], [0.0, scale, y - scale * y]])
        total += cv2.warpAffine(image, matrix, (width, height), borderMode=cv2.BORDER_REFLECT_101)
    return np.rint(total / frames).astype(np.uint8)
