"""Prompts drawn from masks for training: clicks, loose boxes, and both together.

Boxes are given as two corner points with the labels 2 and 3, which is how SAM's prompt encoder embeds them, so that one
batch can hold prompts of every kind.
"""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Bool
from glesam.models.base import CORNER_LABELS, PADDING_LABEL
from glesam.prompts.drawn import tight_box


def random_points(region: Bool, count: int, rng: np.random.Generator) -> npt.NDArray[np.float32]:
    """Draw `(count, 2)` points `(x, y)` uniformly from the pixels of a non-empty `(H, W)` region."""
    flat = np.flatnonzero(region)
    ys, xs = np.divmod(flat[rng.integers(0, len(flat), count)], region.shape[1])
    points: npt.NDArray[np.float32] = np.stack([xs, ys], axis=1).astype(np.float32)
    return points


def centre_point(region: Bool) -> npt.NDArray[np.float32]:
    """The `(1, 2)` point `(x, y)` of a non-empty `(H, W)` region farthest from its edge and the image's."""
    padded = np.pad(region, 1).astype(np.uint8)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return np.array([[x, y]], np.float32)


def start_prompt(
    region: Bool, slots: int, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Draw how a user begins with an object: a box (three in ten), or one click, half of them at its centre.

    Args:
        region: `(H, W)` the object, not empty.
        slots: number of points returned, two at least.
        rng: the only source of randomness.

    Returns:
        As `sample_prompt`.
    """
    points, labels = np.zeros((slots, 2), np.float32), np.full(slots, PADDING_LABEL, np.int64)
    if rng.random() < 0.3:
        ratio = float(rng.choice([0.0, 0.05, 0.1]))
        points[:2] = loosen_box(tight_box(region), ratio, region.shape, rng).reshape(2, 2)
        labels[:2] = CORNER_LABELS
    else:
        points[:1] = centre_point(region) if rng.random() < 0.5 else random_points(region, 1, rng)
        labels[0] = 1
    return points, labels


def loosen_box(
    box: npt.NDArray[np.float32], ratio: float, shape: tuple[int, int], rng: np.random.Generator
) -> npt.NDArray[np.float32]:
    """Move each side by up to `ratio` of the box's width or height, within the image, at least a pixel wide."""
    width, height = box[2] - box[0], box[3] - box[1]
    moved = box + rng.uniform(-ratio, ratio, 4).astype(np.float32) * np.array([width, height] * 2, np.float32)
    moved = np.clip(moved, 0, np.array([shape[1], shape[0]] * 2, np.float32))
    moved[2:] = np.maximum(moved[2:], moved[:2] + 1)
    loose: npt.NDArray[np.float32] = moved.astype(np.float32)
    return loose


def sample_prompt(
    region: Bool, ids: npt.NDArray[np.int32], slots: int, rng: np.random.Generator, centre: float = 0.0
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Draw one training prompt for an object.

    Args:
        region: `(H, W)` the object, not empty.
        ids: `(H, W)` all objects, for clicks on neighbours.
        slots: number of points returned; unused ones have the padding label.
        rng: the only source of randomness.
        centre: chance that a click without others is at the object's centre.

    Returns:
        `(slots, 2)` coordinates and `(slots,)` labels: 1 inside, 0 outside, 2 and 3 box corners, -1 padding.
    """
    kind = rng.random()
    parts: list[tuple[npt.NDArray[np.float32], list[int]]] = []
    if kind < 0.4:
        ratio = 0.0 if rng.random() < 0.5 else float(rng.choice([0.05, 0.1, 0.2]))
        box = loosen_box(tight_box(region), ratio, region.shape, rng)
        parts.append((box.reshape(2, 2), list(CORNER_LABELS)))
    if kind >= 0.35:
        count = int(rng.choice([1, 2, 3, 4, 6], p=[0.25, 0.15, 0.35, 0.15, 0.1]))
        at_centre = count == 1 and centre > 0 and rng.random() < centre
        parts.append((centre_point(region) if at_centre else random_points(region, count, rng), [1] * count))
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
