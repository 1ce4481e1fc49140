"""Random resizing: a factor, an interpolation, and what they do to an image."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from glesam.degrade.draws import Draws
from glesam.degrade.lqseg.config import ResizeConfig
from glesam.degrade.lqseg.kernels import Floats

MODES = {"linear": cv2.INTER_LINEAR, "cubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}
"""Interpolations by name; each is as likely. Cubic is with a = -0.75, so that it may leave [0, 1]."""


class Resize(NamedTuple):
    """A drawn resize: factor on both sides, and the interpolation's name."""

    scale: float
    mode: str


def draw_resize(draws: Draws, name: str, config: ResizeConfig) -> Resize:
    """Draw direction, factor and interpolation; the interpolation is drawn even where the size is kept."""
    direction = draws.choice(f"{name}.direction", ("up", "down", "keep"), config.weights)
    scale = 1.0
    if direction == "up":
        scale = draws.uniform(f"{name}.scale", 1.0, config.scale[1])
    elif direction == "down":
        scale = draws.uniform(f"{name}.scale", config.scale[0], 1.0)
    return Resize(scale, draw_mode(draws, name))


def draw_mode(draws: Draws, name: str) -> str:
    """Draw an interpolation."""
    return draws.choice(f"{name}.mode", tuple(MODES))


def scaled_size(height: int, width: int, factor: float, divisor: int = 1) -> tuple[int, int]:
    """Height and width by a divisor and times a factor, cut to whole pixels, at least one."""
    return max(1, int(height / divisor * factor)), max(1, int(width / divisor * factor))


def resize(image: Floats, height: int, width: int, mode: str) -> Floats:
    """Resize to the given pixels; the same array where the size is already so.

    Args:
        image: `(H, W, 3)` float32.
        height: wanted, in pixels.
        width: wanted, in pixels.
        mode: a key of `MODES`. "linear" and "cubic" do not blur before reducing, as in the published recipes.
    """
    if image.shape[:2] == (height, width):
        return image
    return np.asarray(cv2.resize(image, (width, height), interpolation=MODES[mode]), dtype=np.float32)
