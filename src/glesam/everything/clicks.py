"""Clicks to candidates: decoded in chunks of one fixed size, filtered at low resolution, kept as small windows.

Floating-point results change in their last bits with the shape of a batch. So every chunk has the same size, the last
one filled up, and a click is always in the same place of the same chunk: the batch size decides how many chunks are
held before they are filtered, and nothing else.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from glesam.common.arrays import Float
from glesam.everything.options import Options
from glesam.masks.runs import Box
from glesam.models.base import PromptTensors
from glesam.views.enlarge import MARGIN, mask_boxes
from glesam.views.view import View

T = TypeVar("T")


class MemoryWarning(UserWarning):
    """Memory ran out, and the work continued with less of it."""


@dataclass(frozen=True)
class ClickMask:
    """A mask that passed the filters, at low resolution.

    Attributes:
        iou: predicted IoU.
        stability: stability score.
        point: `(x, y)` of its click in pixels of the view.
        box: of the mask, in cells of the low-resolution logits.
        window: logits of the box and `enlarge.MARGIN` cells around it.
        corner: `(x, y)` cell of the window's top left.
    """

    iou: float
    stability: float
    point: tuple[float, float]
    box: Box
    window: Float
    corner: tuple[int, int]


class PointDecoder:
    """Decodes the clicks of one view after the other; what it learns about memory holds for the next.

    Args:
        device: where the model is.
        options: thresholds and batch size.
        chunk: clicks decoded at once.

    Attributes:
        low_size: `(h, w)` of the last logits decoded.
    """

    def __init__(self, device: torch.device, options: Options, chunk: int) -> None:
        self._device, self._options, self._chunk = device, options, chunk
        self._batch = max(1, options.points_per_batch // chunk) * chunk
        self.low_size = (0, 0)

    @torch.inference_mode()
    def candidates(self, view: View, points: Float) -> list[ClickMask]:
        """Decode `(n, 2)` clicks in pixels of the view; three candidates each, filtered.

        Raises:
            MemoryError: there is too little memory for a single click; or torch's own error that says so.
        """
        return self.in_batches(points, lambda batch: self._filtered(view, batch))

    def in_batches(self, points: Float, work: Callable[[Float], list[T]]) -> list[T]:
        """What `work` makes of `(n, 2)` clicks, whole chunks at a time; fewer at a time where memory runs out.

        Raises:
            MemoryError: as `candidates`.
        """
        found: list[T] = []
        start = 0
        while start < len(points):
            try:
                found += work(points[start : start + self._batch])
            except (MemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error) or self._batch == 1:
                    raise
                self._halve()
                continue
            start += self._batch
        return found

    def _halve(self) -> None:
        """Go on with half the batch; below one chunk the chunk shrinks too."""
        self._batch = max(1, self._batch // 2)
        note = ""
        if self._batch < self._chunk:
            self._chunk = self._batch
            note = "; masks may differ by single pixels from those of larger batches"
        else:
            self._batch -= self._batch % self._chunk
        text = f"memory ran out, so {self._batch} points are decoded at once from now on{note}"
        warnings.warn(text, MemoryWarning, stacklevel=2)

    def _filtered(self, view: View, points: Float) -> list[ClickMask]:
        """Decode and filter one batch."""
        logits, ious = self.answers(view, points)
        owners = np.repeat(np.arange(len(points)), ious.shape[1])
        logits, ious = logits.flatten(0, 1), ious.flatten()
        self.low_size = (logits.shape[1], logits.shape[2])
        rows, columns = view.geometry.cells(self.low_size)
        return list(self._kept(logits[:, :rows, :columns], ious, points[owners]))

    def answers(self, view: View, points: Float) -> tuple[Tensor, Tensor]:
        """Decode `(n, 2)` clicks, chunk by chunk: `(n, C, h, w)` logits and `(n, C)` predicted IoU."""
        outputs = [self._decode(view, points[i : i + self._chunk]) for i in range(0, len(points), self._chunk)]
        logits, ious = (torch.cat(parts) for parts in zip(*outputs, strict=True))
        return logits, ious

    def _kept(self, logits: Tensor, ious: Tensor, points: Float) -> Iterator[ClickMask]:
        """Candidates that pass the filters, in order."""
        likely = torch.nonzero(ious >= self._options.pred_iou_thresh)[:, 0]
        logits, ious = logits[likely], ious[likely]
        stability = stability_scores(logits, self._options.stability_score_offset)
        boxes = mask_boxes(logits)
        stable = (stability >= self._options.stability_score_thresh) & (boxes[:, 2] > 0)
        clicks = points[likely.cpu().numpy()].tolist()
        rows = zip(ious.tolist(), stability.tolist(), boxes.tolist(), strict=True)
        for index, (iou, stable_share, (x0, y0, x1, y1)) in enumerate(rows):
            if stable[index]:
                left, above = max(0, x0 - MARGIN), max(0, y0 - MARGIN)
                window = logits[index, above : y1 + MARGIN, left : x1 + MARGIN].float().cpu().numpy().copy()
                x, y = clicks[index]
                yield ClickMask(iou, stable_share, (x, y), (x0, y0, x1, y1), window, (left, above))

    def _decode(self, view: View, points: Float) -> tuple[Tensor, Tensor]:
        """Decode one chunk, filled up to its size: `(n, C, h, w)` logits and `(n, C)` predicted IoU."""
        filled = np.concatenate([points, np.repeat(points[-1:], self._chunk - len(points), axis=0)])
        coords = view.geometry.to_input(torch.from_numpy(filled)).to(self._device)[None, :, None]
        labels = torch.ones(coords.shape[:3], dtype=torch.int64, device=coords.device)
        output = view.decode(PromptTensors(coords, labels), True)
        return output.low_res_logits[0, : len(points)], output.iou[0, : len(points)].float()


def _is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory ran out; torch raises a plain RuntimeError for that of the CPU."""
    if isinstance(error, (MemoryError, torch.cuda.OutOfMemoryError)):
        return True
    return "allocate memory" in str(error) or "out of memory" in str(error)


def point_grid(points_per_side: int, size: tuple[int, int]) -> npt.NDArray[np.float32]:
    """Spread clicks evenly over an image, each in the middle of its cell (SAM, ICCV 2023, appendix B).

    Args:
        points_per_side: n, clicks in each row and in each column.
        size: `(H, W)` of the image in pixels.

    Returns:
        `(n * n, 2)` float32 `(x, y)` in pixels, row by row from the top left.
    """
    height, width = size
    middles = (np.arange(points_per_side) + 0.5) / points_per_side
    xs, ys = np.meshgrid(middles * width, middles * height)
    return np.stack([xs.ravel(), ys.ravel()], axis=1).astype(np.float32)


def stability_scores(logits: Tensor, offset: float) -> Tensor:
    """How little a mask changes when its cut moves: IoU of the masks cut at `+offset` and at `-offset`.

    The higher cut lies within the lower one, so that the IoU is a ratio of areas (segment-anything's
    `calculate_stability_score`, here at the decoder's resolution).

    Args:
        logits: `(M, h, w)`, above 0 inside.
        offset: in logits, above 0.

    Returns:
        `(M,)` float64, 0 where even the lower cut leaves nothing.
    """
    inner = (logits > offset).flatten(1).sum(dim=1).double()
    outer = (logits > -offset).flatten(1).sum(dim=1).double()
    return inner / outer.clamp(min=1)
