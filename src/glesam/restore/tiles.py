"""A network over a large image in tiles: overlapping, faded into each other along a cosine.

Close to an inner edge of a tile, a convolution sees padding where the whole image has pixels. These pixels, `margin`
of them, get no weight; what remains of the overlap fades from one tile to the next. With a margin of at least the
network's reach, and tiles that start at multiples of its stride, the result is that of the whole image.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.errors import ConfigError


@dataclass(frozen=True)
class Tiling:
    """How an image is cut.

    Attributes:
        tile: side of the tiles in pixels; an image no longer than this goes through whole.
        overlap: least pixels that neighbours share.
        margin: pixels of a tile beside each inner edge that count for nothing, at most half of the overlap.
        multiple: sides that the network takes: its stride, or its window.
        fixed: the network takes tiles of this size only, so that smaller images are padded to it.
    """

    tile: int = 512
    overlap: int = 96
    margin: int = 40
    multiple: int = 8
    fixed: bool = False

    def __post_init__(self) -> None:
        """Check that the numbers fit together.

        Raises:
            ConfigError: they do not.
        """
        ok = self.multiple > 0 and self.tile % self.multiple == 0 and 0 <= 2 * self.margin <= self.overlap < self.tile
        if not ok:
            raise ConfigError(
                f"expected a tile that is a multiple of {self.multiple} and 2 * margin <= overlap < tile, got tile "
                f"{self.tile}, overlap {self.overlap}, margin {self.margin}; the defaults are 512, 96 and 40"
            )

    def starts(self, length: int) -> list[int]:
        """First pixels of the tiles along an axis whose length is a multiple of `multiple`; the last ends with it."""
        if length <= self.tile:
            return [0]
        step = max(self.multiple, (self.tile - self.overlap) // self.multiple * self.multiple)
        return [*range(0, length - self.tile, step), length - self.tile]


def run_tiled(network: Callable[[Tensor], Tensor], pixels: Tensor, tiling: Tiling) -> Tensor:
    """Run a network that keeps the size over an image of any size.

    Args:
        network: `(1, C, h, w)` to the same shape, h and w multiples of `tiling.multiple`.
        pixels: `(1, C, H, W)` floating.
        tiling: how to cut.

    Returns:
        `(1, C, H, W)`.
    """
    height, width = pixels.shape[-2:]
    padded = F.pad(pixels, (0, _missing(width, tiling), 0, _missing(height, tiling)), mode="replicate")
    full = (int(padded.shape[-2]), int(padded.shape[-1]))
    if max(full) <= tiling.tile:
        return network(padded)[..., :height, :width]
    total = torch.zeros_like(padded)
    weights = padded.new_zeros(full)
    for y in tiling.starts(full[0]):
        for x in tiling.starts(full[1]):
            window = (..., slice(y, min(y + tiling.tile, full[0])), slice(x, min(x + tiling.tile, full[1])))
            weight = torch.outer(_fade(y, full[0], tiling, padded), _fade(x, full[1], tiling, padded))
            total[window] += network(padded[window]) * weight
            weights[window] += weight
    return (total / weights)[..., :height, :width]


def _missing(length: int, tiling: Tiling) -> int:
    """Pixels to add to a side so that the network takes it."""
    if tiling.fixed and length < tiling.tile:
        return tiling.tile - length
    return -length % tiling.multiple


def _fade(start: int, length: int, tiling: Tiling, like: Tensor) -> Tensor:
    """Weights of a tile along an axis: 0 in the margins of inner edges, a rise along a cosine, 1 elsewhere."""
    size = min(tiling.tile, length)
    place = torch.arange(size, dtype=like.dtype, device=like.device)
    ramp = tiling.overlap - 2 * tiling.margin
    weight = torch.ones_like(place)
    for distance, inner in ((place, start > 0), (size - 1 - place, start + size < length)):
        if inner:
            share = ((distance - tiling.margin + 0.5) / max(ramp, 1)).clamp(0, 1)
            weight = weight * (1 - torch.cos(math.pi * share)) / 2
    return weight
