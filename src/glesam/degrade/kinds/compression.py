"""Lossy compression."""

from __future__ import annotations

import cv2

from glesam.degrade.draws import Draws
from glesam.errors import ImageError
from glesam.images.pixels import RGB


def compression(image: RGB, draws: Draws, *, quality: float) -> RGB:
    """Write as JPEG and read back; chroma at half resolution, as cameras and sites do. Nothing here is random.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: not used.
        quality: libjpeg's, 1..100.
    """
    return reencode(image, "jpeg", int(quality))


def reencode(image: RGB, codec: str, quality: int) -> RGB:
    """Write an image in memory and read it back.

    Args:
        image: (H, W, 3) uint8 RGB.
        codec: "jpeg" or "webp".
        quality: 1..100.

    Raises:
        ImageError: this build of OpenCV cannot write that format.
    """
    flag = {"jpeg": cv2.IMWRITE_JPEG_QUALITY, "webp": cv2.IMWRITE_WEBP_QUALITY}[codec]
    done, data = cv2.imencode(f".{codec}", cv2.cvtColor(image, cv2.COLOR_RGB2BGR), [flag, quality])
    if not done:
        raise ImageError(f"expected OpenCV to write {codec}, it refused; install opencv-python-headless with {codec}")
    decoded: RGB = cv2.cvtColor(cv2.imdecode(data, cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)
    return decoded
