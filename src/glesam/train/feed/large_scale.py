"""Views for heads: large-scale jitter, and mask prompts with noise where masks are fine (HQ-SAM, Ke et al., 2023)."""

from __future__ import annotations

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.common.arrays import Ids
from glesam.images.pixels import RGB
from glesam.images.shrink import resize_ids

PADDING_GREY = 127
SMALLER = 8
"""A mask is fine where it differs from itself made so many times smaller and large again."""


def large_scale_view(
    image: RGB, mask: Ids, size: int, scale: tuple[float, float], rng: np.random.Generator
) -> tuple[RGB, Ids]:
    """Flip, resize and place an image in a square (large-scale jitter, Ghiasi et al., CVPR 2021).

    Args:
        image: `(H, W, 3)` uint8.
        mask: `(H, W)` object ids.
        size: side of the view in pixels.
        scale: range of the long side relative to the view's; 1 is its size at inference. What is larger is cropped at a
            random place, what is smaller lies top left as at inference and is padded with grey.
        rng: the only source of randomness.
    """
    if rng.random() < 0.5:
        image, mask = np.ascontiguousarray(image[:, ::-1]), np.ascontiguousarray(mask[:, ::-1])
    factor = size * float(rng.uniform(*scale)) / max(mask.shape)
    height, width = (max(1, round(side * factor)) for side in mask.shape)
    method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
    image = np.asarray(cv2.resize(image, (width, height), interpolation=method), np.uint8)
    ids = resize_ids(mask, (height, width))
    y, x = (int(rng.integers(0, max(side - size, 0) + 1)) for side in (height, width))
    image, ids = image[y : y + size, x : x + size], ids[y : y + size, x : x + size]
    room = ((0, size - ids.shape[0]), (0, size - ids.shape[1]))
    return np.pad(image, (*room, (0, 0)), constant_values=PADDING_GREY), np.pad(ids, room)


def noisy_mask(masks: Tensor) -> Tensor:
    """Add Gaussian noise of deviation 1 where masks are fine, and cut at a half; from torch's global generator.

    Args:
        masks: `(..., h, w)` in 0..1, sides multiples of `SMALLER`.

    Returns:
        `(..., h, w)`, 0 or 1: as the masks but along edges and in thin parts, where it is a bad first guess.
    """
    flat = masks.reshape(-1, 1, *masks.shape[-2:])
    small = [side // SMALLER for side in masks.shape[-2:]]
    coarse = F.interpolate(flat, small, mode="bilinear", align_corners=False)
    coarse = F.interpolate(coarse, masks.shape[-2:], mode="bilinear", align_corners=False)
    fine = (flat - coarse).abs() >= 0.01
    return ((flat + torch.randn_like(flat) * fine) > 0.5).to(masks.dtype).reshape(masks.shape)
