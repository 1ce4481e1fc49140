"""Finding in an image what looks like the references: many masks, a close look at the promising, one for each thing.

What a look is worth is learned from the references: the decoder is asked about them too, and its masks there, whose
truth is known, separate the wanted from everything else (Fisher's discriminant in closed form, nothing is trained).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
from torch import Tensor

from glesam.common.arrays import Bool, Float
from glesam.fewshot.candidates import Ask, Candidate, distinct, propose
from glesam.fewshot.features import Backbone, ImageFeatures
from glesam.fewshot.references import DEFAULT_THRESHOLD, Reference, References, best_threshold, looks_of
from glesam.images.pixels import RGB
from glesam.masks.agreement import mask_iou
from glesam.masks.masks import Masks

MOST_LOOKS = 24
"""Candidates that are looked at from near; each costs the backbone on a small image."""

_TRUST = 0.1
"""Weight of the predicted IoU beside what a candidate promises."""

_DOUBT = 0.3
"""Power of the predicted IoU that likeness is multiplied by: masks that are not of one thing look like it too."""

_HIT = 0.5
"""IoU from which on an object counts as found."""

_MOST_SEEN = 96
"""Different candidates of a reference image at most."""

_ALIKE, _OTHER = 0.6, 0.35
"""IoU with a marked object from which on a reference's candidate shows the kind, and below which something else."""

_MOST_SHIFT = 0.25
_SAME_OBJECT = 0.4
_INSIDE = 0.7
"""Share of the smaller of two masks inside the larger from which on one is taken for a part of the other."""


@dataclass(frozen=True, eq=False)
class Match:
    """Something found.

    Attributes:
        mask: `(H, W)` bool.
        score: likeness to the references times a power of the predicted IoU, 0 to 1.
        predicted_iou: what the mask decoder thinks of its mask.
        contrast: mean of the map inside the mask, minus that around it.
        prompt: `(4,)` what gave it, in pixels of the image that was searched: a box, or a point without extent.
        choice: which of the prompt's candidates it is.
    """

    mask: Bool
    score: float
    predicted_iou: float
    contrast: float
    prompt: Float
    choice: int


def find(ask: Ask, backbone: Backbone, image: RGB, features: ImageFeatures, references: References) -> list[Match]:
    """All that may be of the references' kind, best first, whatever their threshold.

    Args:
        ask: the predictor that has the image.
        backbone: frozen ImageNet backbone.
        image: `(H, W, 3)` uint8 RGB.
        features: of the image.
        references: what to find, see `learned`.
    """
    chosen = distinct(_candidates(ask, image, features, references), MOST_LOOKS)
    if not chosen:
        return []
    return _matches(chosen, references.likeness(looks_of(backbone, image, features, [each.mask for each in chosen])))


def _candidates(ask: Ask, image: RGB, features: ImageFeatures, references: References) -> list[Candidate]:
    """Masks of an image, the most promising first."""
    found = propose(ask, references.map(features), references.sizes(features.cells), image.shape[:2])
    if not found:
        return []
    promise = references.promise(features.inside([each.share for each in found]))
    rank = promise + _TRUST * np.array([each.predicted_iou for each in found], np.float32)
    return [found[i] for i in np.argsort(-rank, kind="stable")]


def _matches(candidates: Sequence[Candidate], scores: Float) -> list[Match]:
    """One match for each thing, best first."""
    sure = np.clip([each.predicted_iou for each in candidates], 0, 1).astype(np.float32)
    # Parts look like their whole; the whole stands out more from what is around it, and the decoder is surer of it.
    rank = scores + 0.25 * np.minimum([each.contrast for each in candidates], 1) + 0.5 * sure
    scores = scores * sure**_DOUBT
    matches = [
        Match(each.mask, float(score), each.predicted_iou, each.contrast, each.prompt, each.choice)
        for each, score in zip(candidates, scores, strict=True)
    ]
    kept = _apart([matches[i] for i in np.argsort(-rank, kind="stable")])
    return sorted(kept, key=lambda match: -match.score)


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


@dataclass(frozen=True, eq=False)
class _Seen:
    """Candidates of a reference image, their looks `(n, D)`, and the largest IoU of each with a marked object.

    A search would look at the first `searched` of them.
    """

    candidates: list[Candidate]
    looks: Tensor
    truth: npt.NDArray[np.float64]
    searched: int


def learned(asks: Sequence[Ask], backbone: Backbone, references: References) -> References:
    """Learn from the masks that the decoder makes in the reference images; choose the threshold by leaving one out.

    Each image is searched by means of the others, as a new image would be. The threshold is that of the best F1 over
    all of them, each judged by what the others taught, and stays within `_MOST_SHIFT` of the default: a few examples
    cannot say more. One image alone keeps the default.

    Args:
        asks: predictors that have the images of the positive references, in their order.
        backbone: frozen ImageNet backbone.
        references: all examples.
    """
    seen = [_seen(ask, backbone, references, i) for i, ask in enumerate(asks)]
    taught = {id(item): _taught(item, each) for item, each in zip(references.positives, seen, strict=True)}
    known = replace(references, items=tuple(taught.get(id(item), item) for item in references.items))
    return replace(known, threshold=_threshold(known, seen))


def _seen(ask: Ask, backbone: Backbone, references: References, index: int) -> _Seen:
    item = references.positives[index]
    others = references.without(index) if len(references.positives) > 1 else references
    ranked = distinct(_candidates(ask, item.image, item.features, others), _MOST_SEEN)
    # The favourites, as a search would see them, and some of the rest.
    found = [*ranked[:MOST_LOOKS], *ranked[MOST_LOOKS::2]][: 2 * MOST_LOOKS]
    masks = [each.mask for each in found]
    truth = np.array([max(mask_iou(mask, marked) for marked in item.masks) for mask in masks])
    looks = looks_of(backbone, item.image, item.features, masks) if masks else item.looks[:0]
    return _Seen(found, looks, truth, min(MOST_LOOKS, len(found)))


def _taught(item: Reference, seen: _Seen) -> Reference:
    """A reference with the looks of what the decoder made of it."""
    return replace(item, alike=seen.looks[seen.truth > _ALIKE], others=seen.looks[seen.truth < _OTHER])


def _threshold(references: References, seen: Sequence[_Seen]) -> float:
    """The threshold that leaving one image out suggests, near the default."""
    if len(references.positives) < 2:
        return references.threshold
    scores: list[float] = []
    truths: list[bool] = []
    for index, (item, each) in enumerate(zip(references.positives, seen, strict=True)):
        if not each.searched:
            continue
        likeness = references.without(index).likeness(each.looks[: each.searched])
        found = _matches(each.candidates[: each.searched], likeness)
        scores += [match.score for match in found]
        truths += [any(mask_iou(match.mask, mask) >= _HIT for mask in item.masks) for match in found]
    best = best_threshold(scores, truths, sum(len(item.masks) for item in references.positives))
    if best is None:
        return references.threshold
    low, high = DEFAULT_THRESHOLD - _MOST_SHIFT, DEFAULT_THRESHOLD + _MOST_SHIFT
    return float(min(max(best, low), high))


def to_masks(found: Sequence[Match], size: tuple[int, int], name: str | None, info: dict[str, Any]) -> Masks:
    """Matches as the one result type, likeness as score; see `Predictor.find_like`."""
    masks = np.stack([match.mask for match in found]) if found else np.zeros((0, *size), bool)
    scores = np.array([match.score for match in found], np.float32)
    facts = {**info["find_like"], "predicted_iou": [round(match.predicted_iou, 4) for match in found]}
    return Masks(masks, scores, name=name, info={**info, "find_like": facts})
