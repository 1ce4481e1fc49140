"""EfficientNet-Lite feature extractor, the backbone of the compact model.

EfficientNet (Tan & Le, ICML 2019) without squeeze-and-excite and with ReLU6, as published under "Lite". Batch
normalisation is folded into the convolutions: its statistics stay those of the pre-training, and a plain convolution
with bias is faster both to train and to run.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

# kernel, stride, expansion, channels, repeats of each stage at width and depth 1.
_STAGES = (
    (3, 1, 1, 16, 1),
    (3, 2, 6, 24, 2),
    (5, 2, 6, 40, 2),
    (3, 2, 6, 80, 3),
    (5, 1, 6, 112, 3),
    (5, 2, 6, 192, 4),
    (3, 1, 6, 320, 1),
)
# width, depth. The Lite family scales neither the stem nor the repeats of the first and the last stage.
_VARIANTS = {"lite0": (1.0, 1.0), "lite1": (1.0, 1.1), "lite2": (1.1, 1.2)}


@dataclass(frozen=True)
class BlockSpec:
    """One inverted bottleneck: sizes as in the paper's table 1."""

    kernel: int
    stride: int
    expansion: int
    in_channels: int
    out_channels: int


def block_specs(variant: str) -> list[BlockSpec]:
    """List the blocks of a variant (`lite0`, `lite1`, `lite2`) in order."""
    width, depth = _VARIANTS[variant]
    specs, channels = [], 32
    for number, (kernel, stride, expansion, out, repeats) in enumerate(_STAGES):
        scaled = number not in (0, len(_STAGES) - 1)
        out_channels = _round_channels(out * width)
        for repeat in range(math.ceil(repeats * depth) if scaled else repeats):
            specs.append(BlockSpec(kernel, stride if repeat == 0 else 1, expansion, channels, out_channels))
            channels = out_channels
    return specs


def _round_channels(channels: float) -> int:
    """Round to a multiple of 8, never down by more than a tenth."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


class SameConv2d(nn.Conv2d):
    """Convolution with TensorFlow's "same" padding for inputs whose sides are multiples of the stride.

    With a stride of 2 that padding is one smaller before than after, which no convolution takes. A kernel with a row
    and a column of zeros before it makes it even, and saves copying the input into a padded one.
    """

    def __init__(self, in_channels: int, out_channels: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(in_channels, out_channels, kernel, stride, kernel // 2, groups=groups)

    def forward(self, x: Tensor) -> Tensor:
        """Convolve `(B, C, H, W)`."""
        if self.groups > 1 and x.device.type == "cpu" and torch.is_autocast_enabled("cpu"):
            return self._in_float32(x)
        if self.stride[0] == 1:
            return super().forward(x)
        kernel = F.pad(self.weight, (1, 0, 1, 0))
        return F.conv2d(x, kernel, self.bias, self.stride, self.padding, groups=self.groups)

    def _in_float32(self, x: Tensor) -> Tensor:
        """A depthwise convolution without autocast: on processors it is slower in bfloat16 than in float32."""
        with torch.autocast("cpu", enabled=False):
            return self.forward(x.float())


class InvertedBottleneck(nn.Module):
    """Expand, depthwise convolve, project; residual where shapes allow."""

    def __init__(self, spec: BlockSpec) -> None:
        super().__init__()
        wide = spec.in_channels * spec.expansion
        self.expand = SameConv2d(spec.in_channels, wide, 1) if spec.expansion > 1 else None
        self.depthwise = SameConv2d(wide, wide, spec.kernel, spec.stride, groups=wide)
        self.project = SameConv2d(wide, spec.out_channels, 1)
        self.residual = spec.stride == 1 and spec.in_channels == spec.out_channels

    def forward(self, x: Tensor) -> Tensor:
        """Map `(B, C, H, W)` to `(B, C', H / stride, W / stride)`."""
        y = x if self.expand is None else F.relu6(self.expand(x), inplace=True)
        y = cast(Tensor, self.project(F.relu6(self.depthwise(y), inplace=True)))
        return x + y if self.residual else y


class EfficientNetLite(nn.Module):
    """The backbone: four feature maps of an image whose sides are multiples of 32.

    Args:
        variant: `lite0`, `lite1` or `lite2`.
    """

    def __init__(self, variant: str = "lite0") -> None:
        super().__init__()
        specs = block_specs(variant)
        self.stem = SameConv2d(3, 32, 3, stride=2)
        self.blocks = nn.ModuleList(InvertedBottleneck(spec) for spec in specs)
        # The last block before each further halving, and the last of all, end the strides 4, 8, 16 and 32.
        halvings = [i for i, spec in enumerate(specs) if spec.stride == 2][1:]
        self.taps = [i - 1 for i in halvings] + [len(specs) - 1]
        self.channels = [specs[i].out_channels for i in self.taps]

    def forward(self, pixel_values: Tensor) -> list[Tensor]:
        """Return the maps at strides 4, 8, 16 and 32 of `(B, 3, H, W)` pixel values, `(x - 127) / 128`."""
        return self.after_stem(self.look(pixel_values))

    def look(self, pixel_values: Tensor) -> Tensor:
        """Return the stem's map `(B, 32, H / 2, W / 2)`."""
        return F.relu6(self.stem(pixel_values), inplace=True)

    def after_stem(self, x: Tensor) -> list[Tensor]:
        """Return the maps at strides 4, 8, 16 and 32 of the stem's map, which is left as it is."""
        maps = []
        for i, block in enumerate(self.blocks):
            x = block(x)
            if i in self.taps:
                maps.append(x)
        return maps
