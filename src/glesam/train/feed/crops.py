"""Square crops of images without padding, for the diffusion prior: a function of (seed, step, process)."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from glesam.train.feed.batch import Batch
from glesam.train.feed.pack import ImagePack


class ImageCrops(Dataset[Batch]):
    """Item `step` is the batch of that step: `pixels (B, S, S, 3)` uint8 RGB.

    Args:
        packs: images by data set.
        shares: how often each set is drawn, any positive numbers.
        size: side of the crops in pixels.
        batch_size: crops a step.
        steps: number of steps.
        seed: with step and rank the only source of randomness.
        rank: number of this process.
    """

    def __init__(
        self,
        packs: Sequence[ImagePack],
        shares: Sequence[float],
        size: int,
        batch_size: int,
        steps: int,
        seed: int,
        rank: int = 0,
    ) -> None:
        self.packs, self.size, self.batch_size, self.steps = packs, size, batch_size, steps
        self.shares = np.asarray(shares, np.float64) / float(np.sum(shares))
        self.seed, self.rank = seed, rank

    def __len__(self) -> int:
        """Number of steps."""
        return self.steps

    def __getitem__(self, step: int) -> Batch:
        """Make the batch of a step."""
        cv2.setNumThreads(0)  # no pool in a worker: the cores are the training process's, and 1 would wait for its pool
        rng = np.random.default_rng([self.seed, step, self.rank])
        return {"pixels": torch.from_numpy(np.stack([self._crop(rng) for _ in range(self.batch_size)]))}

    def _crop(self, rng: np.random.Generator) -> npt.NDArray[np.uint8]:
        """Cut a square of at least six tenths of the short side, resize it, and mirror every second one."""
        pack = self.packs[int(rng.choice(len(self.packs), p=self.shares))]
        image = pack[int(rng.integers(len(pack)))].image
        height, width = image.shape[:2]
        side = max(1, round(min(height, width) * float(rng.uniform(0.6, 1.0))))
        y, x = int(rng.integers(0, height - side + 1)), int(rng.integers(0, width - side + 1))
        crop = image[y : y + side, x : x + side]
        method = cv2.INTER_AREA if side > self.size else cv2.INTER_CUBIC
        resized = cv2.resize(crop, (self.size, self.size), interpolation=method)
        return np.ascontiguousarray(resized[:, ::-1] if rng.random() < 0.5 else resized, np.uint8)


def to_signed(pixels: Tensor) -> Tensor:
    """`(B, S, S, 3)` uint8 to `(B, 3, S, S)` float32 in -1 to 1, as diffusion models take images."""
    return pixels.permute(0, 3, 1, 2).float() / 127.5 - 1


def to_tiles(images: Tensor, columns: int) -> npt.NDArray[np.uint8]:
    """Lay `(N, 3, S, S)` images in -1 to 1 side by side into one `(H, W, 3)` uint8 image, `columns` a row."""
    bytes_ = ((images.clamp(-1, 1) + 1) * 127.5).round().byte().permute(0, 2, 3, 1).cpu().numpy()
    rows = -(-len(bytes_) // columns)
    canvas = np.full((rows * columns, *bytes_.shape[1:]), 255, np.uint8)
    canvas[: len(bytes_)] = bytes_
    side = bytes_.shape[1]
    tiled = canvas.reshape(rows, columns, side, side, 3).swapaxes(1, 2)
    return np.ascontiguousarray(tiled.reshape(rows * side, columns * side, 3))
