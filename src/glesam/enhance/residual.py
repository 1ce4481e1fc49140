"""A plain residual network in the U-Net's place: the baseline that says what the diffusion prior itself is worth."""

from __future__ import annotations

from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.enhance.gle import check_latent
from glesam.weights.folders import load_module, save_module

FAMILY = "residual-enhancer"


class ResidualEnhancer(nn.Module):
    """Latent to latent: a head, residual blocks of two 3 x 3 convolutions, and a tail that starts at zero.

    At the start it is the identity. With the defaults it costs as many multiplications on a 32 x 32 latent as the
    default prior's U-Net (`glesam.train.stages.prior.PriorConfig`), all of them at the latent's own size.

    Args:
        channels: of the latent.
        width: channels inside, a multiple of 8.
        blocks: residual blocks.
    """

    def __init__(self, channels: int = 256, width: int = 96, blocks: int = 9) -> None:
        super().__init__()
        self.channels, self.width = channels, width
        self.head = nn.Conv2d(channels, width, 3, padding=1)
        self.blocks = nn.ModuleList(_ResidualBlock(width) for _ in range(blocks))
        self.tail = nn.Conv2d(width, channels, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    def forward(self, latent: Tensor) -> Tensor:
        """Enhance `(B, channels, h, w)` latents of any size; shape and type stay.

        Raises:
            ModelError: the shape is another one.
        """
        check_latent(latent, self.channels)
        hidden = self.head(latent.to(self.head.weight.dtype))
        for block in self.blocks:
            hidden = block(hidden)
        change: Tensor = self.tail(hidden)
        return latent + change.to(latent.dtype)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`."""
        options = {"channels": self.channels, "width": self.width, "blocks": len(self.blocks)}
        save_module(folder, self, FAMILY, options)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> ResidualEnhancer:
        """Load what `save_pretrained` wrote, for evaluation.

        Raises:
            ModelError: a file is missing, corrupt, or does not fit.
        """
        return load_module(folder, FAMILY, lambda options: cls(**options))


class _ResidualBlock(nn.Module):
    """Two convolutions behind group norms, with a shortcut."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.GroupNorm(8, width), nn.GroupNorm(8, width)
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, width, h, w)` to the same shape."""
        y = self.conv1(F.silu(self.norm1(x)))
        return x + torch.as_tensor(self.conv2(F.silu(self.norm2(y))))
