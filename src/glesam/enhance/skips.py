"""What becomes of the high-resolution skips of a degraded image.

SAM 2 and the compact model hand the decoder maps at strides 4 and 8 that never pass the enhancer and carry the
degradation around it. They stay raw by default; here are the two other ways: attenuated by the level of degradation, or
restored by a light branch of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.enhance.gate import LEVELS
from glesam.errors import ModelError
from glesam.models.base import Embedding
from glesam.weights.folders import load_module, save_module

FAMILY = "skip-adapter"
SkipKind = Literal["attenuate", "branch"]
KINDS: tuple[SkipKind, ...] = ("attenuate", "branch")


class SkipAdapter(nn.Module):
    """Changes the skips of degraded images; at the start it leaves them as they are.

    Args:
        kind: "attenuate" multiplies each channel by `exp(-slope * level)` with a slope learnt for each channel, so that
            a clear image (level 0) keeps its skips; "branch" adds what a light network makes of skip and latent.
        channels: of the latent.
        skips: channels of each skip, stride 4 first.
        width: how many times wider the branch is inside.

    Raises:
        ModelError: an unknown kind, or no skips.
    """

    def __init__(self, kind: SkipKind, channels: int = 256, skips: tuple[int, ...] = (32, 64), width: int = 2) -> None:
        super().__init__()
        if kind not in KINDS:
            raise ModelError(f"expected a skip adapter of {', '.join(KINDS)}, got {kind!r}; raw skips need none")
        if not skips:
            raise ModelError("expected a model with skips, got one without; SAM has none, so leave the adapter out")
        self.kind, self.channels, self.skips, self.width = kind, channels, tuple(skips), width
        if kind == "attenuate":
            self.slopes = nn.ParameterList(nn.Parameter(torch.zeros(n)) for n in self.skips)
        else:
            self.branches = nn.ModuleList(_Branch(channels, n, width) for n in self.skips)

    def forward(self, embedding: Embedding, levels: Tensor | None) -> Embedding:
        """Give an embedding whose latent is enhanced already its skips.

        Args:
            embedding: of B images.
            levels: `(B,)` levels of degradation, 0 to 3; needed by "attenuate" alone.

        Raises:
            ModelError: other skips than it was made for, or no levels where they are needed.
        """
        given = tuple(skip.shape[1] for skip in embedding.skips)
        if given != self.skips:
            raise ModelError(f"expected skips of {self.skips} channels, got {given}; use the model it was trained on")
        if self.kind == "branch":
            pairs = zip(self.branches, embedding.skips, strict=True)
            return embedding.with_skips(branch(skip, embedding.latent) for branch, skip in pairs)
        if levels is None:
            raise ModelError("expected levels of degradation to attenuate skips, got none; add a gate")
        scaled = (levels.to(embedding.latent) / LEVELS).clamp(0, 1)[:, None]
        factors = [torch.exp(-slope * scaled)[..., None, None] for slope in self.slopes]
        return embedding.with_skips(s * f for s, f in zip(embedding.skips, factors, strict=True))

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`."""
        options = {"kind": self.kind, "channels": self.channels, "skips": list(self.skips), "width": self.width}
        save_module(folder, self, FAMILY, options)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> SkipAdapter:
        """Load what `save_pretrained` wrote, for evaluation; every key must be accounted for.

        Raises:
            ModelError: a file is missing, corrupt, or does not fit.
        """
        return load_module(folder, FAMILY, lambda options: cls(**{**options, "skips": tuple(options["skips"])}))


class _Branch(nn.Module):
    """One residual block: depthwise 5 x 5, then two 1 x 1 with the latent joined in between; starts as the identity."""

    def __init__(self, channels: int, skip: int, width: int) -> None:
        super().__init__()
        self.depthwise = nn.Conv2d(skip, skip, 5, padding=2, groups=skip)
        self.norm = nn.GroupNorm(1, skip)
        self.widen, self.guide = nn.Conv2d(skip, width * skip, 1), nn.Conv2d(channels, width * skip, 1)
        self.narrow = nn.Conv2d(width * skip, skip, 1)
        nn.init.zeros_(self.narrow.weight)
        nn.init.zeros_(self.narrow.bias)  # type: ignore[arg-type]

    def forward(self, skip: Tensor, latent: Tensor) -> Tensor:
        """`(B, n, H, W)` skip and `(B, C, h, w)` latent to a skip of the same shape."""
        guide = F.interpolate(self.guide(latent), skip.shape[-2:], mode="bilinear", align_corners=False)
        hidden = F.gelu(self.widen(self.norm(self.depthwise(skip))) + guide)
        return skip + torch.as_tensor(self.narrow(hidden))
