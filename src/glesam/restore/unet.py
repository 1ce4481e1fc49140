"""A small residual U-Net for images of mixed degradations: trained here, under 2 MB, a fraction of an encoder's cost.

A U-Net (Ronneberger et al., MICCAI 2015) of residual blocks on an image folded to half its size (Shi et al., CVPR
2016; as a denoiser's input Zhang et al., FFDNet, TIP 2018). It has no normalisation: statistics over an image would
make the result depend on how it is cut into tiles.
"""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.weights.folders import load_module, save_tensors

FAMILY = "restoration-unet"


class RestorationUnet(nn.Module):
    """Image to image: the network adds a correction, which starts at zero, so that a new network is the identity.

    Args:
        widths: channels at strides 2, 4, 8, ...
        depth: residual blocks at the coarsest stride; the others have one on the way down and one on the way up.
    """

    def __init__(self, widths: tuple[int, ...] = (20, 40, 80), depth: int = 2) -> None:
        super().__init__()
        self.widths, self.depth = tuple(widths), depth
        self.head = nn.Conv2d(12, widths[0], 3, padding=1)
        pairs = list(pairwise(widths))
        self.down = nn.ModuleList(_Block(width) for width in widths[:-1])
        self.shrink = nn.ModuleList(nn.Conv2d(fine, coarse, 2, stride=2) for fine, coarse in pairs)
        self.middle = nn.Sequential(*(_Block(widths[-1]) for _ in range(depth)))
        self.grow = nn.ModuleList(nn.ConvTranspose2d(coarse, fine, 2, stride=2) for fine, coarse in pairs)
        self.up = nn.ModuleList(_Block(width) for width in widths[:-1])
        self.tail = nn.Conv2d(widths[0], 12, 3, padding=1)
        nn.init.zeros_(self.tail.weight)
        nn.init.zeros_(self.tail.bias)  # type: ignore[arg-type]

    @property
    def multiple(self) -> int:
        """What sides must be multiples of."""
        return 1 << len(self.widths)

    @property
    def reach(self) -> int:
        """Pixels beyond which nothing acts on an output pixel."""
        blocks = [2] * (len(self.widths) - 1) + [self.depth]
        # A block is two 3 x 3 convolutions, so two cells of its stride; head and tail add a cell each. Cells of a
        # coarse stride may begin up to a whole cell away.
        cells = sum(2 * count * (2 << level) for level, count in enumerate(blocks))
        return cells + 2 * 2 + self.multiple

    def forward(self, pixels: Tensor) -> Tensor:
        """Restore `(B, 3, H, W)` images, 0 to 1, sides multiples of `multiple`; the result is not clamped."""
        hidden = self.head(F.pixel_unshuffle(pixels, 2))
        kept = []
        for block, shrink in zip(self.down, self.shrink, strict=True):
            kept.append(block(hidden))
            hidden = shrink(kept[-1])
        hidden = self.middle(hidden)
        for block, grow in zip(reversed(self.up), reversed(self.grow), strict=True):
            hidden = block(grow(hidden) + kept.pop())
        return pixels + F.pixel_shuffle(self.tail(hidden), 2)

    def save_pretrained(self, folder: str | Path) -> None:
        """Write `config.json` and `model.safetensors`, weights in half precision."""
        half = {key: value.detach().half() for key, value in self.state_dict().items()}
        save_tensors(folder, half, {"family": FAMILY, "widths": list(self.widths), "depth": self.depth})

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> RestorationUnet:
        """Load what `save_pretrained` wrote, for evaluation, in float32.

        Raises:
            ModelError: a file is missing, corrupt, or does not fit.
        """
        return load_module(folder, FAMILY, lambda options: cls(tuple(options["widths"]), int(options["depth"])))


class _Block(nn.Module):
    """Two convolutions with a shortcut, as in EDSR (Lim et al., CVPRW 2017)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        """`(B, width, h, w)` to the same shape."""
        return x + torch.as_tensor(self.conv2(F.relu(self.conv1(x))))
