"""Pairs of a clear and a degraded image at the image's own pixels, for restorers, which never resize.

A view that is scaled after degrading has softer noise and wider blur than what a restorer meets in use.
"""

from __future__ import annotations

import cv2
import numpy as np
import torch

from glesam.common.arrays import Ids
from glesam.images.pixels import RGB
from glesam.train.feed.batch import Batch
from glesam.train.feed.pairs import PairBatches


class NativePairs(PairBatches):
    """Item `step` is the batch of that step: `pixels` and `clean`, `(B, S, S, 3)` uint8 RGB, degraded and clear.

    Degrading costs more than cutting, so each degraded image gives `crops` squares.
    """

    crops = 4

    def __getitem__(self, step: int) -> Batch:
        """Make the batch of a step."""
        cv2.setNumThreads(0)  # no pool in a worker: the cores are the training process's, and 1 would wait for its pool
        rng = np.random.default_rng([self.pairs.seed, step, self.rank])
        low: list[RGB] = []
        clean: list[RGB] = []
        while len(low) < self.pairs.batch_size:
            image, mask = self._large_scene(rng)
            degraded, _ = self._degraded(image, mask, rng)
            for _ in range(min(self.crops, self.pairs.batch_size - len(low))):
                first, second = _same_crop(degraded, image, self.pairs.image_size, rng)
                low.append(first)
                clean.append(second)
        return {"pixels": torch.from_numpy(np.stack(low)), "clean": torch.from_numpy(np.stack(clean))}

    def _large_scene(self, rng: np.random.Generator) -> tuple[RGB, Ids]:
        """Draw an image that is no smaller than a crop."""
        size = self.pairs.image_size
        image, mask = self._scene(rng)
        bottom, right = (max(0, size - n) for n in mask.shape)
        image = np.asarray(cv2.copyMakeBorder(image, 0, bottom, 0, right, cv2.BORDER_REFLECT), np.uint8)
        return image, np.pad(mask, ((0, bottom), (0, right)))


def _same_crop(first: RGB, second: RGB, size: int, rng: np.random.Generator) -> tuple[RGB, RGB]:
    """Cut the same square of two images, mirrored half of the time."""
    y, x = (int(rng.integers(0, n - size + 1)) for n in first.shape[:2])
    step = -1 if rng.random() < 0.5 else 1
    a, b = (np.ascontiguousarray(image[y : y + size, x : x + size][:, ::step]) for image in (first, second))
    return a, b
