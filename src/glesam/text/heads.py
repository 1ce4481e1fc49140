"""Dense heads: words that ImageNet's classes lack, on the features of its frozen backbone.

A small network of two 1 x 1 convolutions on strides 16 and 32; one logit for each cell and word, independent of the
others, so that a window may be a building too.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.text.classifier import Cells
from glesam.weights.folders import load_module

FAMILY = "word-heads"


class DenseHeads(nn.Module):
    """Logits of K words for each cell at stride 16.

    Args:
        words: the K words.
        channels: features at stride 16 and at stride 32.
        hidden: width of the layer between.

    Attributes:
        median: `(K,)` median over images without the word of the largest logit; set by training.
        spread: `(K,)` 1.4826 times their median absolute deviation.
    """

    median: Tensor
    spread: Tensor
    mean: Tensor
    deviation: Tensor

    def __init__(self, words: tuple[str, ...], channels: tuple[int, int], hidden: int = 128) -> None:
        super().__init__()
        self.words, self.channels, self.hidden_channels = words, channels, hidden
        self.hidden = nn.Conv2d(sum(channels), hidden, 1)
        self.output = nn.Conv2d(hidden, len(words), 1)
        for name, size in (("mean", sum(channels)), ("deviation", sum(channels)), ("median", len(words))):
            self.register_buffer(name, torch.zeros(size))
        self.register_buffer("spread", torch.ones(len(words)))
        self.deviation.fill_(1)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> DenseHeads:
        """Load saved heads for evaluation.

        Raises:
            ModelError: a file is missing, corrupt, or does not fit.
        """
        return load_module(
            folder, FAMILY, lambda o: cls(tuple(o["words"]), (o["channels"][0], o["channels"][1]), o["hidden"])
        )

    @property
    def options(self) -> dict[str, Any]:
        """What `from_pretrained` makes the heads from."""
        return {"words": list(self.words), "channels": list(self.channels), "hidden": self.hidden_channels}

    def forward(self, features: Tensor) -> Tensor:
        """Logits `(B, K, h, w)` of `joined_features` `(B, c, h, w)`."""
        scaled = (features - self.mean[:, None, None]) / self.deviation[:, None, None]
        logits: Tensor = self.output(F.relu(self.hidden(scaled)))
        return logits

    @torch.inference_mode()
    def logits(self, cells: Cells) -> Tensor:
        """Logits `(K, h, w)` at stride 16 of what the classifier saw."""
        found: Tensor = self(joined_features(cells)[None])[0]
        return found


def joined_features(cells: Cells) -> Tensor:
    """Features `(c, h, w)` at stride 16: those at stride 32 enlarged (bilinear) and put beside."""
    deep = F.interpolate(cells.deep[None], cells.middle.shape[1:], mode="bilinear", align_corners=False)[0]
    return torch.cat([cells.middle, deep])
