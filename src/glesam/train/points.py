"""Mask losses on few points, most of them where the mask is uncertain: PointRend (Kirillov et al., CVPR 2020).

A mask's interior is soon learnt, and in a loss over all pixels it drowns the edge. HQ-SAM trains on 112 * 112 points,
three quarters of them the most uncertain of three times as many.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

POINTS = 112 * 112
OVERSAMPLE = 3
UNCERTAIN_SHARE = 0.75


def uncertain_points(logits: Tensor, count: int = POINTS) -> Tensor:
    """Draw points for each mask from torch's global generator, which the training loop seeds at each step.

    Args:
        logits: `(M, h, w)`.
        count: points a mask.

    Returns:
        `(M, count, 2)` places `(x, y)` in 0..1 of the mask's width and height: first the most uncertain of `OVERSAMPLE`
        times as many uniform draws, by |logit|, then uniform ones.
    """
    certain = int(count * UNCERTAIN_SHARE)
    drawn = torch.rand(len(logits), OVERSAMPLE * count, 2, device=logits.device)
    best = values_at(logits.detach(), drawn).abs().topk(certain, dim=1, largest=False).indices
    chosen = drawn.gather(1, best[..., None].expand(-1, -1, 2))
    rest = torch.rand(len(logits), count - certain, 2, device=logits.device)
    return torch.cat([chosen, rest], dim=1)


def values_at(maps: Tensor, places: Tensor) -> Tensor:
    """Bilinear values of `(M, h, w)` maps at `(M, P, 2)` places in 0..1, `(M, P)`; edges are repeated outwards."""
    grid = 2 * places[:, :, None] - 1
    seen = F.grid_sample(maps[:, None], grid, mode="bilinear", padding_mode="border", align_corners=False)
    return seen[:, 0, :, 0]


def point_losses(logits: Tensor, targets: Tensor, count: int = POINTS) -> tuple[Tensor, Tensor]:
    """Cross-entropy and Dice loss at uncertain points, each the mean over masks.

    Args:
        logits: `(M, h, w)`.
        targets: `(M, H, W)` in 0..1, of any size.
        count: points a mask.
    """
    places = uncertain_points(logits, count)
    seen, truth = values_at(logits, places), values_at(targets, places)
    entropy = F.binary_cross_entropy_with_logits(seen, truth)
    p = seen.sigmoid()
    dice = 1 - (2 * (p * truth).sum(1) + 1) / (p.sum(1) + truth.sum(1) + 1)
    return entropy, dice.mean()
