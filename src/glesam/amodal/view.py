"""How an object is looked at to complete its mask: a square around it, in which it always has the same size."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import cv2
import numpy as np

from glesam.common.arrays import Bool, Float, row_slices
from glesam.common.boxes import pixel_box
from glesam.images.pixels import RGB

CELL = 4
"""Pixels of a view that a cell of its maps is wide."""

REACH = 2.0
"""Side of the view in sides of the visible part's box: how far the whole object may reach beyond it."""

_GREY = 127


class Axis(NamedTuple):
    """Where an image lies in a view along one axis.

    Attributes:
        image: the image's pixels in the view.
        view: the view's pixels that they are brought to; the others lie outside the image.
    """

    image: slice
    view: slice

    @classmethod
    def of(cls, start: int, span: int, size: int, side: int) -> Axis:
        """The axis of a view of `side` pixels that shows `span` pixels from `start` on of an image's `size`."""
        first, last = min(max(0, start), size - 1), max(min(size, start + span), 1)
        left, right = (round((end - start) * side / span) for end in (first, last))
        left = min(max(0, left), side - 1)
        return cls(slice(first, last), slice(left, min(max(right, left + 1), side)))

    def cells(self) -> tuple[np.ndarray, np.ndarray, Float]:
        """For each of the image's pixels the two cells between whose centres its own lies, and the second one's share.

        Cells before the first and past the last are these again.
        """
        count = self.image.stop - self.image.start
        place = (np.arange(count) + 0.5) * (self.view.stop - self.view.start) / count + self.view.start
        place = place / CELL - 0.5
        before = np.floor(place).astype(np.int64)
        return before, before + 1, (place - before).astype(np.float32)


@dataclass(frozen=True, eq=False)
class ObjectView:
    """A square part of an image around an object, brought to one size.

    Attributes:
        pixels: `(S, S, 3)` uint8 RGB, grey outside the image.
        visible: `(S/4, S/4)` float32, share of each cell that the object's visible part covers.
        inside: `(S/4, S/4)` float32, share of each cell that lies in the image.
        rows: where the image lies from top to bottom.
        columns: where it lies from left to right.
    """

    pixels: RGB
    visible: Float
    inside: Float
    rows: Axis
    columns: Axis

    def shares(self, mask: Bool) -> Float:
        """`(S/4, S/4)` float32: share of each cell that an `(H, W)` mask of the image covers."""
        values = mask[self.rows.image, self.columns.image].astype(np.uint8) * np.uint8(255)
        cells = len(self.pixels) // CELL
        means = self._placed(values, 0).reshape(cells, CELL, cells, CELL).mean(axis=(1, 3), dtype=np.float32)
        return np.asarray(means / 255, np.float32)

    def above(self, values: Float, size: tuple[int, int]) -> Bool:
        """Where a map of the view is above 0 in the image, bilinear between its cells.

        Args:
            values: `(S/4, S/4)` float32.
            size: `(H, W)` of the image.

        Returns:
            `(H, W)` bool; false outside the view.
        """
        found, last = np.zeros(size, bool), len(values) - 1
        part = found[self.rows.image, self.columns.image]
        (top, bottom, down), (left, right, across) = self.rows.cells(), self.columns.cells()
        wide = values[:, left.clip(0, last)] * (1 - across) + values[:, right.clip(0, last)] * across
        for some in row_slices(part):
            share = down[some, None]
            part[some] = wide[top[some].clip(0, last)] * (1 - share) + wide[bottom[some].clip(0, last)] * share > 0
        return found

    def _placed(self, part: RGB, outside: int) -> RGB:
        """The image's part in the view, brought to its size, in a view of one value."""
        canvas = np.full((*self.pixels.shape[:2], *part.shape[2:]), outside, np.uint8)
        target = canvas[self.rows.view, self.columns.view]
        shrinks = target.shape[0] < part.shape[0]
        size = (target.shape[1], target.shape[0])
        target[:] = cv2.resize(part, size, interpolation=cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR)
        return canvas


def look_at(image: RGB, mask: Bool, side: int, reach: float = REACH) -> ObjectView:
    """Look at the object of a mask.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        mask: `(H, W)` bool, its visible part; not empty.
        side: S, of the view in pixels.
        reach: side of the square in longer sides of the mask's box.
    """
    x0, y0, x1, y1 = np.array(pixel_box(mask)).tolist()
    span = max(2, round(reach * max(x1 - x0, y1 - y0)))
    rows = Axis.of(round((y0 + y1 - span) / 2), span, mask.shape[0], side)
    columns = Axis.of(round((x0 + x1 - span) / 2), span, mask.shape[1], side)
    empty = np.zeros((side // CELL,) * 2, np.float32)
    view = ObjectView(np.zeros((side, side, 3), np.uint8), empty, empty, rows, columns)
    pixels = view._placed(image[rows.image, columns.image], _GREY)
    return replace(view, pixels=pixels, visible=view.shares(mask), inside=view.shares(np.ones_like(mask)))
