"""From a low-resolution window of logits to a mask of the whole picture, computing no pixel outside the mask's window.

Bilinear enlarging is linear and separable: `ImageGeometry.restore` is `Y @ logits @ X.T` with one thin matrix for each
axis. Taking rows of Y and X restores a window alone, which for a small mask of a large picture is all there is.
"""

from __future__ import annotations

from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F

from glesam.masks.runs import Box, RunMask, union
from glesam.models.base import ImageGeometry

Float = npt.NDArray[np.float32]

MARGIN = 2
"""Cells around a mask's box that its window must hold: a pixel is made from at most three neighbouring cells."""

BAND_PIXELS = 2**22
"""Pixels (16 MiB as float32) that are enlarged at once; a larger window is done in bands of columns."""


class Enlarger:
    """Enlarges windows of `(h, w)` low-resolution logits of one view.

    Args:
        geometry: how the view lies in the model's square.
        low_size: `(h, w)` of the decoder's logits.
        size: `(H, W)` of the whole picture.
        offset: `(x, y)` of the view's top left pixel in it.
    """

    def __init__(
        self, geometry: ImageGeometry, low_size: tuple[int, int], size: tuple[int, int], offset: tuple[int, int]
    ) -> None:
        self._geometry, self._low_size = geometry, low_size
        self._size, self._offset = size, offset

    @cached_property
    def _axes(self) -> tuple[Float, Float]:
        """Matrices Y `(H, h)` and X `(W, w)`."""
        geometry = self._geometry
        rows, columns = (
            axis_weights(self._low_size[i], geometry.image_size, geometry.input_size[i], geometry.original_size[i])
            for i in (0, 1)
        )
        return rows, columns

    def enlarge(self, window: Float, corner: tuple[int, int], box: Box) -> RunMask:
        """Enlarge one mask and cut it at 0.

        Args:
            window: logits of the box and of `MARGIN` cells around it, as far as there are cells.
            corner: `(x, y)` cell of the window's top left.
            box: the mask's box in cells.
        """
        rows, columns = self._axes
        (left, above), (x0, y0, x1, y1) = corner, box
        ys, xs = _reach(rows, y0, y1), _reach(columns, x0, x1)
        part = rows[ys[0] : ys[1], above : above + window.shape[0]] @ window
        across = columns[:, left : left + window.shape[1]].T
        step = max(1, BAND_PIXELS // max(1, ys[1] - ys[0]))
        dx, dy = self._offset
        bands = [
            RunMask.from_array(
                part @ across[:, start : min(start + step, xs[1])] > 0, self._size, start + dx, ys[0] + dy
            )
            for start in range(xs[0], xs[1], step)
        ]
        return bands[0] if len(bands) == 1 else union(bands)


def axis_weights(low: int, side: int, inside: int, length: int) -> Float:
    """What `ImageGeometry.restore` does along one axis, as a `(length, low)` matrix.

    Args:
        low: cells of the logits.
        side: pixels of the model's square.
        inside: pixels of the square that the picture takes.
        length: pixels of the picture.
    """
    cells = torch.eye(low)[None]
    square = F.interpolate(cells, side, mode="linear", align_corners=False)[..., :inside]
    restored = F.interpolate(square, length, mode="linear", align_corners=False)
    return np.ascontiguousarray(restored[0].T.numpy())


def _reach(weights: Float, low: int, high: int) -> tuple[int, int]:
    """Pixels that cells `low` to `high` have a part in; the pixels of other cells are outside the mask."""
    touched = np.flatnonzero(weights[:, low:high].any(axis=1))
    return (int(touched[0]), int(touched[-1]) + 1) if len(touched) else (0, 1)
