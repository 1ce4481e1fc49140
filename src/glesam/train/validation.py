"""Validation on clear and degraded photos: the same sets of photos for every stage, degraded by the test recipe."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from glesam.data.base import Sample, SegmentationDataset
from glesam.degrade.levels import CLEAR, LQ_LEVELS, Level, apply
from glesam.enhance.gate import DegradationGate
from glesam.enhance.pipeline import Restoration, shrink
from glesam.enhance.skips import SkipAdapter
from glesam.models.base import Embedding, ImageGeometry, MaskOutput, PromptableModel, PromptTensors

LEVELS = (CLEAR, *(Level("lq", severity=n) for n in LQ_LEVELS))


class DegradedSet:
    """A data set at one level of quality; a photo's degradation depends on its name and the seed only."""

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


class EnhancedModel(PromptableModel):
    """A promptable model whose `encode` restores the embedding; the whole path of `enhance="on"` as one module.

    Args:
        base: the segmentation model.
        enhancer: latent to latent of the same shape; None leaves the latent as it is.
        skips: changes the skips; None leaves them raw.
        gate: tells levels to a skip adapter that needs them.
        size: side of the square that photos are encoded in; None is the base model's own.
    """

    family: ClassVar[str] = "enhanced"

    def __init__(
        self,
        base: PromptableModel,
        enhancer: nn.Module | None = None,
        skips: SkipAdapter | None = None,
        gate: DegradationGate | None = None,
        size: int | None = None,
    ) -> None:
        super().__init__()
        self.size = size
        self.base, self.enhancer, self.skips, self.gate = base, enhancer, skips, gate
        self.image_size, self.side_step = base.image_size, base.side_step

    def preprocess(self, image: npt.NDArray[np.uint8]) -> tuple[Tensor, ImageGeometry]:
        """As the base model."""
        return self.base.preprocess(image)

    def encode(self, pixel_values: Tensor) -> Embedding:
        """Encode pixel values of the sizes that the base model takes, enhance the latent and restore the skips."""
        return self.restore(self.base.encode(shrink(pixel_values, self.size, self.side_step)))

    def restore(self, embedding: Embedding) -> Embedding:
        """Enhance the latent and restore the skips of an embedding."""
        levels = None if self.gate is None else self.gate.levels(embedding.latent)
        if self.enhancer is not None:
            embedding = embedding.with_latent(self.enhancer(embedding.latent))
        restored: Embedding = embedding if self.skips is None else self.skips(embedding, levels)
        return restored

    def decode(self, embedding: Embedding, prompts: PromptTensors, multimask: bool = False) -> MaskOutput:
        """As the base model, with logits of its usual size."""
        return Restoration().decode(self.base, embedding, prompts, multimask)

    def save_pretrained(self, folder: str | Path) -> None:
        """Save the base model into `base` and the enhancer, where there is one, into `enhancer`."""
        self.base.save_pretrained(Path(folder) / "base")
        if self.enhancer is not None:
            self.enhancer.save_pretrained(Path(folder) / "enhancer")  # type: ignore[operator]


@torch.inference_mode()
def level_latents(
    model: PromptableModel, data: SegmentationDataset, count: int, seed: int, size: int | None = None
) -> Iterator[tuple[list[Level], Tensor]]:
    """Encode photos spread over a set at every level, as at inference, the longer side `size` (None: the model's).

    Yields:
        The levels, clear first, and the photo's latents `(levels, C, h, w)` in their order.
    """
    for index in np.linspace(0, len(data) - 1, min(count, len(data))).astype(int):
        sample = data[int(index)]
        pixels = torch.cat([model.prepare(apply(sample, level, seed).image)[0] for level in LEVELS])
        yield list(LEVELS), model.encode(shrink(pixels, size, model.side_step)).latent.float()
