"""Prompted segmentation of big images: each object is looked at in a window of its own, which grows with it."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from glesam.errors import PromptError
from glesam.masks.obey import Clicks, clicks_of
from glesam.masks.refine import DEGRADED, POLICY
from glesam.masks.runs import Box, RunMask
from glesam.masks.sparse import SparseMasks
from glesam.prompts.prompts import Prompts
from glesam.views.crops import is_cut
from glesam.views.enlarge import MARGIN, Enlarger, mask_boxes
from glesam.views.view import Look, View

ROOM = 1.5
"""Side of a window as a multiple of its prompts' or its mask's side: context that masks of images are trained with."""

ScoredMask = tuple[RunMask, float]
"""A mask and its predicted IoU."""
KEPT_VIEWS = 2
"""Windows whose embeddings are kept: prompts of neighbouring objects often fall into the same one."""


class WindowPredictor:
    """Answers prompts on a big image.

    Args:
        device: where the model is.
        size: `(H, W)` of the image.
        look: gives the view of a box of the image.
        tile: least side of a window in pixels.
        multimask: predict three candidates and take the best.
        obey: clicks hold, where masks are refined.
    """

    def __init__(
        self,
        device: torch.device,
        size: tuple[int, int],
        look: Look,
        tile: int,
        multimask: bool,
        obey: bool = True,
    ) -> None:
        self._device, self._size, self._tile, self._multimask = device, size, tile, multimask
        self._obey = obey
        self._look = lru_cache(maxsize=KEPT_VIEWS)(look)
        self.enhanced = False

    def predict(self, prompts: Prompts) -> SparseMasks:
        """Segment N objects whose prompts fit the image; `enhanced` tells afterwards whether any window was enhanced.

        Raises:
            PromptError: prompts with a mask input, which has no place in a window.
        """
        if prompts.mask_input is not None:
            raise PromptError(
                "expected points or boxes for windows of an image, got a mask input; leave it out, or leave tile out"
            )
        found: list[tuple[list[ScoredMask], Box]] = [([(_empty(self._size), 0.0)], (0, 0, 0, 0))] * len(prompts)
        for indices, group in prompts.groups():
            for place, index in enumerate(indices.tolist()):
                found[index] = self._object(group.select([place]))
        details = [{"crop_box": [x0, y0, x1 - x0, y1 - y0]} for _, (x0, y0, x1, y1) in found]
        best = [max(candidates, key=lambda each: each[1]) for candidates, _ in found]
        masks, scores = [mask for mask, _ in best], [score for _, score in best]
        every = [candidates for candidates, _ in found] if self._multimask else None
        return SparseMasks(masks, scores, self._size, details, candidates=every)

    def _object(self, prompt: Prompts) -> tuple[list[ScoredMask], Box]:
        """Candidates for one object; while an inner edge of the window cuts the best, look at one twice as large."""
        frame, side = _frame(prompt), self._tile
        while True:
            window = window_around(frame, side, self._size)
            candidates = self._decode(prompt, window)
            mask = max(candidates, key=lambda each: each[1])[0]
            whole = (window[2] - window[0], window[3] - window[1]) == self._size[::-1]
            if whole or not is_cut(mask.box, window, self._size):
                return candidates, window
            x0, y0, x1, y1 = mask.box
            frame = (min(frame[0], x0), min(frame[1], y0), max(frame[2], x1), max(frame[3], y1))
            side = 2 * max(window[2] - window[0], window[3] - window[1])

    @torch.inference_mode()
    def _decode(self, prompt: Prompts, window: Box) -> list[ScoredMask]:
        view = self._look(window)
        self.enhanced = self.enhanced or view.enhanced
        tensors = _shifted(prompt, window).to_tensors(view.geometry, self._device)
        output = view.decode(tensors, self._multimask)
        scores = output.iou[0, 0].tolist()
        clicks = clicks_of(_shifted(prompt, window))[0] if self._obey and view.guide is not None else None
        masks = [self._whole(logits.float().cpu(), view, window, clicks) for logits in output.finest[0, 0]]
        return list(zip(masks, scores, strict=True))

    def _whole(self, logits: torch.Tensor, view: View, window: Box, clicks: Clicks | None) -> RunMask:
        """Low-resolution logits `(h, w)` of a window as a mask of the whole image."""
        x0, y0, x1, y1 = mask_boxes(logits[None])[0].tolist()
        if clicks is not None:
            # A click may ask for what is not in the mask yet.
            x0, y0, (y1, x1) = 0, 0, view.geometry.cells((logits.shape[0], logits.shape[1]))
        if x1 == 0:
            return _empty(self._size)
        left, above = max(0, x0 - MARGIN), max(0, y0 - MARGIN)
        part = logits[above : y1 + MARGIN, left : x1 + MARGIN].numpy()
        low_size = (logits.shape[0], logits.shape[1])
        policy = DEGRADED if view.enhanced else POLICY
        corner = (window[0], window[1])
        enlarger = Enlarger(view.geometry, low_size, self._size, corner, view.guide, policy)
        return enlarger.enlarge(part, (left, above), (x0, y0, x1, y1), clicks)


def window_around(frame: tuple[float, float, float, float], side: int, size: tuple[int, int]) -> Box:
    """A square window with a frame in its middle, moved into the image, or as much of it as there is image.

    Args:
        frame: `(x0, y0, x1, y1)` in pixels.
        side: least side of the window; a frame that leaves too little room makes it larger.
        size: `(H, W)` of the image.
    """
    needed = int(np.ceil(ROOM * max(frame[2] - frame[0], frame[3] - frame[1])))
    length = max(side, needed)
    low, high = [], []
    for axis, limit in ((0, size[1]), (1, size[0])):
        start = round((frame[axis] + frame[axis + 2] - length) / 2)
        start = max(0, min(start, limit - length))
        low.append(start)
        high.append(min(limit, start + length))
    return low[0], low[1], high[0], high[1]


def _frame(prompt: Prompts) -> tuple[float, float, float, float]:
    """Box around all points and the box of one object."""
    corners = [] if prompt.points is None else [prompt.points[0]]
    corners += [] if prompt.boxes is None else [prompt.boxes.reshape(2, 2)]
    spots = np.concatenate(corners)
    (x0, y0), (x1, y1) = spots.min(axis=0).tolist(), spots.max(axis=0).tolist()
    return x0, y0, x1, y1


def _shifted(prompt: Prompts, window: Box) -> Prompts:
    """The prompts of one object in pixels of a window."""
    offset = np.array(window[:2], np.float32)
    points = None if prompt.points is None else prompt.points - offset
    boxes = None if prompt.boxes is None else prompt.boxes - np.tile(offset, 2)
    return Prompts(points, prompt.labels, boxes)


def _empty(size: tuple[int, int]) -> RunMask:
    """A mask without a pixel."""
    return RunMask.from_array(np.zeros((0, 0), bool), size)
