"""A gate that judges by gain: is the restored embedding the better one for this image, for clicks, for boxes?

How degraded an image looks and whether restoring helps are different questions: an encoder that was trained on degraded
images hides the damage in its latent, and reads some kinds of damage as well as its restoration does. So the gate looks
at early maps and plain pixel statistics too, and predicts what counts: the difference in IoU that restoring makes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.enhance.gate import LEVELS, Verdict, pool
from glesam.errors import ModelError
from glesam.models.base import FINE, Embedding
from glesam.weights.folders import load_module, save_module

FAMILY = "gain-gate"
PROMPTS = ("points", "boxes")
_SCALES = 4
_DARK = 16
"""Side in pixels of the squares whose darkest value makes the dark channel."""
STATISTICS = 3 + 3 + 5 + 2 * _SCALES
_TINY = 1e-4


@runtime_checkable
class JudgesGain(Protocol):
    """A gate that says for each kind of prompt whether to restore: `GainGate`, or an exported one."""

    def verdict(self, embedding: Embedding, pixels: Tensor) -> Verdict:
        """Judge one image by its first embedding and its model input `(1, 3, h, w)`."""
        ...


class GainGate(nn.Module):
    """Predicts level of degradation and gain in IoU from the first embedding and the pixels.

    Attributes:
        margins: gain for clicks and for boxes above which an image is restored; stored with the gate.
        centre, spread: `(D,)` buffers, mean and deviation of the features in training.

    Args:
        channels: of latent and skips, one after the other.
        early: channels of the early features at stride 2, 0 where the model has none.
        hidden: width of the hidden layer.
        margins: see above.

    Raises:
        ModelError: margins that are no two numbers from -1 to 1.
    """

    centre: Tensor
    spread: Tensor

    def __init__(
        self,
        channels: Sequence[int] = (256, 32, 64),
        early: int = 0,
        hidden: int = 32,
        margins: Sequence[float] = (0.0, 0.0),
    ) -> None:
        super().__init__()
        self.channels, self.early, self.hidden = tuple(channels), early, hidden
        self.margins = check_margins(margins)
        size = 2 * (sum(self.channels) + early) + STATISTICS
        self.register_buffer("centre", torch.zeros(size))
        self.register_buffer("spread", torch.ones(size))
        self.input, self.output = nn.Linear(size, hidden), nn.Linear(hidden, LEVELS + len(PROMPTS))
        self.drop = nn.Dropout(0.2)

    @classmethod
    def of(cls, embedding: Embedding, hidden: int = 32) -> GainGate:
        """A new gate for embeddings of this kind."""
        early = embedding.extras.get(FINE)
        channels = [m.shape[1] for m in (embedding.latent, *embedding.skips)]
        return cls(channels, 0 if early is None else early.shape[1], hidden)

    def features(self, embedding: Embedding, pixels: Tensor) -> Tensor:
        """See `gate_features`.

        Raises:
            ModelError: maps of another number of channels than the gate was made for.
        """
        early = embedding.extras.get(FINE)
        found = tuple(m.shape[1] for m in (embedding.latent, *embedding.skips)), 0 if early is None else early.shape[1]
        if found != (self.channels, self.early):
            raise ModelError(
                f"expected maps of {self.channels} and {self.early} early channels for the gate, got {found[0]} and "
                f"{found[1]}; use a gate that was made for this model"
            )
        # Models move pixels to their device themselves; those that come here lie where the image was read.
        return gate_features(embedding, pixels.to(embedding.latent.device)).to(self.centre)

    def answers(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """`(B, 3)` log-odds of the levels, as `DegradationGate.odds`, and `(B, 2)` gains, of `(B, D)` features."""
        hidden = self.drop(F.gelu(self.input(self.drop((features - self.centre) / self.spread))))
        out: Tensor = self.output(hidden)
        return out[:, :LEVELS], out[:, LEVELS:]

    @torch.no_grad()
    def verdict(self, embedding: Embedding, pixels: Tensor) -> Verdict:
        """Judge one image.

        Args:
            embedding: its first encoding, batch of one.
            pixels: `(1, 3, h, w)` what was encoded.

        Raises:
            ModelError: several images, or maps of other shapes.
        """
        if len(embedding.latent) != 1 or len(pixels) != 1:
            raise ModelError(f"expected one image to judge, got {len(embedding.latent)}; ask for one at a time")
        odds, gains = self.answers(self.features(embedding, pixels))
        return self.decide(float(odds.sigmoid().sum()), gains[0].tolist())

    def decide(self, level: float, gains: Sequence[float]) -> Verdict:
        """The verdict on an image of a level and expected gains."""
        return decided(level, gains, self.margins)

    @torch.no_grad()
    def fit_features(self, features: Tensor) -> None:
        """Take mean and deviation from `(B, D)` features, B at least 2."""
        self.centre.copy_(features.mean(dim=0))
        self.spread.copy_(features.std(dim=0).clamp(min=1e-3))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`."""
        options = {"channels": self.channels, "early": self.early, "hidden": self.hidden, "margins": self.margins}
        save_module(folder, self, FAMILY, options)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> GainGate:
        """Load what `save_pretrained` wrote, for evaluation; every key must be accounted for.

        Raises:
            ModelError: a file is missing, corrupt, or does not fit.
        """
        return load_module(folder, FAMILY, lambda options: cls(**options))


