"""From an image to what the compact model sees; apart from the model, since exported ones see the same."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from glesam.models.base import ImageGeometry

_MEAN, _SCALE = 127.0, 128.0


def lay_into_square(image: npt.NDArray[np.uint8], side: int) -> tuple[Tensor, ImageGeometry]:
    """Resize the long side of `(H, W, 3)` uint8 RGB to `side`, keep the aspect, pad right and below with mid-grey.

    Returns:
        `(1, 3, side, side)` float32 pixel values, and where the image lies in them.
    """
    height, width = image.shape[:2]
    scale = side / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    # Area averaging is OpenCV's only antialiased way down; cubic is the sharper way up.
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    resized = cv2.resize(image, size[::-1], interpolation=method)
    square = np.full((side, side, 3), int(_MEAN), np.uint8)
    square[: size[0], : size[1]] = resized
    return to_pixel_values(square[None]), ImageGeometry((height, width), size, side)


def to_pixel_values(images: npt.NDArray[np.uint8]) -> Tensor:
    """Turn `(B, S, S, 3)` uint8 RGB into `(B, 3, S, S)` float32, `(x - 127) / 128` as the backbone was pre-trained."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float()
    return pixels.sub_(_MEAN).div_(_SCALE).contiguous(memory_format=torch.channels_last)
