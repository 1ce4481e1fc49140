"""The gate's stage: from latents of clean and degraded views to the level of degradation."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import Dataset

from glesam.common.seeds import stable_seed
from glesam.data.base import SegmentationDataset
from glesam.enhance.gate import LEVELS, DegradationGate
from glesam.models.base import PromptableModel
from glesam.train.config import GateConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.latents import Progress, pair_latents, pair_stream
from glesam.train.feed.pack import ImagePack
from glesam.train.feed.pairs import PairBatches
from glesam.train.stages.frozen import FrozenPartsObjective, decay_groups, open_frozen
from glesam.train.validation import level_latents

_HIGHEST_THRESHOLD = LEVELS - 0.5


class GateObjective(FrozenPartsObjective):
    """Ordinal regression of the level on both views of each pair.

    Args:
        gate: learns.
        encoder: frozen segmentation model.
    """

    def __init__(self, gate: DegradationGate, encoder: PromptableModel) -> None:
        super().__init__(gate, encoder=encoder)

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return `loss`, the mean cross-entropy of the three questions, and `accuracy` of the rounded level."""
        clean, degraded = pair_latents(cast(PromptableModel, self.frozen["encoder"]), batch)
        levels = torch.cat([torch.zeros_like(batch["levels"]), batch["levels"]])
        odds = cast(DegradationGate, self.model).odds(torch.cat([clean, degraded]))
        each = F.binary_cross_entropy_with_logits(odds, ordinal_targets(levels), reduction="none").mean(dim=1)
        # Clean views are as many as all levels together: each weighs a third, for a quarter of the whole.
        weights = torch.cat([torch.full_like(batch["levels"], 1 / LEVELS), torch.ones_like(batch["levels"])])
        right = (odds.detach().sigmoid().sum(dim=1).round() == levels.round()).float()
        return {"loss": (each * weights).sum() / weights.sum(), "accuracy": right.mean()}


class GateStage:
    """Brings gate, frozen model and pairs to the training loop.

    Args:
        config: the configuration.
        packs: images to train on, in the order of `config.data`.
        val: data set to validate on, or None.
        cache: folder for cached latents; see `EnhancerStage`.
        on_progress: called with (done, total) while latents are cached.

    Raises:
        ModelError: unknown or unfit model.
        ConfigError: levels that cannot be paired.
    """

    name = "gate"

    def __init__(
        self,
        config: GateConfig,
        packs: list[ImagePack],
        val: SegmentationDataset | None = None,
        cache: str | Path | None = None,
        on_progress: Progress | None = None,
    ) -> None:
        self.config, self.packs, self.val = config, packs, val
        self.cache, self.on_progress = cache, on_progress
        self.encoder = open_frozen(config.model)
        clean, degraded = self._fit_latents()
        self._clear = self._clear_latents()
        torch.manual_seed(config.seed)
        gate = DegradationGate(clean.shape[1], config.hidden, config.threshold)
        gate.fit_features(torch.cat([clean, degraded]))
        self.objective = GateObjective(gate, self.encoder)

    def batches(self, rank: int) -> Dataset[Batch]:
        """The stream of training batches of a process."""
        pairs = PairBatches(self.packs, list(self.config.data.values()), self.config, rank)
        return pair_stream(self.encoder, pairs, self.cache, rank, self.on_progress)

    @torch.no_grad()
    def _fit_latents(self) -> tuple[Tensor, Tensor]:
        """Clean and degraded latents of the first batches."""
        stream = self.batches(0)
        parts = [pair_latents(self.encoder, stream[step]) for step in range(self.config.fit_batches)]
        return torch.cat([clean for clean, _ in parts]), torch.cat([degraded for _, degraded in parts])

    @torch.inference_mode()
    def _clear_latents(self) -> list[Tensor]:
        """Latents of whole images as they come: views that were enlarged or recoloured are no measure of clear ones."""
        pairs = PairBatches(self.packs, list(self.config.data.values()), self.config)
        rng = np.random.default_rng([self.config.seed, stable_seed("clear")])
        images = (self.encoder.prepare(pairs.image(rng)[0])[0] for _ in range(self.config.clear_photos))
        return [self.encoder.encode(pixels).latent.half() for pixels in images]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """All weights of the gate."""
        return decay_groups([self.objective.model], self.config.lr, self.config.weight_decay)

    def validate(self, model: nn.Module) -> dict[str, float]:
        """Accuracy of the rounded level, and how often clear images count as degraded and degraded ones as clear."""
        gate = self._calibrated(model)
        if self.val is None:
            return {}
        return gate_quality(gate, self.encoder, self.val, self.config.val_images, self.config.seed)

    def save(self, model: nn.Module, folder: Path) -> None:
        """Write the gate with its threshold."""
        self._calibrated(model).save_pretrained(folder)

    def _calibrated(self, model: nn.Module) -> DegradationGate:
        """Set the threshold on clear training images."""
        gate = cast(DegradationGate, model).eval()
        levels = torch.cat([gate.levels(latent.to(gate.centre)) for latent in self._clear]).cpu()
        gate.threshold = clear_threshold(levels, self.config.threshold, self.config.max_false_positive)
        return gate


def clear_threshold(levels: Tensor, least: float, allowed: float) -> float:
    """The level from which on an image counts as degraded: `least`, or higher, so that few clear ones do.

    Args:
        levels: `(n,)` levels that a gate gives clear images.
        least: lowest threshold.
        allowed: share of the clear images that may count as degraded, below 1. It holds, but for levels from 2.5 on:
            the threshold goes no higher.
    """
    most = int(allowed * len(levels))
    reached = float(levels.sort(descending=True).values[most])  # no more than `most` images are above it
    # A little above that image's own level, which would otherwise count as degraded, and above any rounding of it.
    return min(max(least, reached + 1e-3), _HIGHEST_THRESHOLD)


def ordinal_targets(levels: Tensor) -> Tensor:
    """`(B,)` levels in 0..3 to `(B, 3)` answers to "at least LQ-k?"; between two levels the answer is a share."""
    steps = torch.arange(LEVELS, device=levels.device, dtype=levels.dtype)
    return (levels[:, None] - steps).clamp(0, 1)


@torch.inference_mode()
def gate_quality(
    gate: DegradationGate, encoder: PromptableModel, data: SegmentationDataset, count: int, seed: int
) -> dict[str, float]:
    """Measure a gate on images at all levels.

    Returns:
        `accuracy` of the rounded level over four levels, `false_positive` (share of clear images that count as
        degraded), `missed_lq1` to `missed_lq3` (share of images of that level that count as clear).
    """
    right: list[bool] = []
    called: dict[str, list[bool]] = {}
    for levels, latents in level_latents(encoder, data, count, seed):
        for level, value in zip(levels, gate.levels(latents).tolist(), strict=True):
            right.append(round(value) == level.severity)
            called.setdefault(str(level), []).append(value >= gate.threshold)
    if not right:
        return {}
    shares = {name: sum(values) / len(values) for name, values in called.items()}
    missed = {f"missed_{name}": 1 - share for name, share in shares.items() if name != "clear"}
    return {"accuracy": sum(right) / len(right), "false_positive": shares["clear"], **missed}
