"""The restorer stage: a small U-Net learns to turn degraded images into clear ones, on this project's degradations."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from torch import Tensor, nn

from glesam.data.base import SegmentationDataset
from glesam.degrade.levels import apply
from glesam.restore.networks import unet_restorer
from glesam.restore.quality import psnr
from glesam.restore.unet import RestorationUnet
from glesam.train.config import RestorerConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.native import NativePairs
from glesam.train.feed.pack import ImagePack
from glesam.train.stages.autoencoder import edge_loss
from glesam.train.stages.frozen import decay_groups
from glesam.train.validation import LEVELS

BEST_PSNR = 60.0
"""Equal images have no finite PSNR; means count them with this, at which no byte differs by much more than one."""


class RestorerObjective(nn.Module):
    """Absolute error of restored crops."""

    def __init__(self, model: RestorationUnet, edge_weight: float) -> None:
        super().__init__()
        self.model, self.edge_weight = model, edge_weight

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, `l1` (values 0 to 1) and `edges`."""
        low, clean = (batch[name].permute(0, 3, 1, 2).float() / 255 for name in ("pixels", "clean"))
        restored = self.model(low)
        l1, edges = nn.functional.l1_loss(restored, clean), edge_loss(restored, clean)
        return {"loss": l1 + self.edge_weight * edges, "l1": l1, "edges": edges}


class RestorerStage:
    """Brings the U-Net and its pairs to the training loop.

    Args:
        config: the configuration.
        packs: images to train on, in the order of `config.data`.
        val: data set to validate on, or None.
    """

    name = "restorer"

    def __init__(self, config: RestorerConfig, packs: list[ImagePack], val: SegmentationDataset | None = None) -> None:
        self.config, self.packs, self.val = config, packs, val
        torch.manual_seed(config.seed)
        network = RestorationUnet(config.widths, config.depth)
        # On a CPU, convolutions with few channels run a tenth faster with these beside each other.
        network = network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.objective = RestorerObjective(network, config.edge_weight)

    def batches(self, rank: int) -> NativePairs:
        """The stream of training batches of a process."""
        return NativePairs(self.packs, list(self.config.data.values()), self.config, rank)

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All weights."""
        return decay_groups([self.objective.model], self.config.lr, self.config.weight_decay)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Mean PSNR of restored images at each level, and of the degraded ones as they are."""
        return {} if self.val is None else measure(cast(RestorationUnet, model), self.val, self.config)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the U-Net in half precision."""
        cast(RestorationUnet, model).save_pretrained(folder)


def measure(model: RestorationUnet, data: SegmentationDataset, config: RestorerConfig) -> dict[str, float]:
    """PSNR in dB on `config.val_images` images spread over a set.

    Returns:
        `psnr_LEVEL` of restored images and `plain_LEVEL` of what they were made from, for clear and LQ-1 to LQ-3.
    """
    restorer = unet_restorer(model.eval(), device=str(next(model.parameters()).device))
    values: dict[str, list[float]] = {}
    for index in np.linspace(0, len(data) - 1, min(config.val_images, len(data))).astype(int):
        sample = data[int(index)]
        for level in LEVELS:
            degraded = apply(sample, level, config.seed).image
            pair = {"psnr": restorer.restore(degraded), "plain": degraded}
            for name, image in pair.items():
                values.setdefault(f"{name}_{level}", []).append(min(BEST_PSNR, psnr(image, sample.image)))
    return {name: float(np.mean(each)) for name, each in values.items()}
