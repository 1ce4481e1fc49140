"""Heat maps as prompts: attention, gaze, anomaly scores, anything that is higher where the object is.

A bump does not say at which height its object ends. So each peak is asked about in several ways, and the answer that
the map agrees with best is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from glesam.common.arrays import Bool, Float
from glesam.errors import PromptError
from glesam.prompts.prompts import Prompts

if TYPE_CHECKING:
    from glesam.masks.masks import Masks


_GRID = 64
"""Cells of the longer side that a map is brought to: k-means on every pixel of a large one brings nothing."""

_LOW = 0.3
"""Share of a peak's height down to which the wider boxes go: smooth bumps are lower than half at an object's border."""

_SAME = 0.8


@dataclass(frozen=True, eq=False)
class HeatPrompts:
    """What a heat map asks about.

    Attributes:
        ways: prompts for the same R peaks, the highest first: point and box at half height, box alone at half height
            and lower, point and box lower.
        own: `(R, h, w)` float32 of 0 to 1, for each peak the map where it is the nearest one.
    """

    ways: tuple[Prompts, ...]
    own: Float


def heat_prompts(values: Float, size: tuple[int, int], regions: int) -> HeatPrompts:
    """Prompts at a heat map's peaks, with boxes of their regions.

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
    own = _own(small, found.points)
    low = np.stack([_box_around(part, point) for part, point in zip(own, found.points, strict=True)])
    scale = np.array([size[1] / small.shape[1], size[0] / small.shape[0]], np.float32)
    points = (found.points * scale)[:, None]
    boxes, wide = (each * np.tile(scale, 2) for each in (found.boxes, low))
    asked = (Prompts(points=points, boxes=boxes), Prompts(boxes=boxes), Prompts(boxes=wide))
    return HeatPrompts((*asked, Prompts(points=points, boxes=wide)), own)


def best_by_map(answers: Sequence[Masks], own: Float) -> Masks:
    """Of several answers for each peak the mask that correlates most with the peak's own map.

    For a round bump on an object this is the mask that ends where the bump is about a third of its height.

    Args:
        answers: one for each of `HeatPrompts.ways`, R masks each.
        own: see `HeatPrompts`.
    """
    fits = np.array([[_correlation(*pair) for pair in zip(each.masks, own, strict=True)] for each in answers])
    chosen = [answers[way][peak] for peak, way in enumerate(fits.argmax(axis=0).tolist())]
    nearer = [peak for peak, each in enumerate(chosen) if each.info.get("looked_nearer")]
    facts = {key: value for key, value in answers[0].info.items() if key != "looked_nearer"}
    return replace(
        answers[0],
        masks=np.concatenate([each.masks for each in chosen]),
        scores=np.concatenate([each.scores for each in chosen]),
        logits=np.concatenate([each.logits for each in chosen]),
        info=facts | ({"looked_nearer": nearer} if nearer else {}),
    )


def without_duplicates(masks: Masks) -> Masks:
    """Leave out masks that nearly are an earlier one, and empty ones."""
    kept: list[int] = []
    for index, mask in enumerate(masks.masks):
        same = [np.count_nonzero(mask & masks.masks[i]) > _SAME * np.count_nonzero(mask | masks.masks[i]) for i in kept]
        if mask.any() and not any(same):
            kept.append(index)
    return masks[kept]


def _small(values: Float) -> Float:
    """At most `_GRID` cells a side, by area."""
    import cv2

    height, width = values.shape
    scale = min(1.0, _GRID / max(height, width))
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_AREA), np.float32)


def _own(values: Float, points: Float) -> Float:
    """`(R, h, w)`: the map where each of `(R, 2)` points is the nearest, 0 elsewhere."""
    rows, columns = np.mgrid[: values.shape[0], : values.shape[1]] + 0.5
    nearest = np.stack([np.hypot(columns - x, rows - y) for x, y in points]).argmin(axis=0)
    return np.stack([np.where(nearest == index, values, 0) for index in range(len(points))]).astype(np.float32)


def _box_around(values: Float, point: Float) -> Float:
    """Box `(x0, y0, x1, y1)` in cells of the region above `_LOW` of the peak's height that the peak is in."""
    import cv2

    column, row = (int(value) for value in point)
    above = (values > _LOW * values[row, column]).astype(np.uint8)
    _, owner, stats, _ = cv2.connectedComponentsWithStats(above, connectivity=8)
    x, y, width, height, _ = stats[owner[row, column]].tolist()
    return np.array([x, y, x + width, y + height], np.float32)


def _correlation(mask: Bool, values: Float) -> float:
    """Pearson's correlation of a mask `(H, W)` and a map `(h, w)` over the map's cells; -1 where one is flat."""
    import cv2

    share = cv2.resize(mask.astype(np.float32), values.shape[::-1], interpolation=cv2.INTER_AREA)
    if np.ptp(share) == 0 or np.ptp(values) == 0:
        return -1.0
    return float(np.corrcoef(share.ravel(), values.ravel())[0, 1])
