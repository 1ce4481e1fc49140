"""The gate: reads from a latent how degraded its image is, so that clean images skip the enhancer.

A head of a few hundred thousand multiplications on the mean and deviation of each channel; the level is ordinal, 0
(clear) to 3 (as bad as LQ-3).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.enhance.gle import check_latent
from glesam.errors import ModelError
from glesam.weights.folders import load_module, save_module

FAMILY = "degradation-gate"
LEVELS = 3
"""Levels above clear."""
LEVEL_WORTH = 0.05
"""About what a level of degradation is worth in IoU."""


@dataclass(frozen=True)
class Verdict:
    """What a gate says of an image.

    Attributes:
        level: how degraded it is, 0 (clear) to 3; None where the gate gives no level.
        points: whether clicks and mask prompts are answered on the restored embedding.
        boxes: whether prompts with a box are.
        gains: expected gain in IoU by restoring, for clicks and for boxes; None where the gate gives none.
        surplus: by how much clicks and boxes are above what decides, in IoU or what comes near to it; None where the
            gate gives no number. Whoever sees many images of one scene decides by its mean.
    """

    level: float | None = None
    points: bool = True
    boxes: bool = True
    gains: tuple[float, float] | None = None
    surplus: tuple[float, float] | None = None

    @property
    def enhanced(self) -> bool:
        """Whether any kind of prompt needs the restored embedding."""
        return self.points or self.boxes


def judged_by_level(level: float, threshold: float) -> Verdict:
    """The verdict on an image of a level, by a gate that restores from a threshold on."""
    wanted, surplus = level >= threshold, LEVEL_WORTH * (level - threshold)
    return Verdict(level, wanted, wanted, surplus=(surplus, surplus))


class DegradationGate(nn.Module):
    """Predicts the level of degradation from a latent.

    Each of three outputs is the log-odds that the image is at least as bad as one level (ordinal regression, Frank and
    Hall, ECML 2001); the level is the sum of the three probabilities.

    Attributes:
        threshold: images of at least this level are enhanced; stored with the gate.
        centre, spread: `(2 * channels,)` buffers, mean and deviation of the pooled features in training.

    Args:
        channels: of the latent.
        hidden: width of the hidden layer.
        threshold: level from which on an image counts as degraded, above 0 and below 3.

    Raises:
        ModelError: impossible threshold.
    """

    centre: Tensor
    spread: Tensor

    def __init__(self, channels: int = 256, hidden: int = 64, threshold: float = 0.5) -> None:
        super().__init__()
        self.channels, self.hidden = channels, hidden
        self.threshold = check_threshold(threshold)
        self.register_buffer("centre", torch.zeros(2 * channels))
        self.register_buffer("spread", torch.ones(2 * channels))
        self.input, self.output = nn.Linear(2 * channels, hidden), nn.Linear(hidden, LEVELS)

    def forward(self, latent: Tensor) -> bool:
        """Whether one image, `(1, channels, h, w)`, is degraded: its level reaches the threshold.

        Raises:
            ModelError: the shape is another one.
        """
        return self.level(latent) >= self.threshold

    def odds(self, latent: Tensor) -> Tensor:
        """Log-odds `(B, 3)` that each image is at least LQ-1, LQ-2, LQ-3, for `(B, channels, h, w)` latents.

        Raises:
            ModelError: the shape is another one.
        """
        check_latent(latent, self.channels)
        features = (pool(latent.to(self.centre.dtype)) - self.centre) / self.spread
        odds: Tensor = self.output(F.gelu(self.input(features)))
        return odds

    @torch.no_grad()
    def levels(self, latent: Tensor) -> Tensor:
        """Level of each of `(B, channels, h, w)` latents: `(B,)` in 0 (clear) to 3."""
        return self.odds(latent).sigmoid().sum(dim=1)

    def level(self, latent: Tensor) -> float:
        """Level of one image, `(1, channels, h, w)`: 0 (clear) to 3 (as bad as LQ-3).

        Raises:
            ModelError: the shape is another one.
        """
        if len(latent) != 1:
            raise ModelError(f"expected the latent of one image, got {len(latent)}; use levels for several")
        return float(self.levels(latent))

    @torch.no_grad()
    def fit_features(self, latent: Tensor) -> None:
        """Take mean and deviation of the pooled features from `(B, channels, h, w)` latents, B at least 2."""
        features = pool(latent)
        self.centre.copy_(features.mean(dim=0))
        self.spread.copy_(features.std(dim=0).clamp(min=1e-4))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`."""
        options = {"channels": self.channels, "hidden": self.hidden, "threshold": self.threshold}
        save_module(folder, self, FAMILY, options)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> DegradationGate:
        """Load what `save_pretrained` wrote, for evaluation; every key must be accounted for.

        Raises:
            ModelError: a file is missing, corrupt, or does not fit.
        """
        return load_module(folder, FAMILY, lambda options: cls(**options))


def pool(latent: Tensor) -> Tensor:
    """Mean and standard deviation of each channel over the map: `(B, C, h, w)` to `(B, 2 C)`."""
    flat = latent.flatten(2)
    return torch.cat([flat.mean(dim=2), flat.std(dim=2, correction=0)], dim=1)


def check_threshold(threshold: float) -> float:
    """Give a usable threshold back.

    Raises:
        ModelError: it is not a number between 0 and 3, both excluded.
    """
    if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not math.isfinite(threshold):
        raise ModelError(f"expected a threshold between 0 and {LEVELS}, got {threshold!r}; the default is 0.5")
    if not 0 < threshold < LEVELS:
        raise ModelError(f"expected a threshold between 0 and {LEVELS}, got {threshold}; the default is 0.5")
    return float(threshold)
