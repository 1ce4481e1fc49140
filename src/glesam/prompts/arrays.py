"""Bringing the many ways to write points, labels, boxes and mask inputs to one: lists with one array per object.

Every function checks what it takes and raises `PromptError` with what was expected, what came and the cure.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Float, Int
from glesam.errors import PromptError

PADDING_LABEL = -1
"""Label of a padded point; the same number as in `glesam.models.base`, which cannot be imported without torch."""

Array = npt.NDArray[Any]


def point_lists(points: Any) -> tuple[list[Float], bool]:
    """Split points by object.

    Args:
        points: `(K, 2)`, `(N, K, 2)`, or a list of N lists of `(x, y)`, of any and different lengths.

    Returns:
        N arrays `(K_i, 2)` float32, and whether there was one object without an object axis.

    Raises:
        PromptError: another shape, no numbers, NaN, infinite or negative.
    """
    array = _regular(points, "points")
    if array is not None and array.ndim == 2 and array.shape[1] == 2 and len(array):
        return [_coordinates(array, "point")], True
    if array is not None and array.ndim == 3 and array.shape[2] == 2 and len(array):
        return [_coordinates(each, "point") for each in array], False
    if array is not None and array.size:
        raise PromptError(
            f"expected points of shape (K, 2) for one object or (N, K, 2) for N, got {array.shape}; "
            "write [[x, y], ...] or [[[x, y], ...], ...]"
        )
    return [_object_points(each, i) for i, each in enumerate(_items(points, "points"))], False


def _object_points(points: Any, index: int) -> Float:
    """Points of one object of a ragged list; an empty list or None is an object without points."""
    array = np.zeros(0) if points is None else _regular(points, f"points of object {index}")
    if array is not None and array.size == 0:
        return np.zeros((0, 2), np.float32)
    if array is None or array.ndim != 2 or array.shape[1] != 2:
        shape = "lists of different lengths" if array is None else f"shape {array.shape}"
        raise PromptError(f"expected points [[x, y], ...] for object {index}, got {shape}; give each point x and y")
    return _coordinates(array, "point")


def label_lists(labels: Any, points: list[Float], single: bool) -> list[Int]:
    """Split labels by object: `(K,)` beside points `(K, 2)`, `(N, K)` or a ragged list beside N objects; None is all 1.

    Raises:
        PromptError: a number of labels other than that of the points, or a label other than 1, 0 and -1 (padding).
    """
    rows = [None] * len(points) if labels is None else _label_rows(labels, single)
    arrays = [np.ones(len(p)) if r is None else r for p, r in zip(points, rows, strict=False)]
    expected = [len(each) for each in points]
    if len(rows) != len(points) or any(a.shape != (n,) for a, n in zip(arrays, expected, strict=True)):
        form = "[1, 0, ...]" if single else "[[1, 0, ...], ...], one list per object"
        raise PromptError(
            f"expected one label per point, {_counts(expected)}, got {_describe(labels)}; write labels as {form}"
        )
    return [_label_values(each) for each in arrays]


def _label_rows(labels: Any, single: bool) -> list[Array | None]:
    """Labels of each object, unchecked; None for an object whose labels are left out."""
    array = _regular(labels, "labels", "biuf") if single else None
    if array is not None:
        return [array[0] if array.ndim == 2 and len(array) == 1 else array]
    rows = _items(labels, "labels")
    return [None if r is None else _regular(r, f"labels of object {i}", "biuf") for i, r in enumerate(rows)]


def _label_values(labels: Array) -> Int:
    """Check the values of one object's labels."""
    wrong = [v for v in labels.tolist() if v not in (0, 1, PADDING_LABEL)]
    if wrong:
        raise PromptError(f"expected labels 1 (foreground) or 0 (background), got {wrong[0]}; use 1 or 0")
    return labels.astype(np.int64)


def pad(points: list[Float], labels: list[Int]) -> tuple[Float, Int]:
    """Stack ragged points: `(N, K, 2)` float32 and `(N, K)` int64, short rows filled with label -1 at (0, 0).

    Points that come labelled -1 are dropped first, so that K is the largest number of real points.
    """
    kept = [(p[v != PADDING_LABEL], v[v != PADDING_LABEL]) for p, v in zip(points, labels, strict=True)]
    longest = max(len(v) for _, v in kept)
    coords = np.zeros((len(kept), longest, 2), np.float32)
    values = np.full((len(kept), longest), PADDING_LABEL, np.int64)
    for i, (p, v) in enumerate(kept):
        coords[i, : len(v)], values[i, : len(v)] = p, v
    return coords, values


