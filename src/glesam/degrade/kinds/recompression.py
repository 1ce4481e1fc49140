"""Social-media recompression: an image that was passed on from site to site, made smaller and coded each time."""

from __future__ import annotations

import cv2

from glesam.degrade.draws import Draws
from glesam.degrade.kinds.compression import reencode
from glesam.images.pixels import RGB

_SMALLEST_SIDE = 8
_INTERPOLATIONS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}


def recompression(image: RGB, draws: Draws, *, rounds: float, scale: float, quality: float) -> RGB:
    """A chain of resize and WebP or JPEG, as many times as the image was shared; then back to its size.

    Resizing between the codings shifts the block grid, so that artefacts of one round are coded again by the next:
    the chain of platforms that the survey of Pasquini et al., EURASIP J. Inf. Security 2021, describes.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws: `scale_i`, `interpolation_i`, `codec_i`, `quality_i` for each round i from 1.
        rounds: number of rounds.
        scale: smallest size of a round, as a share of the image's; drawn from `scale` to `scale + 0.1`.
        quality: middle of the drawn quality, which lies within a fifth of it.
    """
    height, width = image.shape[:2]
    shared = image
    for turn in range(1, int(rounds) + 1):
        share = draws.uniform(f"scale_{turn}", scale, scale + 0.1)
        size = (max(_SMALLEST_SIDE, round(width * share)), max(_SMALLEST_SIDE, round(height * share)))
        way = draws.choice(f"interpolation_{turn}", tuple(_INTERPOLATIONS))
        shared = cv2.resize(shared, size, interpolation=_INTERPOLATIONS[way])
        codec = draws.choice(f"codec_{turn}", ("jpeg", "webp"), (0.7, 0.3))
        shared = reencode(shared, codec, draws.integer(f"quality_{turn}", round(0.8 * quality), round(1.2 * quality)))
    restored: RGB = cv2.resize(shared, (width, height), interpolation=cv2.INTER_CUBIC)
    return restored
