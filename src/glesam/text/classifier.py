"""The frozen ImageNet classifier of the offline vocabulary, applied to each cell of an image.

EfficientNet-Lite ends in a 1 x 1 convolution, a mean over cells and a linear layer. The linear layer is applied before
the mean instead, which gives each cell its own 1,000 logits; their mean over the cells is the classifier's answer, so
they are its class activation maps (Zhou et al., CVPR 2016) with one forward pass and no gradients.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.images.pixels import RGB
from glesam.models.compact.efficientnet import EfficientNetLite
from glesam.weights.folders import load_module

FAMILY = "words"
_STRIDE = 32
_HEAD_CHANNELS = 1280


@dataclass(frozen=True)
class Cells:
    """What the classifier sees in one image, at one scale.

    Attributes:
        logits: `(C, h, w)` of the classes, at stride 32.
        middle: `(c, 2h, 2w)` features at stride 16.
        deep: `(c', h, w)` features at stride 32.
    """

    logits: Tensor
    middle: Tensor
    deep: Tensor


class CellClassifier(nn.Module):
    """EfficientNet-Lite with its classifier.

    Args:
        variant: `lite0`, `lite1` or `lite2`.
        classes: number C of classes.
    """

    def __init__(self, variant: str = "lite2", classes: int = 1000) -> None:
        super().__init__()
        self.backbone = EfficientNetLite(variant)
        self.head = nn.Conv2d(self.backbone.channels[-1], _HEAD_CHANNELS, 1)
        self.linear = nn.Linear(_HEAD_CHANNELS, classes)

    @classmethod
    def from_pretrained(cls, folder: str | Path) -> CellClassifier:
        """Load a saved classifier for evaluation.

        Raises:
            ModelError: a file is missing, corrupt, or does not fit.
        """
        loaded = load_module(folder, FAMILY, lambda options: cls(options["variant"], options["classes"]))
        # Depthwise convolutions on a CPU are faster with channels last.
        return loaded.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Logits `(B, C, h, w)` and the features at strides 16 and 32 of `(B, 3, 32 h, 32 w)` pixel values."""
        maps = self.backbone(pixel_values)
        hidden = F.relu6(self.head(maps[-1]))
        return F.conv2d(hidden, self.linear.weight[:, :, None, None], self.linear.bias), maps[-2], maps[-1]

    @torch.inference_mode()
    def look(self, image: RGB, side: int) -> Cells:
        """Apply the classifier to an image.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            side: pixels that the longer side gets; both sides are rounded to multiples of 32, at least 32.
        """
        logits, middle, deep = self(_pixel_values(image, side))
        return Cells(logits[0], middle[0], deep[0])


def _pixel_values(image: RGB, side: int) -> Tensor:
    """`(1, 3, h, w)` pixel values of an image, as EfficientNet-Lite was trained: `(x - 127) / 128`."""
    import cv2

    height, width = image.shape[:2]
    scale = side / max(height, width)
    rows, columns = (max(_STRIDE, round(n * scale / _STRIDE) * _STRIDE) for n in (height, width))
    # Averaging over areas when shrinking, as a reduced image looks; linear when enlarging.
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    resized = np.asarray(cv2.resize(image, (columns, rows), interpolation=how))
    pixels = torch.from_numpy(resized).permute(2, 0, 1)[None].float().sub_(127).div_(128)
    return pixels.contiguous(memory_format=torch.channels_last)
