"""The decoder: a class's map, twice as fine with each step up, guided by finer features of the image (U-Net)."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_GUIDE = 16
_GROUP = 8


class UpDecoder(nn.Module):
    """One step for each guide, then one logit for each pixel.

    Args:
        width: channels of the maps.
        guides: channels of the guides, coarse to fine.
        steps: channels after each step.
    """

    def __init__(self, width: int, guides: tuple[int, ...], steps: tuple[int, ...]) -> None:
        super().__init__()
        self.up, self.guide, self.mix = nn.ModuleList(), nn.ModuleList(), nn.ModuleList()
        for before, guide, after in zip((width, *steps), guides, steps, strict=False):
            self.up.append(nn.ConvTranspose2d(before, after, 2, stride=2))
            self.guide.append(nn.Conv2d(guide, _GUIDE, 1))
            self.mix.append(nn.Sequential(*_convolution(after + _GUIDE, after), *_convolution(after, after)))
        self.head = nn.Conv2d((width, *steps)[-1], 1, 3, padding=1)

    def forward(self, maps: Tensor, guides: tuple[Tensor, ...]) -> Tensor:
        """Logits `(B, K, s h, s w)` with s twice as large for each step.

        Args:
            maps: `(B, K, c, h, w)`.
            guides: `(B, g, any, any)` for each step; brought to the step's size (bilinear).
        """
        batch, classes = maps.shape[:2]
        found = maps.flatten(0, 1)
        for up, project, mix, guide in zip(self.up, self.guide, self.mix, guides, strict=True):
            found = up(found)
            beside = F.interpolate(project(guide), found.shape[2:], mode="bilinear", align_corners=False)
            found = mix(torch.cat([found, beside.repeat_interleave(classes, dim=0)], dim=1))
        logits: Tensor = self.head(found)[:, 0].unflatten(0, (batch, classes))
        return logits


def _convolution(channels: int, width: int) -> tuple[nn.Module, ...]:
    return nn.Conv2d(channels, width, 3, padding=1), nn.GroupNorm(max(1, width // _GROUP), width), nn.ReLU()
