"""TinyViT (Wu et al., ECCV 2022, arXiv 2207.10666) as MobileSAM's image encoder (Zhang et al., 2023, arXiv 2306.14289).

A stem of stride 4, one stage of inverted bottlenecks, and three of window attention with a depthwise convolution in
every block; then SAM's neck. MobileSAM leaves out the last reduction, so that the latent has stride 16. Modules bear
the names of the authors' weights.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.sam.modeling_sam import SamLayerNorm

EARLY_STAGE = 1
"""The stage whose output mask heads read: stride 16, as wide as the third stage."""


@dataclass(frozen=True)
class TinyVitConfig:
    """Sizes of the encoder, by stage; the defaults are MobileSAM's TinyViT-5M.

    Attributes:
        widths: channels of the four stages.
        depths: blocks of each.
        heads: attention heads of each; the first stage has none, so that its entry says nothing.
        windows: side of the attention's windows, likewise.
        expansion: how much wider the inside of an inverted bottleneck is.
        mlp_ratio: the same for the MLPs.
        out_channels: of the latent.
        biased: whether attention uses its learned biases. The authors' builder caches them before it reads the file, so
            that their encoder runs without them until `eval()` is called again, as their README does; False is that.
    """

    widths: tuple[int, ...] = (64, 128, 160, 320)
    depths: tuple[int, ...] = (2, 2, 6, 2)
    heads: tuple[int, ...] = (2, 4, 5, 10)
    windows: tuple[int, ...] = (7, 7, 14, 7)
    expansion: float = 4.0
    mlp_ratio: float = 4.0
    out_channels: int = 256
    biased: bool = True

    @classmethod
    def from_state(cls, state: Mapping[str, Tensor], prefix: str = "") -> TinyVitConfig:
        """Read the sizes off an encoder's weights; each leaves a trace there.

        Args:
            state: weights under the authors' names.
            prefix: before every name, such as `image_encoder.`.

        Raises:
            KeyError: a key that tells a size is missing.
        """
        found = [re.fullmatch(rf"{re.escape(prefix)}layers\.(\d+)\.blocks\.(\d+)\..+", key) for key in state]
        blocks = {(int(m[1]), int(m[2])) for m in found if m}
        stages = range(1 + max((stage for stage, _ in blocks), default=0))
        first = f"{prefix}layers.0.blocks.0.conv1.c.weight"
        biases = [state[f"{prefix}layers.{i}.blocks.0.attn.attention_biases"].shape for i in stages[1:]]
        hidden, width = state[f"{prefix}layers.1.blocks.0.mlp.fc1.weight"].shape
        downsampled = (state[f"{prefix}layers.{i}.downsample.conv3.c.weight"].shape[0] for i in stages[:-1])
        return cls(
            widths=(state[first].shape[1], *downsampled),
            depths=tuple(sum(stage == i for stage, _ in blocks) for i in stages),
            heads=(1, *(shape[0] for shape in biases)),
            windows=(1, *(round(shape[1] ** 0.5) for shape in biases)),
            expansion=state[first].shape[0] / state[first].shape[1],
            mlp_ratio=hidden / width,
            out_channels=state[f"{prefix}neck.0.weight"].shape[0],
        )


class ConvNorm(nn.Module):
    """A convolution without bias, then batch normalisation."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 1, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.c = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs, H, W)` to `(B, outputs, H / stride, W / stride)`."""
        if self.training:
            normalised: Tensor = self.bn(self.c(x))
            return normalised
        # The normalisation is linear: it goes into the kernel, which spares a pass over the largest maps.
        norm, conv = self.bn, self.c
        mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
        scale = norm.weight * torch.rsqrt(variance + norm.eps)
        shift = norm.bias - mean * scale
        kernel = conv.weight * scale.view(-1, 1, 1, 1)
        return F.conv2d(x, kernel, shift, conv.stride, conv.padding, groups=conv.groups)


class MBConv(nn.Module):
    """Widen, filter each channel, narrow, and add what came in."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(width, hidden)
        self.conv2 = ConvNorm(hidden, hidden, 3, groups=hidden)
        self.conv3 = ConvNorm(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to the same."""
        return F.gelu(x + self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x))))))


class Downsample(nn.Module):
    """The way from one stage to the next: another width and, but for the last, half the sides."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.conv1 = ConvNorm(inputs, outputs)
        self.conv2 = ConvNorm(outputs, outputs, 3, stride, groups=outputs)
        self.conv3 = ConvNorm(outputs, outputs)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, inputs, H, W)` to `(B, outputs, H / stride, W / stride)`."""
        narrowed: Tensor = self.conv3(F.gelu(self.conv2(F.gelu(self.conv1(x)))))
        return narrowed


