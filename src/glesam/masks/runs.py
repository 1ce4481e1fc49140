"""A mask as runs along the columns of its image: small however large the image, exact, and quick to compare."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from glesam.common.arrays import Bool, Int

Box = tuple[int, int, int, int]
"""`(x0, y0, x1, y1)` in pixels, ends excluded."""


@dataclass(frozen=True, eq=False)
class RunMask:
    """A mask of an `(H, W)` image as M vertical runs, sorted by column, then row; runs of a column do not touch.

    Attributes:
        size: `(H, W)` of the image in pixels.
        x: `(M,)` int64, column of each run.
        top: `(M,)` int64, first row of each run.
        bottom: `(M,)` int64, the row after its last one.
    """

    size: tuple[int, int]
    x: Int
    top: Int
    bottom: Int

    @classmethod
    def from_array(cls, mask: Bool, size: tuple[int, int] | None = None, x0: int = 0, y0: int = 0) -> RunMask:
        """Take an `(h, w)` bool window whose top left pixel is `(x0, y0)` of an image of `size`."""
        framed = np.zeros((mask.shape[1], mask.shape[0] + 2), np.int8)
        framed[:, 1:-1] = mask.T
        steps = np.diff(framed, axis=1)
        x, top = np.nonzero(steps == 1)
        bottom = np.nonzero(steps == -1)[1]
        return cls(size or (mask.shape[0], mask.shape[1]), x + x0, top + y0, bottom + y0)

    @cached_property
    def area(self) -> int:
        """Number of pixels."""
        return int((self.bottom - self.top).sum())

    @cached_property
    def box(self) -> Box:
        """Edges of the pixels, zeros if empty."""
        if not len(self.x):
            return 0, 0, 0, 0
        return int(self.x[0]), int(self.top.min()), int(self.x[-1]) + 1, int(self.bottom.max())

    @property
    def _keys(self) -> tuple[Int, Int]:
        """Starts and ends on one axis that strings the columns together."""
        column = self.x * (self.size[0] + 1)
        return column + self.top, column + self.bottom

    def intersection(self, other: RunMask) -> int:
        """Number of pixels in both masks of one image."""
        if not len(self.x) or not len(other.x):
            return 0
        starts, ends = self._keys
        other_starts, other_ends = other._keys
        before = np.concatenate([[0], np.cumsum(other_ends - other_starts)])

        def covered(keys: Int) -> Int:
            last = np.searchsorted(other_starts, keys, side="right") - 1
            inside = np.minimum(keys, other_ends[last]) - other_starts[last]
            return np.where(last < 0, 0, before[last] + inside)

        return int((covered(ends) - covered(starts)).sum())

    def iou(self, other: RunMask) -> float:
        """Intersection over union; 0 for two empty masks."""
        common = self.intersection(other)
        whole = self.area + other.area - common
        return common / whole if whole else 0.0

    def clip(self, box: Box) -> RunMask:
        """Only what lies inside a box."""
        x0, y0, x1, y1 = box
        columns = slice(np.searchsorted(self.x, x0), np.searchsorted(self.x, x1))
        top, bottom = np.maximum(self.top[columns], y0), np.minimum(self.bottom[columns], y1)
        kept = top < bottom
        return RunMask(self.size, self.x[columns][kept], top[kept], bottom[kept])

    def select(self, kept: Bool) -> RunMask:
        """Only some runs, `(M,)` bool."""
        return RunMask(self.size, self.x[kept], self.top[kept], self.bottom[kept])

    def gaps(self) -> RunMask:
        """What the mask leaves free within its box."""
        x0, y0, x1, y1 = self.box
        columns = np.arange(x0, x1)
        x = np.concatenate([self.x, columns])
        starts, ends = np.concatenate([self.bottom, np.full(x1 - x0, y0)]), np.concatenate([self.top, columns * 0 + y1])
        # In each column the gaps lie between the sorted ends of one run and starts of the next.
        by_start, by_end = np.lexsort((starts, x)), np.lexsort((ends, x))
        x, top, bottom = x[by_start], starts[by_start], ends[by_end]
        kept = top < bottom
        return RunMask(self.size, x[kept], top[kept], bottom[kept])

    def to_array(self, box: Box | None = None) -> Bool:
        """Expand to `(H, W)` bool, or to the `(y1 - y0, x1 - x0)` window of a box."""
        x0, y0, x1, y1 = box or (0, 0, self.size[1], self.size[0])
        inside = self if box is None else self.clip(box)
        steps = np.zeros((x1 - x0, y1 - y0 + 1), np.int8)
        steps[inside.x - x0, inside.top - y0] = 1
        steps[inside.x - x0, inside.bottom - y0] = -1
        return np.ascontiguousarray(np.cumsum(steps, axis=1, dtype=np.int8)[:, :-1].T.astype(bool))

    def to_rle(self) -> Int:
        """Lengths of alternating runs over the whole image in column order, outside first (COCO's, uncompressed)."""
        height, width = self.size
        starts, ends = self.x * height + self.top, self.x * height + self.bottom
        # Runs that continue from the foot of a column to the head of the next are one.
        joined = np.flatnonzero(starts[1:] == ends[:-1])
        borders = np.stack([np.delete(starts, joined + 1), np.delete(ends, joined)], axis=1).ravel()
        edges = np.concatenate([[0], borders, [height * width]])
        runs = np.diff(edges)
        return runs[:-1] if len(borders) and not runs[-1] else runs


def union(masks: Sequence[RunMask] | Iterable[RunMask]) -> RunMask:
    """Everything that lies in any of at least one mask of one image."""
    parts = list(masks)
    size = parts[0].size
    keys = [part._keys for part in parts]
    starts, ends = (np.concatenate([pair[i] for pair in keys]) for i in (0, 1))
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order], np.maximum.accumulate(ends[order])
    # A column is followed by one free key, so that runs of different columns never touch.
    first = np.concatenate([[True], starts[1:] > ends[:-1]])[: len(starts)]
    last = np.concatenate([first[1:], [True]])[: len(starts)]
    x, top = np.divmod(starts[first], size[0] + 1)
    return RunMask(size, x, top, ends[last] - x * (size[0] + 1))
