"""The amodal stage: a network learns to complete masks of objects over which others were laid."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.amodal.network import AmodalNetwork
from glesam.fewshot.features import Backbone, pixel_values
from glesam.train.config import AmodalConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.occluded import OccludedBatches
from glesam.train.feed.pack import ImagePack
from glesam.train.losses import dice_loss
from glesam.train.stages.frozen import decay_groups

_VISIBLE_WEIGHT = 0.2
"""Weight of cells that are visible: they are the object's whatever the network says."""


class AmodalObjective(nn.Module):
    """Cross-entropy of the cells in the image, and Dice loss of the whole object.

    Args:
        model: learns.
        backbone: frozen ImageNet backbone.
    """

    def __init__(self, model: AmodalNetwork, backbone: Backbone) -> None:
        super().__init__()
        self.model, self._backbone = model, (backbone,)  # in a tuple: no part of what is averaged and saved

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, `bce`, `dice`, `iou` of whole objects and `hidden`, the IoU of their hidden parts."""
        visible, whole, inside = batch["visible"], batch["whole"], batch["inside"]
        logits = self.model(self._maps(batch["pixels"]), visible, inside)
        each = F.binary_cross_entropy_with_logits(logits, whole, reduction="none")
        weight = inside * (1 - (1 - _VISIBLE_WEIGHT) * visible)
        bce = (each * weight).sum() / weight.sum()
        dice = dice_loss(torch.where(visible > 0.5, logits.clamp(min=10.0), logits), whole).mean()
        with torch.no_grad():
            found, truth, seen = (logits > 0) | (visible > 0.5), whole > 0.5, visible > 0.5
            measured = {"iou": _iou(found, truth), "hidden": _iou(found & ~seen, truth & ~seen)}
        return {"loss": bce + dice, "bce": bce.detach(), "dice": dice.detach(), **measured}

    def _maps(self, pixels: Tensor) -> list[Tensor]:
        """Features of views `(B, S, S, 3)` uint8 at strides 8, 16 and 32; the backbone gets no gradient."""
        with torch.no_grad():
            return self._backbone[0](pixel_values(np.asarray(pixels.cpu())).to(pixels.device))[1:]


def _iou(found: Tensor, truth: Tensor) -> Tensor:
    """IoU of all cells of a batch together."""
    return (found & truth).sum() / (found | truth).sum().clamp(min=1)


class AmodalStage:
    """Brings network, frozen backbone and images to the training loop.

    Args:
        config: the configuration.
        packs: images of objects that nothing hides, in the order of `config.data`.
        backbone: frozen ImageNet backbone.
    """

    name = "amodal"

    def __init__(self, config: AmodalConfig, packs: list[ImagePack], backbone: Backbone) -> None:
        self.config, self.packs, self.backbone = config, packs, backbone
        torch.manual_seed(config.seed)
        probe = backbone(torch.zeros(1, 3, 64, 64))[1:]
        channels = (probe[0].shape[1], probe[1].shape[1], probe[2].shape[1])
        self.objective = AmodalObjective(AmodalNetwork(channels, config.hidden, config.side), backbone)

    def batches(self, rank: int) -> OccludedBatches:
        """The stream of training batches of a process."""
        return OccludedBatches(self.packs, list(self.config.data.values()), self.config, rank)

    def looked_at(self) -> tuple[list[str], dict[str, nn.Module]]:
        """The frozen backbone; see `train.origins`, which knows the packs by itself."""
        return [], {"backbone": self.backbone} if isinstance(self.backbone, nn.Module) else {}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All weights of the network."""
        return decay_groups([self.objective.model], self.config.lr, self.config.weight_decay)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Nothing: `benchmarks/amodal.py` measures on images and occluders that no training saw."""
        return {}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the network."""
        cast(AmodalNetwork, model).save_pretrained(folder)