def box_rows(boxes: Any) -> Float:
    """Stack boxes to `(N, 4)` float32; an object without a box, given as None, is a row of NaN.

    Raises:
        PromptError: another shape, no numbers, NaN, infinite, or x1 <= x0 or y1 <= y0.
    """
    if isinstance(boxes, (list, tuple)) and any(b is None for b in boxes):
        rows = [np.full(4, np.nan, np.float32) if b is None else box_rows(b).reshape(-1) for b in boxes]
        if any(row.shape != (4,) for row in rows):
            raise PromptError("expected each box as [x0, y0, x1, y1] or None, got a list of boxes inside; flatten it")
        return np.stack(rows)
    array = _regular(boxes, "boxes")
    if array is None or array.ndim not in (1, 2) or array.shape[-1] != 4 or array.size == 0:
        got = _describe(boxes) if array is None else f"shape {array.shape}"
        raise PromptError(f"expected boxes of shape (4,) or (N, 4), got {got}; write [x0, y0, x1, y1] for each box")
    rows_ = _finite(array.reshape(-1, 4), "box")
    for row in rows_:
        if row[2] <= row[0] or row[3] <= row[1]:
            raise PromptError(
                f"expected a box x0, y0, x1, y1 with x1 > x0 and y1 > y0, got {numbers(row)}; give the top left corner "
                "first, then the bottom right (not width and height)"
            )
    return rows_


def mask_stack(mask_input: Any) -> Float:
    """Stack mask inputs to `(N, h, w)` float32.

    Raises:
        PromptError: another shape, not floating (logits are asked for, not a mask), NaN or infinite.
    """
    array = _regular(mask_input, "mask input", "biuf")
    if array is None or array.ndim not in (2, 3) or array.size == 0:
        got = "lists of different lengths" if array is None else f"shape {array.shape}"
        raise PromptError(
            f"expected a mask input of shape (h, w) or (N, h, w), got {got}; pass an earlier masks.logits"
        )
    if array.dtype.kind != "f":
        raise PromptError(f"expected a mask input of float logits, got {array.dtype}; pass an earlier masks.logits")
    return _finite(array.reshape(-1, *array.shape[-2:]), "mask input")


def numbers(values: Array) -> str:
    """Coordinates as short text, for messages."""
    return "(" + ", ".join(f"{v:g}" for v in values.tolist()) + ")"


def _coordinates(array: Array, what: str) -> Float:
    """Finite and not negative."""
    coords = _finite(array, what)
    if (coords < 0).any():
        first = coords[(coords < 0).any(axis=1)][0]
        raise PromptError(f"expected a {what} (x, y) inside the image, got {numbers(first)}; pixels count from 0, 0")
    return coords


def _finite(array: Array, what: str) -> Float:
    """Cast to float32, in which everything must be finite."""
    with np.errstate(over="ignore"):
        values = array.astype(np.float32)
    if not np.isfinite(values).all():
        bad = values[~np.isfinite(values)][0]
        raise PromptError(f"expected finite numbers for each {what}, got {bad}; check how it was computed")
    return values


def _regular(values: Any, what: str, kinds: str = "iuf") -> Array | None:
    """As an array of real numbers, from lists, arrays or tensors; None when lists differ in length."""
    if hasattr(values, "detach"):
        values = values.detach().cpu()
        values = values.float() if values.is_floating_point() else values
    try:
        array = np.asarray(values)
    except ValueError:
        return None
    if array.dtype.kind not in kinds:
        raise PromptError(f"expected numbers for {what}, got {_describe(values)}; give int or float")
    return array


def _items(values: Any, what: str) -> list[Any]:
    """As a list that is not empty."""
    if not isinstance(values, (list, tuple)) and not getattr(values, "shape", ()):
        raise PromptError(f"expected a list or an array of {what}, got {_describe(values)}; write it as a list")
    if len(values) == 0:
        raise PromptError(f"expected at least one of {what}, got an empty list; leave {what} out if there are none")
    return list(values)


def _describe(values: Any) -> str:
    """Shape, or else a short text, of what came."""
    shape = getattr(values, "shape", None)
    if shape is not None:
        return f"shape {tuple(shape)}"
    text = " ".join(repr(values).split())
    return text if len(text) <= 60 else text[:57] + "..."


def _counts(expected: list[int]) -> str:
    """Numbers of points as text."""
    return f"{expected[0]} in all" if len(expected) == 1 else f"{expected} for {len(expected)} objects"
