"""Losses on mask logits and predicted IoU. All take `(..., h, w)` logits and targets in 0..1 of the same shape."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def dice_loss(logits: Tensor, targets: Tensor, smooth: float = 1.0) -> Tensor:
    """Soft Dice loss of each mask (Milletari et al., 3DV 2016), shape `(...,)`."""
    p = logits.sigmoid()
    overlap = (p * targets).sum(dim=(-2, -1))
    total = p.sum(dim=(-2, -1)) + targets.sum(dim=(-2, -1))
    return 1 - (2 * overlap + smooth) / (total + smooth)


def focal_loss(logits: Tensor, targets: Tensor, gamma: float = 2.0, alpha: float | None = 0.25) -> Tensor:
    """Focal loss of each mask (Lin et al., ICCV 2017), mean over pixels, shape `(...,)`.

    Args:
        logits: `(..., h, w)`.
        targets: `(..., h, w)` in 0..1.
        gamma: focusing exponent.
        alpha: weight of the foreground, with `1 - alpha` for the background; None for no weighting.
    """
    bce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    p = logits.sigmoid()
    p_true = p * targets + (1 - p) * (1 - targets)
    loss = bce * (1 - p_true) ** gamma
    if alpha is not None:
        loss = loss * (alpha * targets + (1 - alpha) * (1 - targets))
    return loss.mean(dim=(-2, -1))


def bce_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """Binary cross-entropy of each mask, mean over pixels, shape `(...,)`."""
    return F.binary_cross_entropy_with_logits(logits, targets, reduction="none").mean(dim=(-2, -1))


@torch.no_grad()
def hard_iou(logits: Tensor, targets: Tensor) -> Tensor:
    """IoU of the thresholded masks, shape `(...,)`; 1 where both are empty. Target of the IoU head, no gradient."""
    a, b = logits > 0, targets > 0.5
    union = (a | b).sum(dim=(-2, -1))
    overlap = (a & b).sum(dim=(-2, -1))
    return torch.where(union > 0, overlap / union.clamp(min=1), torch.ones_like(union, dtype=logits.dtype))


def normalised_focal_loss(logits: Tensor, targets: Tensor, gamma: float = 2.0) -> Tensor:
    """Focal loss whose weights have mean one in each mask (Sofiiuk et al., ICCV 2019), shape `(...,)`.

    As a mask gets better, the plain focal loss fades with it; here what is still wrong keeps its say.
    """
    bce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    with torch.no_grad():
        p = logits.sigmoid()
        weight = (p - targets).abs() ** gamma
        weight = weight / weight.mean(dim=(-2, -1), keepdim=True).clamp(min=1e-4)
    return (weight * bce).mean(dim=(-2, -1))


def edge_loss(logits: Tensor, targets: Tensor, reach: int = 3, weight: float = 5.0) -> Tensor:
    """Cross-entropy in which pixels near the target's edge count more, plus Dice; shape `(M,)`.

    Args:
        logits: `(M, h, w)`.
        targets: `(M, h, w)` in 0..1.
        reach: pixels on either side of the edge that count more.
        weight: by how much.
    """
    soft = F.avg_pool2d(targets[:, None], 2 * reach + 1, stride=1, padding=reach, count_include_pad=False)[:, 0]
    weights = 1 + weight * ((soft > 0.02) & (soft < 0.98))
    bce = F.binary_cross_entropy_with_logits(logits, targets, reduction="none")
    return (weights * bce).sum(dim=(-2, -1)) / weights.sum(dim=(-2, -1)) + dice_loss(logits, targets)


def mask_losses(logits: Tensor, iou_pred: Tensor, targets: Tensor, focal: float = 0.0) -> dict[str, Tensor]:
    """Losses of all four mask tokens of a batch of prompts.

    Token 0 answers alone and is trained on every prompt. Of the candidates 1 to 3 only the best one of each prompt is
    trained (as SAM does, Kirillov et al., ICCV 2023), so that they learn to differ.

    Args:
        logits: `(M, 4, h, w)`.
        iou_pred: `(M, 4)`.
        targets: `(M, h, w)` in 0..1.
        focal: share of the normalised focal loss in what else is cross-entropy.

    Returns:
        Scalars: `loss` (what to minimise), `mask`, `candidates`, `iou_head`, and `iou` (token 0's, for the log).
    """
    target = targets.unsqueeze(1).expand_as(logits)
    each = (1 - focal) * bce_loss(logits, target) + dice_loss(logits, target)
    if focal:
        each = each + focal * normalised_focal_loss(logits, target)
    actual = hard_iou(logits.detach(), target)
    single, best = each[:, 0].mean(), each[:, 1:].min(dim=1).values.mean()
    head = F.mse_loss(iou_pred, actual)
    loss = single + 0.5 * best + head
    return {"loss": loss, "mask": single, "candidates": best, "iou_head": head, "iou": actual[:, 0].mean()}
