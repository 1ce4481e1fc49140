"""Heat maps as prompts: attention, gaze, anomaly scores, anything that is higher where the object is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from glesam.common.arrays import Float
from glesam.errors import PromptError
from glesam.prompts.prompts import Prompts

if TYPE_CHECKING:
    from glesam.masks.masks import Masks


_GRID = 64
"""Cells of the longer side that a map is brought to: k-means on every pixel of a large one brings nothing."""

_SAME = 0.8


def heat_prompts(values: Float, size: tuple[int, int], regions: int) -> Prompts:
    """Prompts at a heat map's peaks, each with the box of its region.

    Args:
        values: `(h, w)` of any range.
        size: `(H, W)` of the image that it is laid over.
        regions: at most.

    Raises:
        PromptError: not a finite map, or a flat one.
    """
    from glesam.text.pseudo_prompts import pseudo_prompts

    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise PromptError(f"expected a heat map (h, w) of finite numbers, got shape {values.shape}; give one channel")
    span = float(values.max() - values.min())
    if span == 0:
        raise PromptError("expected a heat map that is higher somewhere, got a flat one; nothing is pointed at")
    small = _small((values - values.min()) / span)
    # At this temperature, half the probability of the peak is half of its height.
    found = pseudo_prompts(small, regions, share=0.5, temperature=0.5 / float(np.log(2)))
    scale = np.array([size[1] / small.shape[1], size[0] / small.shape[0]], np.float32)
    return Prompts(points=(found.points * scale)[:, None], boxes=found.boxes * np.tile(scale, 2))


def without_duplicates(masks: Masks) -> Masks:
    """Leave out masks that nearly are an earlier one, and empty ones."""
    kept: list[int] = []
    for index, mask in enumerate(masks.masks):
        same = [np.count_nonzero(mask & masks.masks[i]) > _SAME * np.count_nonzero(mask | masks.masks[i]) for i in kept]
        if mask.any() and not any(same):
            kept.append(index)
    return replace(masks, masks=masks.masks[kept], scores=masks.scores[kept], logits=masks.logits[kept])


def _small(values: Float) -> Float:
    """At most `_GRID` cells a side, by area."""
    import cv2

    height, width = values.shape
    scale = min(1.0, _GRID / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)
