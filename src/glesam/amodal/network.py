"""The completion network: from what is seen of an object, and of what stands around it, to the whole object.

It works on the features of the frozen ImageNet backbone, so that it depends on no segmenter and completes masks of any.
The papers on amodal masks put such layers on SAM's own features (Amodal SAM, arXiv 2604.20748) or tune its decoder
(SAMEO, arXiv 2503.06261); their code was not at hand, and the layers here are of our own design.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.models.registry import COMPACT_FOLDER
from glesam.weights.folders import load_module, save_module, seal, store_int8

FAMILY = "amodal"
FOLDER = COMPACT_FOLDER.parent / "amodal"
"""The network that ships with the package."""

_FINER = 2
_DILATIONS = (1, 2, 4, 1, 2, 4)


class AmodalNetwork(nn.Module):
    """Convolutions at stride 8 on features at strides 8, 16 and 32 and on the visible mask; logits at stride 4.

    Args:
        channels: features at strides 8, 16 and 32.
        hidden: width of the layers between.
        side: pixels of the view's side.
    """

    def __init__(self, channels: tuple[int, int, int], hidden: int = 64, side: int = 224) -> None:
        super().__init__()
        self.channels, self.hidden, self.side = channels, hidden, side
        self.features = nn.ModuleList([nn.Conv2d(count, hidden, 1) for count in channels])
        self.mask = nn.Conv2d(2 * _FINER**2, hidden, 3, padding=1)
        self.blocks = nn.ModuleList([_FarBlock(hidden, dilation) for dilation in _DILATIONS])
        self.whole = nn.Linear(hidden, hidden)
        self.output = nn.Conv2d(hidden, _FINER**2, 1)

    def forward(self, maps: list[Tensor], visible: Tensor, inside: Tensor) -> Tensor:
        """Logits `(B, S/4, S/4)` of whole objects.

        Args:
            maps: the backbone's, at strides 8, 16 and 32.
            visible: `(B, S/4, S/4)` share of each cell that is the object's visible part, 0 to 1.
            inside: `(B, S/4, S/4)` share of each cell that is image.
        """
        planes = torch.stack([visible, inside], dim=1)
        x = self.mask(F.pixel_unshuffle(planes, _FINER) - 0.5)
        for layer, features in zip(self.features, maps, strict=True):
            # Places of unit length have features far below 1.
            seen = layer(F.normalize(features, dim=1) * 10)
            x = x + F.interpolate(seen, x.shape[-2:], mode="bilinear", align_corners=False)
        for number, block in enumerate(self.blocks):
            x = block(x)
            if number == 2:  # half way: what the object is, from all that is seen of it
                x = x + self.whole(x.mean(dim=(2, 3)))[:, :, None, None]
        return F.pixel_shuffle(self.output(x), _FINER)[:, 0]

    def save_pretrained(self, folder: str | Path) -> None:
        """Write the network with its large kernels as 8-bit integers and the rest in float16, and seal the folder."""
        save_module(folder, self.half(), FAMILY, self.options)
        self.float()
        store_int8(folder)
        seal(folder)

    @property
    def options(self) -> dict[str, Any]:
        """What `from_pretrained` makes the network from."""
        return {"channels": list(self.channels), "hidden": self.hidden, "side": self.side}

    @classmethod
    def from_pretrained(cls, folder: str | Path = FOLDER) -> AmodalNetwork:
        """Load a saved network for evaluation.

        Raises:
            ModelError: a file is missing, corrupt, or does not fit.
        """
        return load_module(folder, FAMILY, lambda o: cls(tuple(o["channels"]), o["hidden"], o["side"]))


@functools.cache
def bundled_network() -> AmodalNetwork:
    """The network that ships with the package, frozen, on the CPU; loaded once a process.

    Raises:
        ModelError: the bundled weights are missing or corrupt.
    """
    return AmodalNetwork.from_pretrained().requires_grad_(False).eval()


class _FarBlock(nn.Module):
    """A depthwise kernel that reaches far, then all channels together; added to what came."""

    def __init__(self, hidden: int, dilation: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(1, hidden)
        self.far = nn.Conv2d(hidden, hidden, 5, padding=2 * dilation, dilation=dilation, groups=hidden)
        self.mixed = nn.Conv2d(hidden, hidden, 1)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, C, h, w)` to the same."""
        found: Tensor = x + self.mixed(F.relu(self.far(self.norm(x))))
        return found
