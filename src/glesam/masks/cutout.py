"""Cut-outs: objects on a transparent ground, with hard edges, or with soft ones that follow the image's."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from glesam.common.boxes import pixel_box
from glesam.draw.overlay import matching
from glesam.errors import DataError, PromptError
from glesam.images.pixels import RGB
from glesam.images.reading import ImageInput
from glesam.masks.refine import guided_filter

if TYPE_CHECKING:
    from glesam.masks.masks import Masks

_RADIUS_SHARE = 0.025
"""Radius of the filter as a share of the root of the mask's area."""

_EPS = 1e-4
"""Variance of grey values (0 to 1) below which a place counts as smooth."""


def soft_alpha(image: RGB, mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Opacity of each pixel, by the guided filter (He, Sun and Tang, TPAMI 2013) of a mask.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        mask: `(H, W)` bool.

    Returns:
        `(H, W)` float32, 0 to 1; 1 deep inside, 0 far outside.

    Raises:
        PromptError: another size than the image's.
    """
    if mask.shape != image.shape[:2]:
        raise PromptError(f"expected a mask of the image's {image.shape[:2]}, got {mask.shape}; resize it")
    radius = max(2, round(_RADIUS_SHARE * float(np.count_nonzero(mask)) ** 0.5))
    grey = np.asarray(cv2.cvtColor(np.ascontiguousarray(image), cv2.COLOR_RGB2GRAY) / 255, np.float32)
    soft = np.clip(guided_filter(grey, mask.astype(np.float32), radius, _EPS), 0, 1)
    window = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    inside = np.asarray(cv2.erode(mask.astype(np.uint8), window, borderValue=1)) > 0
    outside = np.asarray(cv2.dilate(mask.astype(np.uint8), window)) == 0
    return np.asarray(np.where(inside, 1, np.where(outside, 0, soft)), np.float32)


def soft_cutout(image: RGB, mask: npt.NDArray[np.bool_]) -> Image.Image:
    """The object with soft edges: RGBA of the image's size.

    Raises:
        PromptError: as `soft_alpha`.
    """
    return _on_clear(image, np.rint(255 * soft_alpha(image, mask)).astype(np.uint8))


def cutout(
    masks: Masks, image: ImageInput, index: int | None = 0, soft: bool = False, crop: bool = False
) -> Image.Image:
    """See `glesam.masks.masks.Masks.cutout`."""
    if index is not None and not 0 <= index < len(masks):
        raise DataError(f"expected the index of one of {len(masks)} masks, got {index}; the first is 0, None is all")
    pixels = matching(masks, image)
    mask = masks.to_labels() > 0 if index is None else masks.mask(index)
    cut = soft_cutout(pixels, mask) if soft else _on_clear(pixels, mask.astype(np.uint8) * 255)
    box = pixel_box(np.asarray(cut)[..., 3] > 0) if crop else None
    return cut if box is None else cut.crop(box)


def _on_clear(image: RGB, alpha: npt.NDArray[np.uint8]) -> Image.Image:
    """RGBA; what is cut away must not survive as hidden colours in the file."""
    return Image.fromarray(np.dstack([image * (alpha > 0)[..., None], alpha]).astype(np.uint8))