def decided(level: float, gains: Sequence[float], margins: Sequence[float]) -> Verdict:
    """The verdict on an image: each kind of prompt is restored where its gain is above its margin."""
    first, second = (float(gain) - margin for gain, margin in zip(gains, margins, strict=True))
    return Verdict(level, first > 0, second > 0, (float(gains[0]), float(gains[1])), (first, second))


def gate_features(embedding: Embedding, pixels: Tensor) -> Tensor:
    """Pooled maps and pixel statistics: mean and deviation of each channel of latent, skips and early features.

    Args:
        embedding: of B images.
        pixels: `(B, 3, h, w)` model input.

    Returns:
        `(B, D)` float32.
    """
    maps = [embedding.latent, *embedding.skips, *(m for m in (embedding.extras.get(FINE),) if m is not None)]
    return torch.cat([*(pool(m.float()) for m in maps), pixel_statistics(wide_enough(pixels.float()))], dim=1)


def wide_enough(pixels: Tensor) -> Tensor:
    """`(B, 3, h, w)` with sides of at least 16 pixels: what is narrower is filled up with its last row or column."""
    missing = [max(0, _DARK - side) for side in pixels.shape[-2:]]
    return F.pad(pixels, (0, missing[1], 0, missing[0]), mode="replicate") if any(missing) else pixels


def pixel_statistics(pixels: Tensor) -> Tensor:
    """What cameras and codecs leave in an image: `(B, 19)` numbers of `(B, 3, h, w)` model input, sides of 16 or more.

    Mean and deviation of each colour; deviation and range of the grey values, saturation, mean and deviation of the
    dark channel (He et al., CVPR 2009: haze lifts it); at four scales the logarithms of the noise estimate of Immerkaer
    (Computer Vision and Image Understanding 1996) and of the mean gradient, which blur, grain and blocks move apart.
    """
    grey = pixels.mean(dim=1, keepdim=True)
    flat = pixels.flatten(2)
    least = -F.max_pool2d(-pixels.amin(dim=1, keepdim=True), _DARK)
    saturation = (pixels.amax(dim=1) - pixels.amin(dim=1)).mean(dim=(1, 2))
    coarse = F.avg_pool2d(grey, _DARK // 2).flatten(1)
    found = [
        *flat.mean(dim=2).unbind(1),
        *flat.std(dim=2, correction=0).unbind(1),
        grey.flatten(1).std(dim=1, correction=0),
        coarse.amax(dim=1) - coarse.amin(dim=1),
        saturation,
        least.flatten(1).mean(dim=1),
        least.flatten(1).std(dim=1, correction=0),
    ]
    kernel = grey.new_tensor([[1.0, -2.0, 1.0], [-2.0, 4.0, -2.0], [1.0, -2.0, 1.0]])[None, None]
    for scale in range(_SCALES):
        grey = grey if scale == 0 else F.avg_pool2d(grey, 2)
        noise = F.conv2d(F.pad(grey, (1, 1, 1, 1), mode="replicate"), kernel).abs().mean(dim=(1, 2, 3))
        steps = (grey[..., 1:] - grey[..., :-1]).abs().mean(dim=(1, 2, 3))
        steps = steps + (grey[..., 1:, :] - grey[..., :-1, :]).abs().mean(dim=(1, 2, 3))
        found += [(noise + _TINY).log(), (steps + _TINY).log()]
    return torch.stack(found, dim=1)


def check_margins(margins: Sequence[float]) -> tuple[float, float]:
    """Give usable margins back.

    Raises:
        ModelError: they are no two numbers from -1 to 1.
    """
    values = list(margins) if isinstance(margins, (list, tuple)) else []
    right = [isinstance(value, (int, float)) and -1 <= value <= 1 for value in values]
    if len(values) != len(PROMPTS) or not all(right):
        raise ModelError(f"expected margins for {' and '.join(PROMPTS)} from -1 to 1, got {margins!r}; such as 0 and 0")
    return float(values[0]), float(values[1])
