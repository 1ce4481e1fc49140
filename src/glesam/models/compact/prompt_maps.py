"""Prompts drawn as maps beside the decoder's prompt tokens.

A box token says where two corners are; that the mask ends at the sides between them is left to attention, and on
models of this size masks leak. Drawn as maps, as interactive segmenters do with clicks (Sofiiuk et al., ICIP 2022),
boxes and clicks act at their very place.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import torch
from torch import Tensor, nn

from glesam.models.base import CORNER_LABELS
from glesam.models.compact.cells import nest

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
    longest = max(size)
    along_x, along_y = _profiles(coords.float().permute(2, 0, 1), labels, longest, strides).unbind(dim=0)
    has_box = (labels == CORNER_LABELS[1]).any(dim=1).to(along_x.dtype)[:, None, None]
    kinds = torch.stack([labels == 1, labels == 0], dim=1).to(along_x.dtype)
    maps, first = [], 0
    for stride in strides:
        x = along_x[..., first : first + size[1] // stride]
        y = along_y[..., first : first + size[0] // stride]
        box = y[:, 0, :, None] * x[:, 0, None, :] * has_box
        clicks = (kinds[..., None] * y[:, None, 1:]).transpose(2, 3) @ x[:, None, 1:]
        maps.append(torch.stack([box, has_box - box, *clicks.clamp(max=1).unbind(dim=1)], dim=-1))
        first += longest // stride
    return maps


def _profiles(values: Tensor, labels: Tensor, length: int, strides: tuple[int, ...]) -> Tensor:
    """Along each axis, for the cells of all strides one after the other: `(2, M, K)` to `(2, M, 1 + K, cells)`.

    First the share of each cell between the box's corners, then the Gaussian closeness of its centre to each point.
    """
    starts, ends = _cells(length, strides, values.device)
    low, high = ((values * (labels == kind)).sum(dim=2, keepdim=True) for kind in CORNER_LABELS)
    overlap = (torch.minimum(high, ends) - torch.maximum(low, starts)).clamp(min=0) / (ends - starts)
    near = torch.exp(((values[..., None] - (starts + ends) / 2) / _REACH).square() * -0.5)
    return torch.cat([overlap[:, :, None], (near - _NOTHING).clamp(min=0)], dim=2)


@lru_cache(maxsize=8)
def _cells(length: int, strides: tuple[int, ...], device: torch.device) -> tuple[Tensor, Tensor]:
    """Where the cells of all strides begin and end along one axis, `(cells,)` each."""
    with torch.inference_mode(False):  # kept, and used with gradients later
        parts = [torch.arange(length // stride + 1, device=device, dtype=torch.float32) * stride for stride in strides]
        return torch.cat([part[:-1] for part in parts]), torch.cat([part[1:] for part in parts])


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

    def add_fine(self, pixels: Tensor) -> Tensor:
        """Add the fine maps to `(M, 16 * h * w, C')` pixels, in place at inference: fresh memory costs more."""
        if torch.is_grad_enabled():
            return _add(pixels, self.fine, self.fine_weight)
        return pixels.baddbmm_(self.fine, self.fine_weight.expand(pixels.shape[0], -1, -1))


def _add(tokens: Tensor, maps: Tensor, weight: Tensor) -> Tensor:
    """`tokens + maps @ weight` in one pass over memory."""
    count = maps.shape[0]
    return torch.baddbmm(tokens.expand(count, -1, -1), maps, weight.expand(count, -1, -1))


class PromptMaps(nn.Module):
    """Projects prompt maps to what is added to the latent and to the decoder's finest map.

    Both projections start at zero, so that a trained model can be given them and continues from where it is.
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
