"""Corrective clicks as the interactive field counts them: each at the centre of the largest error, until it fits.

The rule is that of RITM (Sofiiuk et al., "Reviving Iterative Training with Mask Guidance", ICIP 2022; its `Clicker`):
the next click lies where the distance to the edge of the error is largest, over missed and over wrong pixels; it is
positive for a missed one. Pixels that were clicked are not clicked again, and the image's edge is an edge of errors.
From the second click on the model gets its own logits of the last answer as mask input.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Bool
from glesam.errors import DataError
from glesam.evaluate.measure.model_specs import PredictorLike


class Click(NamedTuple):
    """A click: `(x, y)` in pixels, and 1 for foreground or 0 for background."""

    x: int
    y: int
    label: int


def next_click(mask: Bool, truth: Bool, clicks: Sequence[Click] = ()) -> Click | None:
    """Where an annotator clicks next.

    Args:
        mask: `(H, W)` bool, the answer so far.
        truth: `(H, W)` bool.
        clicks: made before.

    Returns:
        The click; None where every wrong pixel was clicked, or none is wrong.

    Raises:
        DataError: sizes differ.
    """
    if mask.shape != truth.shape:
        raise DataError(f"expected two masks of one size, got {mask.shape} and {truth.shape}; resize one of them")
    missed, wrong = (_depth(error, clicks) for error in (truth & ~mask, mask & ~truth))
    label = int(missed.max() > wrong.max())
    depth = missed if label else wrong
    if not depth.max() > 0:
        return None
    y, x = np.unravel_index(int(depth.argmax()), depth.shape)
    return Click(int(x), int(y), label)


def _depth(error: Bool, clicks: Sequence[Click]) -> npt.NDArray[np.float32]:
    """Distance of each pixel of an error to its edge, 0 where it was clicked."""
    depth = cv2.distanceTransform(np.pad(error, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    for click in clicks:
        depth[click.y, click.x] = 0
    return np.asarray(depth, np.float32)


class Round(NamedTuple):
    """One round for N objects.

    Attributes:
        masks: `(N, H, W)` bool.
        scores: `(N,)` float32, predicted IoU.
        clicks: the N clicks that were added; None for an object that needed no more.
        seconds: of the prediction.
    """

    masks: Bool
    scores: npt.NDArray[np.float32]
    clicks: list[Click | None]
    seconds: float


def rounds(predictor: PredictorLike, truths: Sequence[Bool], count: int) -> Iterator[Round]:
    """Click on N objects of the current image, `count` times each; each round as soon as it is done, and not kept.

    An object whose every pixel is right keeps its mask for the rest.

    Args:
        predictor: with its image set.
        truths: `(H, W)` bool each, at least one pixel.
        count: clicks an object.
    """
    made: list[list[Click]] = [[] for _ in truths]
    masks = np.zeros((len(truths), *truths[0].shape), bool)
    scores, logits = np.zeros(len(truths), np.float32), None
    for _ in range(count):
        added = [next_click(masks[i], truth, made[i]) for i, truth in enumerate(truths)]
        busy = [i for i, click in enumerate(added) if click is not None]
        for i in busy:
            made[i].append(added[i])  # type: ignore[arg-type]
        begin = time.perf_counter()
        if busy:
            answer = predictor.predict(**_arguments([made[i] for i in busy], None if logits is None else logits[busy]))
            masks, scores = masks.copy(), scores.copy()
            logits = np.zeros((len(truths), *answer.logits.shape[1:]), np.float32) if logits is None else logits
            masks[busy], scores[busy], logits[busy] = answer.masks, answer.scores, answer.logits
        yield Round(masks, scores, added, time.perf_counter() - begin)


def _arguments(clicks: list[list[Click]], logits: npt.NDArray[np.float32] | None) -> dict[str, Any]:
    """Arguments of `predict` for objects with as many clicks each."""
    points = np.array([[(c.x, c.y) for c in each] for each in clicks], np.float32)
    labels = np.array([[c.label for c in each] for each in clicks], np.int64)
    return {"points": points, "labels": labels, **({} if logits is None else {"mask_input": logits})}


def clicks_needed(ious: Sequence[float], target: float) -> int:
    """Number of clicks until an IoU is reached (NoC): the first of `ious`, by click, that does.

    As in the field's tables, an object that never reaches it counts with the most clicks that were tried.
    """
    return next((index for index, value in enumerate(ious, 1) if value >= target), len(ious))


def obeyed(masks: Bool, clicks: Sequence[Click | None]) -> list[bool]:
    """Whether the masks, `(N, H, W)`, hold each of N clicks: a positive one is inside, a negative one is not."""
    pairs = zip(masks, clicks, strict=True)
    return [bool(mask[click.y, click.x]) == bool(click.label) for mask, click in pairs if click is not None]
