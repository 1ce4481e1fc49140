"""JPEG coding and decoding of RGB images in memory, by libjpeg as OpenCV has it (4:2:0 chroma)."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from glesam.degrade.draws import Draws
from glesam.degrade.lqseg.config import Interval
from glesam.degrade.lqseg.kernels import Floats
from glesam.errors import ConfigError, ImageError

_LARGEST_SIDE = 65500  # of libjpeg


def draw_quality(draws: Draws, name: str, ends: Interval) -> int:
    """Draw a quality: a real number, evenly, then cut to a whole one, as the published recipes do."""
    return int(draws.uniform(f"{name}.quality", *ends))


def jpeg(image: Floats, quality: int) -> Floats:
    """Code and decode an image.

    Args:
        image: `(H, W, 3)` float32 RGB; clipped to [0, 1] and rounded to 256 levels first.
        quality: 1 (worst) to 100.

    Returns:
        `(H, W, 3)` float32 RGB whose values are multiples of 1/255.

    Raises:
        ConfigError: the quality is out of range.
        ImageError: the image is larger than JPEG can be.
    """
    if not 1 <= quality <= 100:
        raise ConfigError(f"expected a JPEG quality of 1 to 100, got {quality}")
    if max(image.shape[:2]) > _LARGEST_SIDE:
        raise ImageError(
            f"expected sides up to {_LARGEST_SIDE} pixels for JPEG, got {image.shape[:2]}; reduce it first"
        )
    stored = cv2.cvtColor(to_uint8(image), cv2.COLOR_RGB2BGR)
    _, buffer = cv2.imencode(".jpg", stored, [cv2.IMWRITE_JPEG_QUALITY, quality])
    decoded = cv2.cvtColor(cv2.imdecode(buffer, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return to_floats(decoded)


def to_uint8(image: Floats) -> NDArray[np.uint8]:
    """Levels 0..255 of an image in [0, 1]; what lies beyond is clipped."""
    levels = image * np.float32(255.0)
    np.rint(levels, out=levels)
    np.clip(levels, 0.0, 255.0, out=levels)
    return np.asarray(levels, dtype=np.uint8)


def to_floats(image: NDArray[np.uint8]) -> Floats:
    """An image in [0, 1] from levels 0..255."""
    return np.asarray(np.multiply(image, np.float32(1.0 / 255.0), dtype=np.float32))
