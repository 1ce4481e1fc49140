"""Prompts drawn from masks for training: clicks, loose boxes, and both together.

Boxes are given as two corner points with the labels 2 and 3, which is how SAM's prompt encoder embeds them, so that one
batch can hold prompts of every kind.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from glesam.models.base import CORNER_LABELS, PADDING_LABEL

Bool = npt.NDArray[np.bool_]


def random_points(region: Bool, count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw `(count, 2)` points `(x, y)` uniformly from the pixels of a non-empty `(H, W)` region."""
    flat = np.flatnonzero(region)
    ys, xs = np.divmod(flat[rng.integers(0, len(flat), count)], region.shape[1])
    points: npt.NDArray[np.float32] = np.stack([xs, ys], axis=1).astype(np.float32)
    return points


def bounding_box(region: Bool) -> npt.NDArray[np.float32]:
    """Tight box `(x0, y0, x1, y1)` of a non-empty `(H, W)` region; x1 and y1 are the last pixels' far edges."""
    ys, xs = np.flatnonzero(region.any(axis=1)), np.flatnonzero(region.any(axis=0))
    box: npt.NDArray[np.float32] = np.array([xs[0], ys[0], xs[-1] + 1, ys[-1] + 1], np.float32)
    return box


def loosen_box(
    box: npt.NDArray[np.float32], ratio: float, shape: tuple[int, int], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Move each side by up to `ratio` of the box's width or height, within the picture, at least a pixel wide."""
    width, height = box[2] - box[0], box[3] - box[1]
    moved = box + rng.uniform(-ratio, ratio, 4).astype(np.float32) * np.array([width, height] * 2, np.float32)
    moved = np.clip(moved, 0, np.array([shape[1], shape[0]] * 2, np.float32))
    moved[2:] = np.maximum(moved[2:], moved[:2] + 1)
    loose: npt.NDArray[np.float32] = moved.astype(np.float32)
    return loose


def sample_prompt(
    region: Bool, ids: npt.NDArray[np.int32], slots: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Draw one training prompt for an object.

    Args:
        region: `(H, W)` the object, not empty.
        ids: `(H, W)` all objects, for clicks on neighbours.
        slots: number of points returned; unused ones have the padding label.
        rng: the only source of randomness.

    Returns:
        `(slots, 2)` coordinates and `(slots,)` labels: 1 inside, 0 outside, 2 and 3 box corners, -1 padding.
    """
    kind = rng.random()
    parts: list[tuple[npt.NDArray[np.float32], list[int]]] = []
    if kind < 0.4:
        ratio = 0.0 if rng.random() < 0.5 else float(rng.choice([0.05, 0.1, 0.2]))
        box = loosen_box(bounding_box(region), ratio, region.shape, rng)
        parts.append((box.reshape(2, 2), list(CORNER_LABELS)))
    if kind >= 0.35:
        count = int(rng.choice([1, 2, 3, 4, 6], p=[0.25, 0.15, 0.35, 0.15, 0.1]))
        parts.append((random_points(region, count, rng), [1] * count))
        if rng.random() < 0.2:
            around = _surroundings(region, ids, rng)
            if around.any():
                parts.append((random_points(around, 1, rng), [0]))
    coords = np.concatenate([c for c, _ in parts])[:slots]
    labels = [label for _, ls in parts for label in ls][:slots]
    points = np.zeros((slots, 2), np.float32)
    points[: len(coords)] = coords
    return points, np.array(labels + [PADDING_LABEL] * (slots - len(labels)), np.int64)


def _surroundings(region: Bool, ids: npt.NDArray[np.int32], rng: np.random.Generator) -> Bool:
    """Where a user would click "not this": a neighbour object, or a ring around the object."""
    others = (ids > 0) & ~region
    if others.any() and rng.random() < 0.5:
        return np.asarray(others, bool)
    reach = max(3, int(0.08 * max(region.shape)) | 1)
    grown = cv2.dilate(region.astype(np.uint8), np.ones((reach, reach), np.uint8)) > 0
    return np.asarray(grown & ~region, bool)
