"""The compact model's neck: the backbone's maps at strides 8, 16 and 32 become one latent at stride 16."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.models.layers import LayerNorm2d


class AttentionBlock(nn.Module):
    """Pre-norm transformer block on a map; a depthwise convolution gives positions (Chu et al., ICLR 2023).

    A convolution rather than a table of positions, since the model is trained and used at several sizes.
    """

    def __init__(self, channels: int, heads: int, expansion: int, drop_path: float) -> None:
        super().__init__()
        self.heads, self.drop_path = heads, drop_path
        self.position = nn.Conv2d(channels, channels, 3, padding=1, groups=channels)
        self.norm1, self.norm2 = nn.LayerNorm(channels), nn.LayerNorm(channels)
        self.qkv, self.out = nn.Linear(channels, 3 * channels), nn.Linear(channels, channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, expansion * channels), nn.GELU(), nn.Linear(expansion * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, h, w)` to the same shape."""
        b, c, h, w = x.shape
        tokens: Tensor = (x + self.position(x)).flatten(2).transpose(1, 2)
        tokens = tokens + _drop(self.attend(self.norm1(tokens)), self.drop_path, self.training)
        tokens = tokens + _drop(self.mlp(self.norm2(tokens)), self.drop_path, self.training)
        return tokens.transpose(1, 2).reshape(b, c, h, w)

    def attend(self, tokens: Tensor) -> Tensor:
        """Global self-attention over `(B, L, C)` tokens."""
        b, length, c = tokens.shape
        q, k, v = self.qkv(tokens).view(b, length, 3, self.heads, c // self.heads).permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v)
        joined: Tensor = self.out(mixed.transpose(1, 2).reshape(b, length, c))
        return joined


class ConvBlock(nn.Module):
    """Depthwise 5 x 5 convolution and a two-layer perceptron per position (ConvNeXt, Liu et al., CVPR 2022)."""

    def __init__(self, channels: int, expansion: int, drop_path: float) -> None:
        super().__init__()
        self.drop_path = drop_path
        self.depthwise = nn.Conv2d(channels, channels, 5, padding=2, groups=channels)
        self.norm = nn.LayerNorm(channels)
        self.mlp = nn.Sequential(
            nn.Linear(channels, expansion * channels), nn.GELU(), nn.Linear(expansion * channels, channels)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, h, w)` to the same shape."""
        y = self.mlp(self.norm(self.depthwise(x).permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return x + _drop(y, self.drop_path, self.training)


class Neck(nn.Module):
    """Merge the strides 8, 16 and 32 into a latent at stride 16.

    Args:
        in_channels: channels of the maps at strides 8, 16 and 32.
        channels: channels of the latent.
        attention_blocks: transformer blocks at stride 32, where a global view costs little.
        conv_blocks: convolutional blocks at stride 16 after the merge.
        drop_path: chance to leave a block out for a sample in training (stochastic depth).
    """

    def __init__(
        self, in_channels: list[int], channels: int, attention_blocks: int, conv_blocks: int, drop_path: float
    ) -> None:
        super().__init__()
        c8, c16, c32 = in_channels
        self.lateral8 = nn.Conv2d(c8, channels, 3, stride=2, padding=1)
        self.lateral16, self.lateral32 = nn.Conv2d(c16, channels, 1), nn.Conv2d(c32, channels, 1)
        self.attention = nn.Sequential(*(AttentionBlock(channels, 8, 4, drop_path) for _ in range(attention_blocks)))
        self.merge = nn.Sequential(*(ConvBlock(channels, 2, drop_path) for _ in range(conv_blocks)))
        self.norm = LayerNorm2d(channels)

    def set_drop_path(self, rate: float) -> None:
        """Train on with another chance to leave a block out."""
        for block in (*self.attention, *self.merge):
            block.drop_path = rate

    def forward(
        self, map8: Tensor, map16: Tensor, map32: Tensor, coarse: tuple[Tensor, Tensor] | None = None
    ) -> Tensor:
        """Return the `(B, channels, H/16, W/16)` latent.

        Args:
            map8: the backbone's map at stride 8.
            map16: at stride 16.
            map32: at stride 32.
            coarse: what a coarse look adds at strides 16 and 32; see `CoarseLook`.
        """
        deep, fine = self.lateral32(map32), self.lateral8(map8) + self.lateral16(map16)
        if coarse is not None:
            deep, fine = deep + coarse[1], fine + coarse[0]
        deep = F.interpolate(self.attention(deep), map16.shape[-2:], mode="bilinear", align_corners=False)
        merged: Tensor = self.norm(self.merge(fine + deep))
        return merged


def _drop(y: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth (Huang et al., ECCV 2016): leave a residual branch out for some samples of the batch."""
    if not training or rate == 0:
        return y
    keep = torch.rand(y.shape[0], *(1,) * (y.ndim - 1), device=y.device) >= rate
    return y * keep / (1 - rate)