class WindowAttention(nn.Module):
    """Attention among the tokens of a square window, with a learned bias for each distance (LeViT's)."""

    def __init__(self, width: int, heads: int, window: int, biased: bool) -> None:
        super().__init__()
        self.heads, self.window, self.biased = heads, window, biased
        self.norm = nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, H, W, C)` to the same; sides that no whole number of windows covers are padded with zeros."""
        batch, height, width, channels = x.shape
        side = self.window
        rows, columns = (height + side - 1) // side, (width + side - 1) // side  # ONNX divides negatives otherwise
        padded = F.pad(x, (0, 0, 0, columns * side - width, 0, rows * side - height))
        windows = padded.view(batch, rows, side, columns, side, channels).transpose(2, 3)
        # As in the reference, padding is normalised and attended to like any token.
        qkv = self.qkv(self.norm(windows.reshape(-1, side * side, channels)))
        query, key, value = qkv.view(len(qkv), side * side, self.heads, -1).transpose(1, 2).chunk(3, dim=-1)
        # Four axes, or else torch's fast kernel for CPUs is not taken.
        bias = self.attention_biases[None, :, distances(side).to(x.device)].to(query.dtype) if self.biased else None
        attended = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        tokens = self.proj(attended.transpose(1, 2).reshape(len(qkv), side * side, channels))
        whole = tokens.view(batch, rows, columns, side, side, channels).transpose(2, 3)
        cut: Tensor = whole.reshape(batch, rows * side, columns * side, channels)[:, :height, :width]
        return cut


@lru_cache(maxsize=8)
def distances(side: int) -> Tensor:
    """`(n, n)` int64, n = `side ** 2`: index of the bias for two tokens, which is `|dy| * side + |dx|`."""
    with torch.inference_mode(False):  # kept, and used with gradients later
        axis = torch.arange(side, device="cpu")
        rows, columns = (grid.flatten() for grid in torch.meshgrid(axis, axis, indexing="ij"))
        return (rows[:, None] - rows).abs() * side + (columns[:, None] - columns).abs()


class Mlp(nn.Module):
    """Normalisation and two layers."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.fc1, self.fc2 = nn.Linear(width, hidden), nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """`(..., C)` to the same."""
        out: Tensor = self.fc2(F.gelu(self.fc1(self.norm(x))))
        return out


class WindowBlock(nn.Module):
    """Window attention, a depthwise convolution that joins the windows, and an MLP."""

    def __init__(self, width: int, heads: int, window: int, hidden: int, biased: bool) -> None:
        super().__init__()
        self.attn = WindowAttention(width, heads, window, biased)
        self.local_conv = ConvNorm(width, width, 3, groups=width)
        self.mlp = Mlp(width, hidden)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to the same."""
        tokens = x.permute(0, 2, 3, 1)
        tokens = tokens + self.attn(tokens)
        tokens = self.local_conv(tokens.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        out: Tensor = tokens + self.mlp(tokens)
        return out.permute(0, 3, 1, 2)


class Stem(nn.Module):
    """Two convolutions of stride 2."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(ConvNorm(3, width // 2, 3, 2), nn.GELU(), ConvNorm(width // 2, width, 3, 2))

    def forward(self, x: Tensor) -> Tensor:
        """`(B, 3, S, S)` to `(B, width, S / 4, S / 4)`."""
        out: Tensor = self.seq(x)
        return out


class TinyVitStage(nn.Module):
    """Blocks of one width, and the way to the next stage where there is one."""

    def __init__(self, blocks: list[nn.Module], downsample: Downsample | None) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = downsample

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, H, W)` to what the next stage takes."""
        for block in self.blocks:
            x = block(x)
        return x if self.downsample is None else self.downsample(x)


class TinyVit(nn.Module):
    """`(B, 3, S, S)` pixel values to a latent `(B, 256, S / 16, S / 16)`."""

    def __init__(self, config: TinyVitConfig | None = None) -> None:
        super().__init__()
        self.config = config = config or TinyVitConfig()
        self.patch_embed = Stem(config.widths[0])
        last = len(config.widths) - 1
        ways = [
            Downsample(a, b, 2 if i < last - 1 else 1) for i, (a, b) in enumerate(itertools.pairwise(config.widths))
        ]
        self.layers = nn.ModuleList(
            TinyVitStage([_block(config, i) for _ in range(depth)], way)
            for i, (depth, way) in enumerate(zip(config.depths, [*ways, None], strict=True))
        )
        out: Any = config.out_channels
        self.neck = nn.Sequential(
            nn.Conv2d(config.widths[-1], out, 1, bias=False),
            SamLayerNorm(out, data_format="channels_first"),
            nn.Conv2d(out, out, 3, padding=1, bias=False),
            SamLayerNorm(out, data_format="channels_first"),
        )

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Encode `(B, 3, S, S)` pixel values.

        Returns:
            The latent, and the early feature `(B, D, S / 16, S / 16)`: the output of stage `EARLY_STAGE`.
        """
        x = self.patch_embed(pixel_values.to(memory_format=torch.channels_last))
        early = x
        for index, stage in enumerate(self.layers):
            x = stage(x)
            if index == EARLY_STAGE:
                early = x
        return self.neck(x).contiguous(), early


def _block(config: TinyVitConfig, stage: int) -> nn.Module:
    """A block of a stage: the first has convolutions alone."""
    width = config.widths[stage]
    if stage == 0:
        return MBConv(width, round(width * config.expansion))
    hidden = round(width * config.mlp_ratio)
    return WindowBlock(width, config.heads[stage], config.windows[stage], hidden, config.biased)
