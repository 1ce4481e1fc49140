"""Finding in an image what looks like the references: map, prompts, masks, a close look at each, one for each thing."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt

from glesam.fewshot.discriminant import Float
from glesam.fewshot.features import Backbone, Bool, ImageFeatures
from glesam.fewshot.proposals import peaks, region_boxes, window_boxes
from glesam.fewshot.references import DEFAULT_THRESHOLD, References, best_threshold, looks_of
from glesam.images.pixels import RGB
from glesam.masks.masks import Masks
from glesam.prompts.prompts import Prompts

Ask = Callable[[Prompts, bool], Masks]
"""Answers prompts on the image; the second argument asks for three candidates each."""

MOST_PEAKS, MOST_REGIONS, MOST_WINDOWS = 12, 16, 16
"""Prompts of each kind at most."""

MOST_LOOKS = 24
"""Candidates that are looked at from near; each costs the backbone on a small image."""

_HIT = 0.5
"""IoU from which on an object counts as found."""

_MOST_SHIFT = 0.1
_LEAST_PIXELS = 16
_SAME_CANDIDATE = 0.8
_SAME_OBJECT = 0.4
_INSIDE = 0.7
"""Share of the smaller of two masks inside the larger from which on one is taken for a part of the other."""


@dataclass(frozen=True, eq=False)
class Match:
    """Something found.

    Attributes:
        mask: `(H, W)` bool.
        score: likeness to the nearest reference, at most 1.
        predicted_iou: what the mask decoder thinks of its mask.
        contrast: mean of the map inside the mask, minus that around it.
    """

    mask: Bool
    score: float
    predicted_iou: float
    contrast: float


def find(ask: Ask, backbone: Backbone, image: RGB, features: ImageFeatures, references: References) -> list[Match]:
    """All that may be of the references' kind, best first, whatever their threshold.

    Args:
        ask: the predictor that has the image.
        backbone: frozen ImageNet backbone.
        image: `(H, W, 3)` uint8 RGB.
        features: of the image.
        references: what to find.
    """
    values = references.map(features)
    masks, ious = _candidates(ask, values, references.sizes(features.cells), image.shape[:2])
    contrasts = _contrasts(masks, values)
    order = np.argsort(-(contrasts + 0.5 * ious), kind="stable")
    chosen = _distinct(masks, order[contrasts[order] > 0])[:MOST_LOOKS]
    if not chosen:
        return []
    scores = references.similarity(looks_of(backbone, image, features, [masks[i] for i in chosen]))
    # Parts look like their whole; the whole stands out more from what is around it.
    rank = scores + 0.25 * np.minimum(contrasts[chosen], 1)
    matches = [
        Match(masks[index], float(score), float(ious[index]), float(contrasts[index]))
        for index, score in zip(chosen, scores, strict=True)
    ]
    kept = _apart([matches[i] for i in np.argsort(-rank, kind="stable")])
    return sorted(kept, key=lambda match: -match.score)


def _candidates(ask: Ask, values: Float, sizes: list[tuple[float, float]], size: tuple[int, int]) -> tuple[Bool, Float]:
    """Masks `(n, H, W)` and predicted IoU `(n,)` from all prompts that the map suggests."""
    scale = np.array([size[1] / values.shape[1], size[0] / values.shape[0]], np.float32)
    points = peaks(values, MOST_PEAKS) * scale
    boxes = np.concatenate([region_boxes(values, MOST_REGIONS), window_boxes(values, sizes, MOST_WINDOWS)])
    masks, ious = [np.zeros((0, *size), bool)], [np.zeros(0, np.float32)]
    if len(points):
        answer = ask(Prompts(points[:, None]), True)
        if answer.candidates is not None and answer.candidate_scores is not None:
            masks.append(answer.candidates.reshape(-1, *size))
            ious.append(answer.candidate_scores.reshape(-1))
    if len(boxes):
        answer = ask(Prompts(boxes=boxes * np.tile(scale, 2)), False)
        masks.append(answer.masks)
        ious.append(answer.scores)
    found, scores = np.concatenate(masks), np.concatenate(ious)
    large = found.sum(axis=(1, 2)) >= _LEAST_PIXELS
    return found[large], scores[large]


def _contrasts(masks: Bool, values: Float) -> Float:
    """Mean of the map inside each mask minus the mean in a ring of about as many pixels around it."""
    if not len(masks):
        return np.zeros(0, np.float32)
    height, width = masks.shape[1:]
    # Twice the map's own resolution is fine enough for means.
    size = (min(width, 2 * values.shape[1]), min(height, 2 * values.shape[0]))
    likeness = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR))
    return np.array([_contrast(_shrunk(mask, size), likeness) for mask in masks], np.float32)


def _shrunk(mask: Bool, size: tuple[int, int]) -> Float:
    return np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA))


def _contrast(share: Float, likeness: Float) -> float:
    """Contrast of one mask, given as the share of each cell that it covers."""
    inside = float(share.sum())
    radius = max(1, round(0.2 * np.sqrt(inside)))
    grown = np.asarray(cv2.dilate((share > 0).astype(np.uint8), np.ones((2 * radius + 1, 2 * radius + 1))), np.float32)
    ring = grown * (share == 0)
    around = float((likeness * ring).sum() / ring.sum()) if ring.any() else 0.0
    return float((likeness * share).sum() / inside) - around


def _distinct(masks: Bool, order: npt.NDArray[np.int64]) -> list[int]:
    """Indices in order, without those whose mask is nearly that of an earlier one."""
    kept: list[int] = []
    for index in order.tolist():
        if all(mask_iou(masks[index], masks[other]) <= _SAME_CANDIDATE for other in kept):
            kept.append(index)
    return kept


def _apart(matches: list[Match]) -> list[Match]:
    """Matches in order, without those that share an earlier one's object, are a part of it, or have it as a part."""
    kept: list[Match] = []
    for match in matches:
        if not any(_same_object(match.mask, other.mask) for other in kept):
            kept.append(match)
    return kept


