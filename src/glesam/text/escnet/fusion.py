"""Vision-language fusion: the maps of classes look at the image around them, then at each other.

Section 3.4 of the paper, after CAT-Seg's two aggregations: a pair of Swin blocks works within each class, guided by the
image; linear attention works across the classes of each cell, guided by their texts. Nothing tells classes apart but
their texts, so that any number of them may come in any order.
"""

from __future__ import annotations

from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn


class SwinBlock(nn.Module):
    """Attention within windows (Liu et al., ICCV 2021), queries and keys of which see a guide beside.

    Args:
        width: channels.
        guide: channels of the guide.
        window: side of the windows in cells.
        heads: of the attention.
        shift: cells that the windows are moved by.
    """

    def __init__(self, width: int, guide: int, window: int, heads: int, shift: int) -> None:
        super().__init__()
        self.window, self.heads, self.shift = window, heads, shift
        self.norm, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key = nn.Linear(width + guide, width), nn.Linear(width + guide, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))
        self.bias = nn.Parameter(torch.zeros(heads, 2 * window - 1, 2 * window - 1))

    def forward(self, maps: Tensor, guide: Tensor) -> Tensor:
        """New maps `(N, h, w, c)` from maps and their guide `(N, h, w, g)`."""
        normed = self.norm(maps)
        both = torch.cat([normed, guide], dim=-1)
        parts = [self._windows(part) for part in (self.query(both), self.key(both), self.value(normed))]
        # (maps, windows, heads, cells, channels of a head): all maps share the mask of their windows.
        shape = (len(maps), -1, self.window**2, self.heads, maps.shape[-1] // self.heads)
        query, key, value = (part.view(shape).transpose(2, 3) for part in parts)
        seen = F.scaled_dot_product_attention(query, key, value, attn_mask=self._mask(maps)).transpose(2, 3)
        maps = maps + self.output(self._joined(seen.flatten(0, 1).flatten(2), maps))
        return maps + cast(Tensor, self.mlp(self.norm_mlp(maps)))

    def _padding(self, maps: Tensor) -> tuple[int, int]:
        """Rows and columns that fill the last windows."""
        return -maps.shape[1] % self.window, -maps.shape[2] % self.window

    def _windows(self, maps: Tensor) -> Tensor:
        """`(N * windows, cells, c)`, the maps moved by the shift."""
        rows, columns = self._padding(maps)
        moved = F.pad(maps, (0, 0, 0, columns, 0, rows)).roll((-self.shift, -self.shift), (1, 2))
        count, height, width, channels = moved.shape
        side = self.window
        cut = moved.view(count, height // side, side, width // side, side, channels).transpose(2, 3)
        return cut.reshape(-1, side * side, channels)

    def _joined(self, windows: Tensor, maps: Tensor) -> Tensor:
        """Undo `_windows`."""
        rows, columns = self._padding(maps)
        height, width, side = maps.shape[1] + rows, maps.shape[2] + columns, self.window
        cut = windows.view(len(maps), height // side, width // side, side, side, -1).transpose(2, 3)
        moved = cut.reshape(len(maps), height, width, -1).roll((self.shift, self.shift), (1, 2))
        return moved[:, : maps.shape[1], : maps.shape[2]]

    def _mask(self, maps: Tensor) -> Tensor:
        """`(windows, heads, cells, cells)`: relative positions; minus infinity between cells that are no neighbours.

        The shift brings opposite sides of a map together, and the filling of the last windows is no part of it.
        """
        areas = torch.ones(1, *maps.shape[1:3], 1, device=maps.device)
        if self.shift:
            areas[:, : self.shift] *= 2
            areas[:, :, : self.shift] *= 3
        names = self._windows(areas)
        apart = names != names.transpose(1, 2)
        blocked = torch.zeros(apart.shape, device=maps.device).masked_fill(apart, float("-inf"))
        places = torch.arange(self.window, device=maps.device)
        step = places[:, None] - places + self.window - 1
        bias = self.bias[:, step][..., step].permute(0, 1, 3, 2, 4).reshape(self.heads, self.window**2, -1)
        return bias + blocked[:, None]


class ClassAttention(nn.Module):
    """Linear attention (Katharopoulos et al., ICML 2020) across the classes of each cell.

    Its sums over classes can be taken part by part, which bounds memory and changes nothing.

    Args:
        width: channels.
        texts: channels of the texts.
        heads: of the attention.
    """

    def __init__(self, width: int, texts: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm, self.norm_mlp = nn.LayerNorm(width), nn.LayerNorm(width)
        self.query, self.key = nn.Linear(width + texts, width), nn.Linear(width + texts, width)
        self.value, self.output = nn.Linear(width, width), nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def sums(self, maps: Tensor, texts: Tensor) -> tuple[Tensor, Tensor]:
        """What a part of the classes adds, to be summed over parts.

        Args:
            maps: `(B, K, h, w, c)`.
            texts: `(K, t)`.

        Returns:
            `(B, h, w, heads, c', c')` and `(B, h, w, heads, c')`, c' channels a head.
        """
        normed = self.norm(maps)
        key = F.elu(self._split(self.key(self._beside(normed, texts)))) + 1
        return torch.einsum("bkyxnc,bkyxnd->byxncd", key, self._split(self.value(normed))), key.sum(dim=1)

    def forward(self, maps: Tensor, texts: Tensor, sums: tuple[Tensor, Tensor]) -> Tensor:
        """New maps `(B, K, h, w, c)` of a part of the classes, from the sums over all of them."""
        query = F.elu(self._split(self.query(self._beside(self.norm(maps), texts)))) + 1
        total, weight = sums
        seen = torch.einsum("bkyxnc,byxncd->bkyxnd", query, total)
        scale = torch.einsum("bkyxnc,byxnc->bkyxn", query, weight)
        maps = maps + self.output((seen / scale[..., None].clamp(min=1e-6)).flatten(-2))
        return maps + cast(Tensor, self.mlp(self.norm_mlp(maps)))

    def _split(self, values: Tensor) -> Tensor:
        return values.view(*values.shape[:-1], self.heads, -1)

    @staticmethod
    def _beside(maps: Tensor, texts: Tensor) -> Tensor:
        """Maps with their class's text at every cell."""
        return torch.cat([maps, texts[None, :, None, None].expand(*maps.shape[:-1], -1)], dim=-1)
