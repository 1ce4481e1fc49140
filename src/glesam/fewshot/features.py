"""Dense features of the frozen ImageNet backbone: what a place in an image looks like, whatever the segmenter is.

The segmenter's own encoder is tuned to find outlines and forgets what things are; the backbone as ImageNet trained it
does not (strides 16 and 32, as in PerSAM's and Matcher's use of a second encoder: Zhang et al., ICLR 2024; Liu et al.,
ICLR 2024).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.common.arrays import Bool, Float
from glesam.common.boxes import pixel_box
from glesam.images.pixels import RGB

Backbone = Callable[[Tensor], list[Tensor]]
"""`(B, 3, h, w)` pixel values `(x - 127) / 128`, sides in multiples of 32, to maps at strides 4, 8, 16 and 32."""

SIDE = 512
"""Pixels of the longer side at which whole images are looked at: a cell of stride 16 is then 1/32 of it."""

CLOSE_SIDE = 192
"""Pixels of the longer side at which single objects are looked at, cut out."""

_STEP = 32
_MEAN, _SCALE = 127, 128.0
_CLOSE_MARGIN = 0.1


@dataclass(frozen=True)
class ImageFeatures:
    """What the backbone sees in one image.

    Attributes:
        fine: `(C, h, w)` float32 at stride 16, each place of unit length.
        coarse: `(D, h/2, w/2)` float32 at stride 32, each place of unit length.
        share: `(rows, columns)` share of the grid that the image fills; the rest is padding.
    """

    fine: Tensor
    coarse: Tensor
    share: tuple[float, float]

    def coverage(self, mask: Bool, grid: Tensor) -> Tensor:
        """`(h, w)` share of each cell of a grid that an `(H, W)` mask of the image covers."""
        height, width = mask.shape
        rows, columns = round(height / self.share[0]), round(width / self.share[1])
        padded = np.zeros((rows, columns), np.float32)
        padded[:height, :width] = mask
        size = (grid.shape[-1], grid.shape[-2])
        return torch.from_numpy(cv2.resize(padded, size, interpolation=cv2.INTER_AREA))

    def pooled(self, mask: Bool) -> tuple[Tensor, Tensor]:
        """Mean features inside an `(H, W)` mask, fine `(C,)` and coarse `(D,)`, of unit length; zeros for no pixel."""
        return self._mean(self.fine, mask), self._mean(self.coarse, mask)

    def inside(self, shares: Sequence[Float]) -> Tensor:
        """Mean fine features inside masks, of unit length; zeros for no cell.

        Args:
            shares: for each mask the `(h, w)` share of each cell of `joined` that it covers.

        Returns:
            `(n, C)` float32.
        """
        rows, columns = self.cells
        weights = torch.from_numpy(np.stack(shares)).flatten(1) ** 2
        return F.normalize(weights @ self.fine[:, :rows, :columns].flatten(1).T, dim=1)

    def _mean(self, grid: Tensor, mask: Bool) -> Tensor:
        """Mean of the cells by the square of their coverage: cells on the border show the surroundings too."""
        weight = self.coverage(mask, grid) ** 2
        return F.normalize((grid * weight).sum(dim=(1, 2)), dim=0)

    def joined(self) -> Tensor:
        """`(C + D, h, w)` at stride 16, the coarse features enlarged (bilinear); the padding is cut off."""
        size = (self.fine.shape[1], self.fine.shape[2])
        coarse = F.interpolate(self.coarse[None], size, mode="bilinear", align_corners=False)[0]
        rows, columns = self.cells
        return torch.cat([self.fine, coarse])[:, :rows, :columns]

    @property
    def cells(self) -> tuple[int, int]:
        """Rows and columns of fine cells that the image fills."""
        rows, columns = (round(n * s) for n, s in zip(self.fine.shape[1:], self.share, strict=True))
        return max(1, rows), max(1, columns)

    def covered(self, mask: Bool) -> Tensor:
        """`(h, w)` share of each cell of `joined` that an `(H, W)` mask covers."""
        rows, columns = self.cells
        return self.coverage(mask, self.fine)[:rows, :columns]


@torch.inference_mode()
def image_features(backbone: Backbone, image: RGB, side: int = SIDE) -> ImageFeatures:
    """Look at a whole image.

    Args:
        backbone: frozen, see `Backbone`.
        image: `(H, W, 3)` uint8 RGB.
        side: pixels that the longer side is brought to.
    """
    pixels, share = _prepare(image, side)
    maps = backbone(pixel_values(pixels[None]))
    return ImageFeatures(F.normalize(maps[2][0].float(), dim=0), F.normalize(maps[3][0].float(), dim=0), share)


@torch.inference_mode()
def close_features(backbone: Backbone, image: RGB, masks: Sequence[Bool], side: int = CLOSE_SIDE) -> Tensor:
    """Look at single objects from near, each cut out on grey, so that size and surroundings count less.

    Args:
        backbone: frozen, see `Backbone`.
        image: `(H, W, 3)` uint8 RGB.
        masks: N of `(H, W)` bool, none of them empty.
        side: pixels that the longer side of each cut-out is brought to.

    Returns:
        `(N, C + D)` float32: mean features at strides 16 and 32, both halves of unit length.
    """
    found = []
    for mask in masks:
        pixels, inside = _cut_out(image, mask)
        shown, share = _prepare(pixels, side)
        maps = backbone(pixel_values(shown[None]))
        near = ImageFeatures(F.normalize(maps[2][0].float(), dim=0), F.normalize(maps[3][0].float(), dim=0), share)
        found.append(torch.cat(near.pooled(inside)))
    return torch.stack(found)


def _cut_out(image: RGB, mask: Bool) -> tuple[RGB, Bool]:
    """The object's box with some margin, grey outside the mask; and the mask within it."""
    (height, width), (x0, y0, x1, y1) = mask.shape, np.array(pixel_box(mask), np.int64).tolist()
    spare_x, spare_y = (max(1, round(_CLOSE_MARGIN * side)) for side in (x1 - x0, y1 - y0))
    rows = slice(max(0, y0 - spare_y), min(height, y1 + spare_y))
    columns = slice(max(0, x0 - spare_x), min(width, x1 + spare_x))
    inside = mask[rows, columns]
    return np.where(inside[..., None], image[rows, columns], np.uint8(_MEAN)), inside


def _prepare(image: RGB, side: int) -> tuple[RGB, tuple[float, float]]:
    """Resize, pad to multiples of 32 with grey; also the share of rows and columns that is image."""
    height, width = image.shape[:2]
    scale = side / max(height, width)
    rows, columns = (max(1, round(n * scale)) for n in (height, width))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    padded = np.full((-(-rows // _STEP) * _STEP, -(-columns // _STEP) * _STEP, 3), _MEAN, np.uint8)
    padded[:rows, :columns] = cv2.resize(image, (columns, rows), interpolation=method)
    return padded, (rows / padded.shape[0], columns / padded.shape[1])


def pixel_values(images: RGB) -> Tensor:
    """`(B, h, w, 3)` uint8 as the backbone was trained on it."""
    values = torch.from_numpy(images).permute(0, 3, 1, 2).float().sub_(_MEAN).div_(_SCALE)
    return values.contiguous(memory_format=torch.channels_last)
