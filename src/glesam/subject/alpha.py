"""A soft cut-out: the mask's edge follows the image's, with in-between values where hair or blur is."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from glesam.errors import PromptError
from glesam.images.pixels import RGB
from glesam.masks.refine import guided_filter

_RADIUS_SHARE = 0.06
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
    alpha = np.rint(255 * soft_alpha(image, mask)).astype(np.uint8)
    # What is cut away must not survive as hidden colours in the file.
    return Image.fromarray(np.dstack([image * (alpha > 0)[..., None], alpha]).astype(np.uint8))
