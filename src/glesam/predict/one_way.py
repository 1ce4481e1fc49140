"""Corrections go one way: a positive click takes nothing large out of the mask that it corrects, a negative adds none.

A decoder that gets its earlier mask back with one more click answers anew and may jump to another object. What changes
against the click's own direction and is more than a shift of the edge stays as it was; the idea is that of the
progressive merge of FocalClick (Chen et al., CVPR 2022), which keeps changes near the click alone.
"""

from __future__ import annotations

from dataclasses import replace

import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.models.base import MaskOutput, PromptTensors

EDGE = 128
"""A change is a shift of the edge, and may go either way, where no square of `2 * (side // EDGE) + 1` cells fits."""


def one_way(output: MaskOutput, prompts: PromptTensors, image_size: int) -> MaskOutput:
    """Undo what an answer changes against the direction of its correction.

    Args:
        output: the answer, `(1, N, C, h, w)` logits.
        prompts: with clicks and the logits `(1, N, h', w')` that they correct; without either nothing changes.
        image_size: side of the square that clicks are pixels of.

    Returns:
        The same answer for objects whose corrections are of both kinds, or none: a click corrects where the earlier
        logits have the other sign.
    """
    points, labels, earlier = prompts.point_coords, prompts.point_labels, prompts.mask_input
    if points is None or labels is None or earlier is None:
        return output
    direction = _direction(points[0], labels[0], earlier[0], image_size)
    if not direction.any():
        return output
    low = _held(output.low_res_logits[0], earlier[0], direction)
    fine = None if output.fine is None else _held(output.fine[0], earlier[0], direction)[None]
    return replace(output, low_res_logits=low[None], fine=fine)


def _direction(points: Tensor, labels: Tensor, earlier: Tensor, image_size: int) -> Tensor:
    """`(N,)`: 1 where all corrections of an object are positive, -1 where all are negative, else 0."""
    side = earlier.shape[-1]
    cells = (points * (side / image_size)).long().clamp(0, side - 1)
    rows = torch.arange(len(points), device=points.device)[:, None]
    inside = earlier[rows, cells[..., 1], cells[..., 0]] > 0
    adds, takes = ((labels == 1) & ~inside).any(dim=1), ((labels == 0) & inside).any(dim=1)
    return adds.long() - takes.long()


def _held(logits: Tensor, earlier: Tensor, direction: Tensor) -> Tensor:
    """`(N, C, h, w)` logits with the `(N, h', w')` earlier ones where a large part changed against the direction."""
    size = logits.shape[-2:]
    before = F.interpolate(earlier[:, None].float(), size, mode="bilinear", align_corners=False).expand(logits.shape)
    signs = direction[:, None, None, None].to(before)
    against = (signs * before > 0) & (signs * logits <= 0)
    return torch.where(against & _thick(against, max(1, size[-1] // EDGE)), before.to(logits), logits)


def _thick(parts: Tensor, radius: int) -> Tensor:
    """What lies within `radius` of where a square of that radius fits into `(N, C, h, w)` bool: not thin slivers."""
    width = 2 * radius + 1
    core = -F.max_pool2d(-parts.float(), width, 1, radius)
    return F.max_pool2d(core, 2 * width - 1, 1, width - 1) > 0
