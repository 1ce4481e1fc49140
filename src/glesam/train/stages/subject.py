"""The subject stage: a saliency head learns on features of the frozen ImageNet backbone, computed once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, cast

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from glesam.common.arrays import Float64
from glesam.common.seeds import stable_seed
from glesam.data.base import Sample, SegmentationDataset, is_kept_aside
from glesam.data.readers.registry import open_for_training
from glesam.errors import ConfigError
from glesam.fewshot.features import Backbone, image_features
from glesam.subject.head import SubjectHead
from glesam.train.config import SubjectConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.latents import Progress
from glesam.train.losses import dice_loss
from glesam.train.origins import images_key
from glesam.train.stages.frozen import decay_groups

_STRIDE = 16


def open_sets(config: SubjectConfig) -> list[SegmentationDataset]:
    """The data sets of a configuration.

    Raises:
        ConfigError: none is named.
        DataError: one cannot be read.
    """
    if not config.data:
        raise ConfigError("expected data to train on, got none; pass --data FOLDER or a config with 'data'")
    return [open_for_training(folder) for folder in config.data]


class KeptFeatures(Dataset[Batch]):
    """Features and masks of images in memory; item `step` is a batch of them, half of them mirrored.

    Args:
        backbone: frozen.
        samples: the images; all that is not background is the main thing.
        config: the configuration.
        rank: of this process; each draws other batches.
        on_progress: called with (done, total) while features are computed.
        weights: how often each image is drawn, of sum 1; all alike when None.
    """

    def __init__(
        self,
        backbone: Backbone,
        samples: Sequence[Callable[[], Sample]],
        config: SubjectConfig,
        rank: int = 0,
        on_progress: Progress | None = None,
        weights: Float64 | None = None,
    ) -> None:
        self.config, self.rank, self.weights = config, rank, weights
        rows = []
        for done, load in enumerate(samples, 1):
            rows.append(_look(backbone, load(), config.side))
            if on_progress is not None:
                on_progress(done, len(samples))
        self.parts = [torch.stack(part) for part in zip(*rows, strict=True)]

    def __len__(self) -> int:
        """Number of steps."""
        return self.config.steps

    def __getitem__(self, step: int) -> Batch:
        """The batch of a step: `fine`, `coarse`, `mask` (share of each cell at stride 8) and `valid`, float16."""
        rng = np.random.default_rng([self.config.seed, self.rank, step])
        count, size = len(self.parts[0]), self.config.batch_size
        drawn = rng.integers(count, size=size) if self.weights is None else rng.choice(count, size, p=self.weights)
        chosen = torch.from_numpy(drawn)
        mirrored = torch.from_numpy(rng.random(self.config.batch_size) < 0.5)
        parts = [part[chosen] for part in self.parts]
        parts = [torch.where(mirrored.view(-1, *[1] * (p.ndim - 1)), p.flip(-1), p) for p in parts]
        return dict(zip(("fine", "coarse", "mask", "valid"), parts, strict=True))


def _look(backbone: Backbone, sample: Sample, side: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Features of one image on a square grid, its mask at twice the grid's resolution, and what is not padding."""
    features = image_features(backbone, sample.image, side)
    grid = side // _STRIDE
    fine, coarse = _squared(features.fine, grid), _squared(features.coarse, grid // 2)
    height, width = sample.mask.shape
    rows, columns = (max(1, round(n * side / max(height, width) / 8)) for n in (height, width))
    mask = torch.zeros(2 * grid, 2 * grid)
    inside = (sample.mask > 0).astype(np.float32)
    mask[:rows, :columns] = torch.from_numpy(cv2.resize(inside, (columns, rows), interpolation=cv2.INTER_AREA))
    valid = torch.zeros(2 * grid, 2 * grid)
    valid[:rows, :columns] = 1
    return fine.half(), coarse.half(), mask.half(), valid.half()


def _squared(features: Tensor, side: int) -> Tensor:
    """Extend `(C, h, w)` with zeros below and to the right."""
    return F.pad(features, (0, side - features.shape[2], 0, side - features.shape[1]))


class SubjectObjective(nn.Module):
    """Cross-entropy of the head's maps over all cells, and the mean over images of each one's Dice loss."""

    def __init__(self, model: SubjectHead) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, `bce`, `dice` and `iou` of the map cut at one half."""
        logits = self.model(batch["fine"].float(), batch["coarse"].float())
        mask, valid = batch["mask"].float(), batch["valid"].float()
        each = F.binary_cross_entropy_with_logits(logits, mask, reduction="none")
        bce = (each * valid).sum() / valid.sum()
        logits = logits.masked_fill(valid == 0, -20.0)
        dice = dice_loss(logits, mask).mean()
        cut, truth = (logits > 0) & (valid > 0), mask > 0.5
        iou = ((cut & truth).sum(dim=(1, 2)) / (cut | truth).sum(dim=(1, 2)).clamp(min=1)).float().mean()
        return {"loss": bce + dice, "bce": bce.detach(), "dice": dice.detach(), "iou": iou.detach()}


class SubjectStage:
    """Brings head, frozen backbone and images to the training loop.

    Args:
        config: the configuration.
        datasets: data sets with one main thing an image, in the order of `config.data`; of images kept aside (see
            `is_kept_aside`) none is trained on, and `val_images` of them validate.
        backbone: frozen ImageNet backbone.
        on_progress: called with (done, total) while features are computed.

    Raises:
        ConfigError: no image to train on; or shares that differ, and a set without an image to train on.
    """

    name = "subject"

    def __init__(
        self,
        config: SubjectConfig,
        datasets: Sequence[SegmentationDataset],
        backbone: Backbone,
        on_progress: Progress | None = None,
    ) -> None:
        self.config, self.datasets, self.backbone, self.on_progress = config, datasets, backbone, on_progress
        torch.manual_seed(config.seed)
        probe = backbone(torch.zeros(1, 3, 64, 64))
        channels = (probe[2].shape[1], probe[3].shape[1])
        self.objective = SubjectObjective(SubjectHead(channels, config.hidden, config.side))

    def batches(self, rank: int) -> KeptFeatures:
        """The stream of training batches of a process."""
        chosen = self._chosen(False, self.config.photos)
        if not any(chosen):
            raise ConfigError("expected images to train on, got none that is not kept aside; give a larger data set")
        return KeptFeatures(
            self.backbone, self._loaders(chosen), self.config, rank, self.on_progress, self._weights(chosen)
        )

    def _chosen(self, aside: bool, most: int) -> list[list[int]]:
        """Places of images of one part, `most` of each set, drawn by seed and name."""
        found = []
        for data in self.datasets:
            names = [(name, index) for index, name in enumerate(data.names) if is_kept_aside(name) == aside]
            names.sort(key=lambda pair: stable_seed(self.config.seed, pair[0]))
            found.append([index for _, index in names[:most]])
        return found

    def _loaders(self, chosen: list[list[int]]) -> list[Callable[[], Sample]]:
        """Readers of images, given their places in each set."""
        pairs = zip(self.datasets, chosen, strict=True)
        return [lambda d=data, i=index: d[i] for data, places in pairs for index in places]  # type: ignore[misc]

    def _weights(self, chosen: list[list[int]]) -> Float64 | None:
        """How often each image is drawn, so that each set has its share; None where shares are equal.

        Raises:
            ConfigError: a set has no image to train on.
        """
        shares = list(self.config.data.values())
        if len(set(shares)) <= 1:
            return None
        for folder, places in zip(self.config.data, chosen, strict=True):
            if not places:
                raise ConfigError(
                    f"expected images to train on in {folder}, got none that is not kept aside; leave the set out"
                )
        each = np.repeat([share / len(p) for share, p in zip(shares, chosen, strict=True)], [len(p) for p in chosen])
        return np.asarray(each / each.sum(), np.float64)

    def looked_at(self) -> tuple[list[str], dict[str, nn.Module]]:
        """Keys of the images that are trained on, and the frozen backbone; see `train.origins`."""
        chosen = self._chosen(False, self.config.photos)
        keys = [images_key(data, places) for data, places in zip(self.datasets, chosen, strict=True)]
        return keys, {"backbone": self.backbone} if isinstance(self.backbone, nn.Module) else {}

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All weights of the head."""
        return decay_groups([self.objective.model], self.config.lr, self.config.weight_decay)

    @torch.no_grad()
    def validate(self, model: nn.Module) -> dict[str, float]:
        """IoU of the head's own map, cut at one half at stride 8, on images kept aside."""
        loaders = self._loaders(self._chosen(True, self.config.val_images))
        if not loaders:
            return {}
        rows = [_look(self.backbone, load(), self.config.side) for load in loaders]
        names = ("fine", "coarse", "mask", "valid")
        device = next(model.parameters()).device
        batch = {name: torch.stack(part).to(device) for name, part in zip(names, zip(*rows, strict=True), strict=True)}
        return {"iou_aside": float(SubjectObjective(cast(SubjectHead, model))(batch)["iou"])}

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the head."""
        cast(SubjectHead, model).save_pretrained(folder)
