"""Prompts drawn as maps beside the decoder's prompt tokens.

A box token says where two corners are; that the mask ends at the sides between them is left to attention, and on
models of this size masks leak. Drawn as maps, as interactive segmenters do with clicks (Sofiiuk et al., ICIP 2022),
boxes and clicks act at their very place.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from glesam.models.base import CORNER_LABELS

CHANNELS = 4
"""Within the box, outside of it (both zero without a box), clicks inside the object, clicks outside."""
_REACH = 8.0  # pixels of the input: standard deviation of a click, half a cell of the latent


def prompt_maps(coords: Tensor, labels: Tensor, size: tuple[int, int], stride: int) -> Tensor:
    """Draw prompts on a grid.

    Args:
        coords: `(M, K, 2)` points `(x, y)` in input pixels; boxes are two corner points.
        labels: `(M, K)`, 1 inside, 0 outside, 2 and 3 top left and bottom right of a box, -1 padding.
        size: `(h, w)` cells of the grid.
        stride: side of a cell in input pixels.

    Returns:
        `(M, 4, h, w)` float32, in 0..1: share of each cell within the box, the share outside, and the two click maps.
    """
    ys, xs = (torch.arange(n, device=coords.device, dtype=torch.float32) * stride for n in size)
    x, y = coords.float().unbind(dim=-1)
    box = _inside(x, labels, xs, stride)[:, None, :] * _inside(y, labels, ys, stride)[:, :, None]
    has_box = (labels == CORNER_LABELS[1]).any(dim=1)[:, None, None]
    near_x, near_y = _near(x, xs + stride / 2), _near(y, ys + stride / 2)
    clicks = [torch.einsum("mk,mkh,mkw->mhw", (labels == kind).float(), near_y, near_x) for kind in (1, 0)]
    return torch.stack([box * has_box, (1 - box) * has_box, *(c.clamp(max=1) for c in clicks)], dim=1)


def _inside(values: Tensor, labels: Tensor, starts: Tensor, stride: int) -> Tensor:
    """Share of each cell between the two corners along one axis, `(M, n)`; 0 without a box."""
    low, high = ((values * (labels == kind)).sum(dim=1)[:, None] for kind in CORNER_LABELS)
    overlap = torch.minimum(high, starts + stride) - torch.maximum(low, starts)
    return overlap.clamp(min=0) / stride


def _near(values: Tensor, centres: Tensor) -> Tensor:
    """Gaussian closeness of `(M, K)` values to `(n,)` cell centres, `(M, K, n)`."""
    return torch.exp(-0.5 * ((values[..., None] - centres) / _REACH) ** 2)


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

    def forward(self, coords: Tensor, labels: Tensor, size: tuple[int, int], stride: int) -> tuple[Tensor, Tensor]:
        """Return `(M, C, h, w)` at the latent's stride and `(M, C', 4h, 4w)` at a quarter of it."""
        fine_size = (4 * size[0], 4 * size[1])
        dtype = self.coarse.weight.dtype
        coarse: Tensor = self.coarse(prompt_maps(coords, labels, size, stride).to(dtype))
        fine: Tensor = self.fine(prompt_maps(coords, labels, fine_size, stride // 4).to(dtype))
        return coarse, fine
