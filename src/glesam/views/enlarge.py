"""From a low-resolution window of logits to a mask of the whole image, computing no pixel outside the mask's window.

Bilinear enlarging is linear and separable: `ImageGeometry.restore` is `Y @ logits @ X.T` with one thin matrix for each
axis. Taking rows of Y and X restores a window alone, which for a small mask of a large image is all there is.
"""

from __future__ import annotations

import math
from functools import cached_property

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.common.arrays import Bool, Float
from glesam.masks.obey import Clicks, Grey
from glesam.masks.refine import POLICY, Policy, Refiner
from glesam.masks.runs import Box, RunMask, union
from glesam.models.base import ImageGeometry

MARGIN = 2
"""Cells around a mask's box that its window must hold: a pixel is made from at most three neighbouring cells."""

BAND_PIXELS = 2**22
"""Pixels (16 MiB as float32) that are enlarged at once; a larger window is done in bands of columns."""

REFINED_PIXELS = 2**20
"""Pixels of a window that is refined at once; the filter holds about ten float arrays of it."""


class Enlarger:
    """Enlarges windows of `(h, w)` low-resolution logits of one view.

    Args:
        geometry: how the view lies in the model's square.
        low_size: `(h, w)` of the decoder's logits.
        size: `(H, W)` of the whole image.
        offset: `(x, y)` of the view's top left pixel in it.
        guide: grey values of the view, `(H, W)` uint8 or shrunk, to refine masks by; None cuts the logits at 0.
        policy: how masks are refined.
    """

    def __init__(
        self,
        geometry: ImageGeometry,
        low_size: tuple[int, int],
        size: tuple[int, int],
        offset: tuple[int, int],
        guide: Grey | None = None,
        policy: Policy = POLICY,
    ) -> None:
        self._geometry, self._low_size = geometry, low_size
        self._size, self._offset = size, offset
        self._guide, self._policy = guide, policy

    @cached_property
    def _axes(self) -> tuple[Float, Float]:
        """Matrices Y `(H, h)` and X `(W, w)`."""
        geometry = self._geometry
        rows, columns = (
            axis_weights(
                self._low_size[i],
                geometry.image_size,
                geometry.input_size[i],
                geometry.original_size[i],
                geometry.direct,
            )
            for i in (0, 1)
        )
        return rows, columns

    def enlarge(
        self,
        window: Float,
        corner: tuple[int, int],
        box: Box,
        clicks: Clicks | None = None,
        obeys: bool = True,
    ) -> RunMask:
        """Enlarge one mask and cut it at 0, or refine it.

        Args:
            window: logits of the box and of `MARGIN` cells around it, as far as there are cells.
            corner: `(x, y)` cell of the window's top left.
            box: the mask's box in cells.
            clicks: on the object, in pixels of the view; of use with a guide.
            obeys: whether clicks are to hold.
        """
        rows, columns = self._axes
        (left, above), (x0, y0, x1, y1) = corner, box
        ys, xs = _reach(rows, y0, y1), _reach(columns, x0, x1)
        part = rows[ys[0] : ys[1], above : above + window.shape[0]] @ window
        across = columns[:, left : left + window.shape[1]].T
        if self._guide is not None:
            rest = Refiner(self._guide, self._cell, (clicks,), self._policy, obeys)
            return self._refined(rest, part, across[:, xs[0] : xs[1]], (ys[0], xs[0]))
        step = max(1, BAND_PIXELS // max(1, ys[1] - ys[0]))
        dx, dy = self._offset
        bands = [
            RunMask.from_array(
                part @ across[:, start : min(start + step, xs[1])] > 0, self._size, start + dx, ys[0] + dy
            )
            for start in range(xs[0], xs[1], step)
        ]
        return bands[0] if len(bands) == 1 else union(bands)

    @property
    def _cell(self) -> float:
        """Pixels of the view to a cell of the logits."""
        geometry = self._geometry
        return geometry.image_size / self._low_size[0] * geometry.original_size[0] / geometry.input_size[0]

    def _refined(self, refiner: Refiner, part: Float, across: Float, corner: tuple[int, int]) -> RunMask:
        """Refine the product of two factors, a mask's logits; `corner` is its `(row, column)` in the view.

        A window larger than `REFINED_PIXELS` is refined in fewer pixels, of which its logits have many to a cell.
        """
        height, width = part.shape[0], across.shape[1]
        step = max(1, math.ceil(math.sqrt(height * width / REFINED_PIXELS)))
        window = slice(corner[0], corner[0] + height), slice(corner[1], corner[1] + width)
        near = refiner.within(window, self._geometry.original_size, step)
        mask = _spread(near.cut(part[::step] @ across[:, ::step], 0), (height, width), step)
        band = max(1, BAND_PIXELS // height)
        left, above = corner[1] + self._offset[0], corner[0] + self._offset[1]
        bands = [
            RunMask.from_array(mask[:, start : start + band], self._size, left + start, above)
            for start in range(0, width, band)
        ]
        return bands[0] if len(bands) == 1 else union(bands)


def _spread(mask: Bool, size: tuple[int, int], step: int) -> Bool:
    """A mask of every `step`th pixel at the size `(H, W)` of all, its edge interpolated between those pixels."""
    if step == 1:
        return mask
    flags, matrix = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, np.array([[1 / step, 0, 0], [0, 1 / step, 0]])
    values = mask.view(np.uint8) * np.uint8(255)
    grown = cv2.warpAffine(values, matrix, size[::-1], flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(grown > 127, bool)


def axis_weights(low: int, side: int, inside: int, length: int, direct: bool = False) -> Float:
    """What `ImageGeometry.restore` does along one axis, as a `(length, low)` matrix.

    Args:
        low: cells of the logits.
        side: pixels of the model's square.
        inside: pixels of the square that the image takes.
        length: pixels of the image.
        direct: without the way by the square.
    """
    cells = torch.eye(low)[None]
    square = cells if direct else F.interpolate(cells, side, mode="linear", align_corners=False)[..., :inside]
    restored = F.interpolate(square, length, mode="linear", align_corners=False)
    return np.ascontiguousarray(restored[0].T.numpy())


def _reach(weights: Float, low: int, high: int) -> tuple[int, int]:
    """Pixels that cells `low` to `high` have a part in; the pixels of other cells are outside the mask."""
    touched = np.flatnonzero(weights[:, low:high].any(axis=1))
    return (int(touched[0]), int(touched[-1]) + 1) if len(touched) else (0, 1)


def mask_boxes(logits: Tensor) -> Tensor:
    """Boxes `(M, 4)` int64 `(x0, y0, x1, y1)`, ends excluded, of `(M, h, w)` logits above 0; zeros if none is."""
    inside = logits > 0
    columns, rows = inside.any(dim=1), inside.any(dim=2)
    x0, y0 = columns.int().argmax(dim=1), rows.int().argmax(dim=1)
    x1 = columns.shape[1] - columns.flip(1).int().argmax(dim=1)
    y1 = rows.shape[1] - rows.flip(1).int().argmax(dim=1)
    boxes = inside.new_zeros((len(logits), 4), dtype=x0.dtype)
    found = columns.any(dim=1)
    for index, side in enumerate((x0, y0, x1, y1)):
        boxes[found, index] = side[found]
    return boxes


def boxes_inside(logits: Tensor, geometry: ImageGeometry) -> Tensor:
    """Boxes `(M, 4)` float32 `(x0, y0, x1, y1)`, in pixels of the square, of `(M, h, w)` logits above 0; zeros if none.

    Only what lies in the image counts: the compact model repeats its last row or column through the padding.
    """
    rows, columns = geometry.cells((logits.shape[1], logits.shape[2]))
    boxes = mask_boxes(logits[:, :rows, :columns]).to(torch.float32) * (geometry.image_size / logits.shape[2])
    height, width = geometry.input_size
    return boxes.minimum(boxes.new_tensor([width, height, width, height]))
