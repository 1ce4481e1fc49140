"""What a box rules out of the compact model's answers."""

from __future__ import annotations

import torch
from torch import Tensor

_OUTSIDE = -10.0
"""Logit of what a box rules out: certain, and within the range of the model's own answers."""


def keep_inside(logits: Tensor, boxes: Tensor, stride: int, margin: float = 0.05) -> Tensor:
    """Take away what lies outside the boxes, `(B, N, 4)` in input pixels, grown on each side by a share of their size.

    Logits have a cell for every `stride` pixels. A box grows by half a cell at least, so that one always lies inside.

    The model's masks leak out of boxes where neighbours look alike. The margin leaves room for boxes drawn by hand.
    """
    ys, xs = ((torch.arange(n, device=logits.device) + 0.5) * stride for n in logits.shape[-2:])
    x0, y0, x1, y1 = boxes[..., None, None].unbind(dim=2)
    spare_x, spare_y = ((margin * side).clamp(min=stride / 2) for side in (x1 - x0, y1 - y0))
    inside_x = (xs >= x0 - spare_x) & (xs <= x1 + spare_x)
    inside_y = (ys[:, None] >= y0 - spare_y) & (ys[:, None] <= y1 + spare_y)
    return torch.where((inside_x & inside_y)[:, :, None], logits, logits.clamp(max=_OUTSIDE))
