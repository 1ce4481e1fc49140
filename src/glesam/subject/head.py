"""The saliency head: which cells of an image belong to its main thing.

It works on the features of the frozen ImageNet backbone, so that it does not depend on the segmenter's weights.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.fewshot.features import ImageFeatures
from glesam.models.registry import COMPACT_FOLDER
from glesam.weights.folders import load_module, save_module, seal, store_int8

FAMILY = "subject"
FOLDER = COMPACT_FOLDER.parent / "subject"
"""The head that ships with the package."""

_FINER = 2


class SubjectHead(nn.Module):
    """Convolutions on features at strides 16 and 32; logits at stride 8.

    Args:
        channels: features at stride 16 and at stride 32.
        hidden: width of the layers between.
        side: pixels of the longer side at which images are looked at.
    """

    def __init__(self, channels: tuple[int, int], hidden: int = 64, side: int = 288) -> None:
        super().__init__()
        self.channels, self.hidden, self.side = channels, hidden, side
        self.fine, self.coarse = nn.Conv2d(channels[0], hidden, 1), nn.Conv2d(channels[1], hidden, 1)
        self.near = nn.Conv2d(hidden, hidden, 3, padding=1)
        self.far = nn.Conv2d(hidden, hidden, 3, padding=3, dilation=3)
        self.whole = nn.Linear(hidden, hidden)
        self.output = nn.Conv2d(hidden, _FINER**2, 1)

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Logits `(B, 2h, 2w)` of features `(B, C, h, w)` and `(B, D, h/2, w/2)`, each place of unit length."""
        # Places of unit length have features far below 1.
        deep = F.interpolate(self.coarse(coarse * 10), fine.shape[-2:], mode="bilinear", align_corners=False)
        x = F.relu(self.fine(fine * 10) + deep)
        x = x + F.relu(self.near(x))
        x = x + F.relu(self.far(x))
        # What is salient depends on what else there is.
        x = F.relu(x + self.whole(x.mean(dim=(2, 3)))[:, :, None, None])
        return F.pixel_shuffle(self.output(x), _FINER)[:, 0]

    @torch.inference_mode()
    def map(self, features: ImageFeatures) -> npt.NDArray[np.float32]:
        """`(h, w)` float32, 0 to 1: how likely each cell at stride 8 is the main thing's; without the padding."""
        logits = self(features.fine[None], features.coarse[None])[0]
        rows, columns = (max(1, round(n * share)) for n, share in zip(logits.shape, features.share, strict=True))
        return np.asarray(logits[:rows, :columns].sigmoid().numpy(), np.float32)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the head with large kernels as 8-bit integers and the rest in float16, and seal the folder."""
        save_module(folder, self.half(), FAMILY, self.options)
        self.float()
        store_int8(folder)
        seal(folder)

    @property
    def options(self) -> dict[str, Any]:
        """What `from_pretrained` makes the head from."""
        return {"channels": list(self.channels), "hidden": self.hidden, "side": self.side}

    @classmethod
    def from_pretrained(cls, folder: str | Path = FOLDER) -> SubjectHead:
        """Load a saved head for evaluation.

        Raises:
            ModelError: a file is missing, corrupt, or does not fit.
        """
        return load_module(folder, FAMILY, lambda o: cls((o["channels"][0], o["channels"][1]), o["hidden"], o["side"]))
