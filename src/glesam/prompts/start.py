"""Prompts from a mask that is nearly right: its outline as logits, its box, and the place deepest inside it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from glesam.common.arrays import Bool, Float
from glesam.common.boxes import pixel_box
from glesam.errors import PromptError
from glesam.prompts.prompts import MASK_STRIDE, Prompts

if TYPE_CHECKING:
    from glesam.masks.masks import Masks
    from glesam.models.base import ImageGeometry


_MOST = 8.0
"""Logit of what is surely inside: within the range of a model's own answers."""

_SLOPE = 2.0
"""Logits for each cell of distance from the outline."""


def mask_logits(masks: Bool, geometry: ImageGeometry) -> Float:
    """Masks in the form of a model's own earlier answer.

    Args:
        masks: `(N, H, W)` bool at the image's size.
        geometry: how the image lies in the model's square.

    Returns:
        `(N, S / 4, S / 4)` float32: distance from the outline, positive inside; padding is outside.
    """
    side = geometry.image_size // MASK_STRIDE
    height, width = geometry.input_size
    logits = np.empty((len(masks), side, side), np.float32)
    for index, mask in enumerate(masks):
        square = np.zeros((geometry.image_size, geometry.image_size), np.float32)
        square[:height, :width] = cv2.resize(mask.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
        logits[index] = _signed(np.asarray(cv2.resize(square, (side, side), interpolation=cv2.INTER_AREA), np.float32))
    return logits


def _signed(share: Float) -> Float:
    """Signed distance in cells, sloped and cut."""
    inside = share > 0.5
    if not inside.any():
        inside = share == share.max()  # smaller than half a cell
    depth = distance_transform_edt(np.pad(inside, 1))[1:-1, 1:-1]
    outside = distance_transform_edt(~inside) if not inside.all() else 0.0
    return np.asarray(np.clip(_SLOPE * (depth - outside), -_MOST, _MOST), np.float32)


def start_prompts(masks: Bool, geometry: ImageGeometry) -> Prompts:
    """Prompts for the objects of masks to be corrected.

    Args:
        masks: `(N, H, W)` bool at the image's size.
        geometry: how the image lies in the model's square.

    Returns:
        N objects, each with logits, the box of its mask and the point deepest inside.

    Raises:
        PromptError: another size than the image's, or a mask without a pixel.
    """
    height, width = geometry.original_size
    if masks.ndim != 3 or masks.shape[1:] != (height, width):
        raise PromptError(
            f"expected start masks of the image's {width}x{height} pixels, got shape {masks.shape}; resize them"
        )
    if not len(masks) or not masks.any(axis=(1, 2)).all():
        raise PromptError("expected start masks with an object in each, got an empty one; leave it out")
    points = [[_deepest(mask)] for mask in masks]
    return Prompts(points=points, boxes=[pixel_box(mask) for mask in masks], mask_input=mask_logits(masks, geometry))


def kept_to_start(answer: Masks, start: Bool, given: Float, least: float) -> Masks:
    """Put the start back where an answer has an IoU below `least` with it; `info["start_kept"]` says where.

    Args:
        answer: N masks.
        start: `(N, H, W)` bool.
        given: `(N, h, w)` logits of the start, which a later correction goes on from where it was put back.
        least: 0 takes every answer.
    """
    common = (answer.masks & start).sum(axis=(1, 2))
    whole = (answer.masks | start).sum(axis=(1, 2))
    strays = common < least * whole
    masks = np.where(strays[:, None, None], start, answer.masks)
    logits = np.where(strays[:, None, None], given, answer.logits).astype(np.float32)
    kept = [int(index) for index in np.flatnonzero(strays)]
    return replace(answer, masks=masks, logits=logits, info={**answer.info, "start_kept": kept})


def _deepest(mask: Bool) -> tuple[float, float]:
    """`(x, y)` of the pixel farthest from the outside; the image's edge counts as outside."""
    depth = distance_transform_edt(np.pad(mask, 1))[1:-1, 1:-1]
    row, column = np.unravel_index(int(depth.argmax()), mask.shape)
    return float(column) + 0.5, float(row) + 0.5
