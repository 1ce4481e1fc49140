"""Types of arrays that all rooms share; and large arrays taken in strips of rows, to save memory on the way."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt

Bool = npt.NDArray[np.bool_]
Float = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
Int = npt.NDArray[np.int64]
Ids = npt.NDArray[np.int32]
"""`(H, W)` int32: the object that a pixel belongs to, 0 for none."""

STRIP = 1 << 22
"""Values in a strip."""


def row_slices(array: npt.NDArray[Any], size: int = STRIP) -> Iterator[slice]:
    """Slices of an array's first axis, from its start to its end, of about `size` values each and a row at least."""
    step = max(1, size // max(1, array[:1].size))
    return (slice(start, min(start + step, len(array))) for start in range(0, len(array), step))


def value_counts(array: npt.NDArray[Any]) -> tuple[npt.NDArray[Any], npt.NDArray[np.int64]]:
    """The distinct values of an array, sorted, and how often each is there: `numpy.unique` without its copies."""
    parts = [np.unique(array[rows], return_counts=True) for rows in row_slices(array)]
    if not parts:
        return np.zeros(0, array.dtype), np.zeros(0, np.int64)
    values, place = np.unique(np.concatenate([part for part, _ in parts]), return_inverse=True)
    totals = np.zeros(len(values), np.int64)
    np.add.at(totals, place, np.concatenate([counts for _, counts in parts]))
    return values, totals
