"""A second, coarse look of the compact model's encoder: the same backbone on the image at half its size.

The backbone was pre-trained on images of 224 to 260 pixels and sees little context in one of 512. At half the size a
whole object fits what it knows, for a quarter of the cost; the neck gets both looks.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

_STRIDE = 32
"""Sides of the backbone's input are multiples of this."""


class CoarseLook(nn.Module):
    """Projects the backbone's maps of the halved image to what the neck adds at strides 16 and 32.

    All projections start at zero, so that a trained model can be given the second look and continues from where it is.

    Args:
        in_channels: channels of the backbone's maps at strides 8, 16 and 32.
        channels: channels of the neck.
    """

    def __init__(self, in_channels: list[int], channels: int) -> None:
        super().__init__()
        self.from8, self.from16, self.from32 = (nn.Conv2d(c, channels, 1) for c in in_channels)
        for projection in (self.from8, self.from16, self.from32):
            nn.init.zeros_(projection.weight)
            nn.init.zeros_(projection.bias)  # type: ignore[arg-type]

    def forward(self, backbone: nn.Module, pixel_values: Tensor) -> tuple[Tensor, Tensor]:
        """Look at `(B, 3, H, W)` pixel values, sides multiples of 32.

        Returns:
            `(B, channels, H/16, W/16)` and `(B, channels, H/32, W/32)`.
        """
        rows, columns = pixel_values.shape[-2:]
        half = F.avg_pool2d(pixel_values, 2)
        # Zero is the grey of the padding.
        half = F.pad(half, (0, -half.shape[-1] % _STRIDE, 0, -half.shape[-2] % _STRIDE))
        _, map8, map16, map32 = backbone(half)
        deep = F.interpolate(self.from32(map32), map16.shape[-2:], mode="bilinear", align_corners=False)
        at16, at32 = self.from8(map8), self.from16(map16) + deep
        return at16[..., : rows // 16, : columns // 16], at32[..., : rows // 32, : columns // 32]
