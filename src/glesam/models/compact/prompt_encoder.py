"""SAM 2's prompt encoder (Ravi et al., 2024), with the names and results of transformers' `Sam2PromptEncoder`.

Why it is here: see `glesam.models.compact.attention`.
"""

from __future__ import annotations

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.models.base import PADDING_LABEL
from glesam.models.compact.attention import CHANNELS
from glesam.models.layers import NORM_EPS, LayerNorm2d

_LABELS = 4
_MASK_CHANNELS = 16


class PositionalEmbedding(nn.Module):
    """Random Fourier features of places (Tancik et al., NeurIPS 2020).

    Args:
        scale: standard deviation of the frequencies, in cycles across half the frame.
    """

    positional_embedding: Tensor

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.register_buffer("positional_embedding", scale * torch.randn(2, CHANNELS // 2))

    def forward(self, places: Tensor) -> Tensor:
        """Encode `(..., 2)` places `(x, y)` in shares of the frame: `(..., 256)`."""
        turns = (2 * places - 1).to(self.positional_embedding.dtype) @ self.positional_embedding
        angles = 2 * math.pi * turns
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class MaskEmbedding(nn.Module):
    """Embed the logits of an earlier mask."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(1, _MASK_CHANNELS // 4, kernel_size=2, stride=2)
        self.conv2 = nn.Conv2d(_MASK_CHANNELS // 4, _MASK_CHANNELS, kernel_size=2, stride=2)
        self.conv3 = nn.Conv2d(_MASK_CHANNELS, CHANNELS, kernel_size=1)
        self.layer_norm1 = LayerNorm2d(_MASK_CHANNELS // 4, eps=NORM_EPS)
        self.layer_norm2 = LayerNorm2d(_MASK_CHANNELS, eps=NORM_EPS)

    def forward(self, masks: Tensor) -> Tensor:
        """Map `(M, 1, 4h, 4w)` logits to `(M, 256, h, w)`."""
        half = F.gelu(self.layer_norm1(self.conv1(masks)))
        return cast(Tensor, self.conv3(F.gelu(self.layer_norm2(self.conv2(half)))))


class PromptEncoder(nn.Module):
    """Embed points, boxes as two corner points, and masks.

    Args:
        image_size: side of the frame in pixels.
        scale: see `PositionalEmbedding`.
    """

    def __init__(self, image_size: int, scale: float) -> None:
        super().__init__()
        self.shared_embedding = PositionalEmbedding(scale)
        self.mask_embed = MaskEmbedding()
        self.no_mask_embed = nn.Embedding(1, CHANNELS)
        self.point_embed = nn.Embedding(_LABELS, CHANNELS)
        self.not_a_point_embed = nn.Embedding(1, CHANNELS)
        self.input_image_size, self.hidden_size = image_size, CHANNELS

    def forward(self, points: Tensor, labels: Tensor) -> Tensor:
        """Embed points and one of padding after them.

        Args:
            points: `(B, N, K, 2)` `(x, y)` in pixels of the frame; a pixel's centre is half a pixel further.
            labels: `(B, N, K)`, 1 inside, 0 outside, 2 and 3 corners of a box, -1 padding.

        Returns:
            `(B, N, K + 1, 256)`.
        """
        points, labels = F.pad(points + 0.5, (0, 0, 0, 1)), F.pad(labels, (0, 1), value=PADDING_LABEL)
        placed = self.shared_embedding(points / self.input_image_size)
        placed = torch.where(labels[..., None] == PADDING_LABEL, self.not_a_point_embed.weight, placed)
        return cast(Tensor, placed + self.point_embed(labels.clamp(min=0)) * (labels >= 0).unsqueeze(-1))
