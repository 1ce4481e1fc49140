"""From an image to what SAM and SAM 2 see; apart from the models, since exported ones see the same."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from glesam.errors import ImageError
from glesam.models.base import ImageGeometry

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

LOGIT_LIMIT = 32.0
"""SAM 2's authors cut low-resolution logits to this before they give them out; masks are made of the uncut ones."""


def check_image(image: npt.NDArray[np.uint8]) -> tuple[int, int]:
    """Return `(H, W)` of an `(H, W, 3)` uint8 array.

    Raises:
        ImageError: another shape or type, or no pixels.
    """
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or 0 in image.shape:
        raise ImageError(
            f"expected an (H, W, 3) uint8 RGB array, got {image.dtype} {image.shape}; read it with glesam.images"
        )
    return image.shape[0], image.shape[1]


def lay_into_square(image: npt.NDArray[np.uint8], side: int) -> tuple[Tensor, ImageGeometry]:
    """Resize the long side to `side`, normalise, and pad right and below with zeros, as SAM's authors do.

    Equal to transformers' `SamImageProcessorPil` bit for bit: Pillow's bilinear filter on uint8 (antialiased,
    rounded to uint8), sides `floor(side * S / long side + 0.5)`, ImageNet mean and deviation.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        side: `S`, pixels.

    Returns:
        `(1, 3, S, S)` float32 pixel values, and where the image lies in them.

    Raises:
        ImageError: another shape or type.
    """
    height, width = check_image(image)
    scale = side / max(height, width)
    # At least one pixel: the reference fails on images more than 2048 times as long as wide.
    size = (max(1, int(height * scale + 0.5)), max(1, int(width * scale + 0.5)))
    resized = np.asarray(Image.fromarray(image).resize(size[::-1], Image.Resampling.BILINEAR))
    square = np.zeros((3, side, side), np.float32)
    for channel, levels in enumerate(_normalised_levels()):
        square[channel, : size[0], : size[1]] = levels[resized[..., channel]]
    return torch.from_numpy(square)[None], ImageGeometry((height, width), size, side)


def squash_into_square(image: npt.NDArray[np.uint8], side: int) -> tuple[Tensor, ImageGeometry]:
    """Squash to S x S, whatever the aspect, and normalise, as the image predictor of SAM 2's authors does.

    That is: uint8 / 255 in float32, then bilinear with antialias on floats (half-pixel centres, triangle filter
    widened by the factor of reduction, no rounding to uint8 in between), then ImageNet mean and deviation.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        side: `S`, pixels.

    Returns:
        `(1, 3, S, S)` float32 pixel values, and where the image lies in them.

    Raises:
        ImageError: another shape or type.
    """
    geometry = ImageGeometry(check_image(image), (side, side), side, direct=True, limit=LOGIT_LIMIT)
    pixels = torch.from_numpy(image.copy()).permute(2, 0, 1)[None].float() / 255
    resized = F.interpolate(pixels, (side, side), mode="bilinear", align_corners=False, antialias=True)
    return _normalise(resized), geometry


def squash_frame(frame: npt.NDArray[np.uint8], side: int) -> Tensor:
    """The same for a frame of a clip: the authors' loader of frames resizes uint8 by Pillow's bicubic filter."""
    resized = np.asarray(Image.fromarray(frame).resize((side, side), Image.Resampling.BICUBIC))
    return _normalise(torch.from_numpy(resized.copy()).permute(2, 0, 1)[None].float() / 255)


def _normalised_levels() -> npt.NDArray[np.float32]:
    """`(3, 256)`: the normalised value of each grey level in each channel, rounded as the reference rounds it."""
    mean, std = (np.asarray(v, np.float32)[:, None] for v in (IMAGENET_MEAN, IMAGENET_STD))
    levels = (np.arange(256, dtype=np.float64) * (1 / 255)).astype(np.float32)
    return ((levels[None] - mean) / std).astype(np.float32)


def _normalise(pixels: Tensor) -> Tensor:
    """Take off ImageNet's mean and divide by its deviation."""
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    return (pixels - mean) / std
