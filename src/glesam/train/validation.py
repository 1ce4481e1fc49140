"""Validation on clear and degraded images: the same sets of images for every stage, degraded by the test recipe."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from glesam.data.base import Sample, SegmentationDataset
from glesam.degrade.levels import CLEAR, LQ_LEVELS, Level, apply
from glesam.enhance.pipeline import shrink
from glesam.models.base import PromptableModel

LEVELS = (CLEAR, *(Level("lq", severity=n) for n in LQ_LEVELS))


class DegradedSet:
    """A data set at one level of quality; an image's degradation depends on its name and the seed only."""

    def __init__(self, data: SegmentationDataset, level: Level, seed: int) -> None:
        self.data, self.level, self.seed = data, level, seed
        self.name = f"{data.name} {level}"

    @property
    def names(self) -> list[str]:
        """Names of all samples, sorted."""
        return self.data.names

    def __len__(self) -> int:
        """Number of samples."""
        return len(self.data)

    def __getitem__(self, index: int) -> Sample:
        """Read and degrade one sample."""
        return apply(self.data[index], self.level, self.seed)


@torch.inference_mode()
def level_latents(
    model: PromptableModel, data: SegmentationDataset, count: int, seed: int, size: int | None = None
) -> Iterator[tuple[list[Level], Tensor]]:
    """Encode images spread over a set at every level, as at inference, the longer side `size` (None: the model's).

    Yields:
        The levels, clear first, and the image's latents `(levels, C, h, w)` in their order.
    """
    for index in np.linspace(0, len(data) - 1, min(count, len(data))).astype(int):
        sample = data[int(index)]
        pixels = torch.cat([model.prepare(apply(sample, level, seed).image)[0] for level in LEVELS])
        yield list(LEVELS), model.encode(shrink(pixels, size, model.side_step)).latent.float()