def _same_object(one: Bool, other: Bool) -> bool:
    common = np.count_nonzero(one & other)
    least = min(np.count_nonzero(one), np.count_nonzero(other))
    return bool(common > _INSIDE * least) or mask_iou(one, other) > _SAME_OBJECT


def mask_iou(one: Bool, other: Bool) -> float:
    """IoU of two masks; 0 for two empty ones."""
    whole = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / whole if whole else 0.0


def with_threshold(asks: Sequence[Ask], backbone: Backbone, references: References) -> References:
    """Choose the threshold by leaving out one example image at a time and finding its objects by the others.

    It stays within `_MOST_SHIFT` of the default: a few examples cannot say more. One image alone keeps the default.

    Args:
        asks: predictors that have the images of the positive references, in their order.
        backbone: frozen ImageNet backbone.
        references: all examples.
    """
    if len(references.positives) < 2:
        return references
    scores: list[float] = []
    truths: list[bool] = []
    objects = 0
    for index, (ask, item) in enumerate(zip(asks, references.positives, strict=True)):
        objects += len(item.masks)
        for match in find(ask, backbone, item.image, item.features, references.without(index)):
            scores.append(match.score)
            truths.append(any(mask_iou(match.mask, mask) >= _HIT for mask in item.masks))
    best = best_threshold(scores, truths, objects)
    if best is None:
        return references
    low, high = DEFAULT_THRESHOLD - _MOST_SHIFT, DEFAULT_THRESHOLD + _MOST_SHIFT
    return replace(references, threshold=min(max(best, low), high))


def to_masks(found: Sequence[Match], size: tuple[int, int], name: str | None, info: dict[str, Any]) -> Masks:
    """Matches as the one result type, likeness as score; see `Predictor.find_like`."""
    masks = np.stack([match.mask for match in found]) if found else np.zeros((0, *size), bool)
    scores = np.array([match.score for match in found], np.float32)
    facts = {**info["find_like"], "predicted_iou": [round(match.predicted_iou, 4) for match in found]}
    return Masks(masks, scores, name=name, info={**info, "find_like": facts})
