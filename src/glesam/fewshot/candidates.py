"""Masks that may be of the wanted kind: answers to clicks all over the image and to what a map of likeness suggests."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Bool, Float
from glesam.fewshot.proposals import lattice, peaks, region_boxes, window_boxes
from glesam.masks.agreement import mask_iou
from glesam.masks.masks import Masks
from glesam.prompts.prompts import Prompts

Ask = Callable[[Prompts, bool], Masks]
"""Answers prompts on the image; the second argument asks for three candidates each."""

MOST_PEAKS, MOST_LATTICE, MOST_REGIONS, MOST_WINDOWS = 12, 20, 16, 16
"""Prompts of each kind at most."""

GRID = 12
"""Rows and columns of clicks all over the image: of heaped things the map misses some, and shows others as one."""

_AT_ONCE = 16
"""Prompts whose masks are held at the image's size before they are sifted."""

_LEAST_PIXELS = 16
_SAME = 0.8


@dataclass(frozen=True, eq=False)
class Candidate:
    """A mask of the decoder.

    Attributes:
        packed: its bits, `numpy.packbits` of the `(H, W)` mask: a byte a pixel would fill memory on large images.
        size: `(H, W)`.
        small: `(h, w)` bool, the mask on a coarse grid.
        share: `(rows, columns)` float32, share of each cell of the map that the mask covers.
        prompt: `(4,)` what gave it, in pixels of the image: a box, or a point as a box without extent.
        choice: which of the prompt's candidates it is.
        predicted_iou: what the decoder thinks of it.
        contrast: mean of the map inside, minus that around it.
    """

    packed: npt.NDArray[np.uint8]
    size: tuple[int, int]
    small: Bool
    share: Float
    prompt: Float
    choice: int
    predicted_iou: float
    contrast: float

    @property
    def mask(self) -> Bool:
        """`(H, W)` bool."""
        height, width = self.size
        return np.unpackbits(self.packed, count=height * width).reshape(height, width).astype(bool)


def propose(ask: Ask, values: Float, sizes: Sequence[tuple[float, float]], size: tuple[int, int]) -> list[Candidate]:
    """Masks from clicks all over the image and from all prompts that a map suggests, in no order.

    Args:
        ask: the predictor that has the image.
        values: `(h, w)` map, about 1 on things like the wanted and about 0 elsewhere.
        sizes: `(width, height)` of the wanted objects in cells of the map.
        size: `(H, W)` of the image.
    """
    found: list[Candidate] = []
    for prompts, masks, ious in _answers(ask, values, sizes, size):
        for index, (mask, iou) in enumerate(zip(masks, ious, strict=True)):
            prompt, choice = divmod(index, len(masks) // len(prompts))
            if mask.sum() >= _LEAST_PIXELS:
                found.append(_candidate(mask, float(iou), values, prompts[prompt], choice))
    return found


def distinct(candidates: Sequence[Candidate], most: int) -> list[Candidate]:
    """The first candidates, without those that nearly are an earlier one."""
    kept: list[Candidate] = []
    for each in candidates:
        if len(kept) == most:
            break
        if all(mask_iou(each.small, other.small) <= _SAME for other in kept):
            kept.append(each)
    return kept


def _answers(
    ask: Ask, values: Float, sizes: Sequence[tuple[float, float]], size: tuple[int, int]
) -> Iterator[tuple[Float, Bool, Float]]:
    """A few prompts `(p, 4)` at a time: these, their masks `(n, H, W)` and predicted IoU `(n,)`."""
    scale = np.array([size[1] / values.shape[1], size[0] / values.shape[0]], np.float32)
    points = np.concatenate([_grid(values.shape), peaks(values, MOST_PEAKS)])
    points = np.concatenate([points, lattice(values, points, _step(sizes), MOST_LATTICE)]) * scale
    for start in range(0, len(points), _AT_ONCE):
        part = points[start : start + _AT_ONCE]
        answer = ask(Prompts(part[:, None]), True)
        if answer.candidates is not None and answer.candidate_scores is not None:
            yield np.tile(part, 2), answer.candidates.reshape(-1, *size), answer.candidate_scores.reshape(-1)
    boxes = np.concatenate([region_boxes(values, MOST_REGIONS), window_boxes(values, sizes, MOST_WINDOWS)])
    boxes = boxes * np.tile(scale, 2)
    for start in range(0, len(boxes), _AT_ONCE):
        part = boxes[start : start + _AT_ONCE]
        answer = ask(Prompts(boxes=part), False)
        yield part, answer.masks, answer.scores


def _grid(shape: tuple[int, ...]) -> Float:
    """Places `(x, y)` all over a map, in its cells."""
    places = (np.arange(GRID, dtype=np.float32) + 0.5) / GRID
    grid = np.stack(np.meshgrid(places * shape[1], places * shape[0]), axis=-1)
    return np.asarray(grid.reshape(-1, 2), np.float32)


def _step(sizes: Sequence[tuple[float, float]]) -> int:
    """Cells from one click of the lattice to the next: most things get one or two."""
    return max(2, round(0.6 * float(np.median([min(pair) for pair in sizes])))) if sizes else 2


def _candidate(mask: Bool, predicted_iou: float, values: Float, prompt: Float, choice: int) -> Candidate:
    height, width = mask.shape
    # Twice the map's own resolution is fine enough for means.
    size = (min(width, 2 * values.shape[1]), min(height, 2 * values.shape[0]))
    likeness = np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR))
    share = np.asarray(cv2.resize(mask.astype(np.float32), size, interpolation=cv2.INTER_AREA))
    cells = np.asarray(cv2.resize(share, values.shape[::-1], interpolation=cv2.INTER_AREA), np.float32)
    contrast = _contrast(share, likeness)
    return Candidate(np.packbits(mask), (height, width), share > 0.5, cells, prompt, choice, predicted_iou, contrast)


def _contrast(share: Float, likeness: Float) -> float:
    """Mean of the map inside a mask minus the mean in a ring of about as many pixels around it.

    Args:
        share: how much of each cell the mask covers.
        likeness: the map.
    """
    inside = float(share.sum())
    radius = max(1, round(0.2 * np.sqrt(inside)))
    grown = np.asarray(cv2.dilate((share > 0).astype(np.uint8), np.ones((2 * radius + 1, 2 * radius + 1))), np.float32)
    ring = grown * (share == 0)
    around = float((likeness * ring).sum() / ring.sum()) if ring.any() else 0.0
    return float((likeness * share).sum() / inside) - around
