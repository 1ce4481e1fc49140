"""Prompts drawn as maps beside the decoder's prompt tokens.

A box token says where two corners are; that the mask ends at the sides between them is left to attention, and on
models of this size masks leak. Drawn as maps, as interactive segmenters do with clicks (Sofiiuk et al., ICIP 2022),
boxes and clicks act at their very place.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from glesam.models.base import CORNER_LABELS
from glesam.models.nesting import nest

CHANNELS = 4
"""Within the box, outside of it (both zero without a box), clicks inside the object, clicks outside."""
_REACH = 8.0  # pixels of the input: standard deviation of a click, half a cell of the latent

_NOTHING = 1e-6
"""What a click is worth far away: 0, since products of smaller numbers are denormal, which processors do slowly."""


def prompt_maps(coords: Tensor, labels: Tensor, size: tuple[int, int], strides: tuple[int, ...]) -> list[Tensor]:
    """Draw prompts on grids of several strides.

    Args:
        coords: `(M, K, 2)` points `(x, y)` in input pixels; boxes are two corner points.
        labels: `(M, K)`, 1 inside, 0 outside, 2 and 3 top left and bottom right of a box, -1 padding.
        size: `(H, W)` of the drawn area in input pixels, multiples of the strides.
        strides: side of a cell in input pixels, for each grid.

    Returns:
        For each stride `(M, H / stride, W / stride, 4)` float32 in 0..1: share of each cell within the box, the share
        outside, and the two click maps.
    """
    # All maps are products of a profile along x and one along y: few operations on short vectors, for all strides.
    ys, xs = (_profiles(coords[..., axis].float(), labels, size[1 - axis], strides) for axis in (1, 0))
    has_box = (labels == CORNER_LABELS[1]).any(dim=1).to(ys.dtype)[:, None, None]
    kinds = torch.stack([labels == 1, labels == 0], dim=1).to(ys.dtype)
    maps, (top, left) = [], (0, 0)
    for stride in strides:
        h, w = size[0] // stride, size[1] // stride
        y, x = ys[..., top : top + h], xs[..., left : left + w]
        box = y[:, 0, :, None] * x[:, 0, None, :] * has_box
        clicks = (kinds[..., None] * y[:, None, 1:]).transpose(2, 3) @ x[:, None, 1:]
        maps.append(torch.stack([box, has_box - box, *clicks.clamp(max=1).unbind(dim=1)], dim=-1))
        top, left = top + h, left + w
    return maps


def _profiles(values: Tensor, labels: Tensor, length: int, strides: tuple[int, ...]) -> Tensor:
    """Along one axis, for the cells of all strides one after the other: `(M, 1 + K, cells)`.

    First the share of each cell between the box's corners, then the Gaussian closeness of its centre to each point.
    """
    counts = [length // stride for stride in strides]
    starts = torch.cat(
        [torch.arange(n, device=values.device) * s for n, s in zip(counts, strides, strict=True)]
    ).float()
    sides = torch.cat([starts.new_full((n,), s) for n, s in zip(counts, strides, strict=True)])
    low, high = ((values * (labels == kind)).sum(dim=1, keepdim=True) for kind in CORNER_LABELS)
    overlap = (torch.minimum(high, starts + sides) - torch.maximum(low, starts)).clamp(min=0) / sides
    near = torch.exp(((values[..., None] - (starts + sides / 2)) / _REACH).square() * -0.5)
    near = (near - _NOTHING).clamp(min=0)
    return torch.cat([overlap[:, None], near], dim=1)


@dataclass(frozen=True)
class DrawnPrompts:
    """What prompt maps add to the decoder's maps.

    Attributes:
        coarse: `(M, h * w, 4)` maps at the latent's stride.
        fine: `(M, 16 * h * w, 4)` maps at a quarter of it, in the order of `nest`.
        coarse_weight: `(4, C)`, projection to the latent's channels.
        fine_weight: `(4, C')`, projection to the channels of the finest map.
    """

    coarse: Tensor
    fine: Tensor
    coarse_weight: Tensor
    fine_weight: Tensor

    def add(self, tokens: Tensor) -> Tensor:
        """Add the coarse maps to `(M or 1, h * w, C)` image tokens."""
        return _add(tokens, self.coarse, self.coarse_weight)

    def add_projected(self, projected: Tensor, weight: Tensor) -> Tensor:
        """Add to `(M or 1, h * w, D)` what a layer `weight` `(C, D)` makes of the coarse maps."""
        return _add(projected, self.coarse, self.coarse_weight @ weight)

    def add_fine(self, pixels: Tensor) -> Tensor:
        """Add the fine maps to `(M, 16 * h * w, C')` pixels."""
        return _add(pixels, self.fine, self.fine_weight)


def _add(tokens: Tensor, maps: Tensor, weight: Tensor) -> Tensor:
    """`tokens + maps @ weight` in one pass over memory."""
    count = maps.shape[0]
    return torch.baddbmm(tokens.expand(count, -1, -1), maps, weight.expand(count, -1, -1))


class PromptMaps(nn.Module):
    """Projects prompt maps to what is added to the latent and to the decoder's finest map.

    Both projections start at zero, so that a trained model can be given them and goes on from where it is.
    """

    def __init__(self, coarse_channels: int, fine_channels: int) -> None:
        super().__init__()
        self.coarse = nn.Conv2d(CHANNELS, coarse_channels, 1, bias=False)
        self.fine = nn.Conv2d(CHANNELS, fine_channels, 1, bias=False)
        for projection in (self.coarse, self.fine):
            nn.init.zeros_(projection.weight)

    def forward(self, coords: Tensor, labels: Tensor, size: tuple[int, int], stride: int) -> DrawnPrompts:
        """Draw `(M, K)` prompts for a latent of `size` cells and for the finest map at a quarter of its stride."""
        pixels = (size[0] * stride, size[1] * stride)
        coarse, fine = prompt_maps(coords, labels, pixels, (stride, stride // 4))
        weights = [projection.weight.flatten(1).t() for projection in (self.coarse, self.fine)]
        dtype = weights[0].dtype
        fine = nest(fine.permute(0, 3, 1, 2), size)
        return DrawnPrompts(coarse.flatten(1, 2).to(dtype), fine.to(dtype), *weights)
