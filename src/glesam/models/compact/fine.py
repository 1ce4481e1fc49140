"""Masks at stride 2 for the compact model, after the idea of HQ-SAM (Ke et al., NeurIPS 2023).

The decoder's own masks have a cell for every four pixels, hence edges in steps. Early features of the image, at stride
2, are fused with the decoder's upscaled map, and a vector made from the mask token picks what is added to the masks.
HQ-SAM has a token of its own, since SAM stays frozen there; here all is trained together, and the mask token serves.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

from glesam.models.compact.cells import nest, unnest

WIDTH = 16
"""Channels of the features at stride 2."""


class FineHead(nn.Module):
    """Adds detail at stride 2 to mask logits at stride 4.

    The last layer starts at zero, so that a trained model can be given the head and continues from where it is.

    Args:
        token_channels: channels of the mask token.
        pixel_channels: channels of the decoder's upscaled map.
    """

    def __init__(self, token_channels: int = 256, pixel_channels: int = 32) -> None:
        super().__init__()
        self.spread = nn.Linear(pixel_channels, 4 * WIDTH)
        self.pick = nn.Sequential(
            nn.Linear(token_channels, token_channels), nn.ReLU(), nn.Linear(token_channels, WIDTH)
        )
        nn.init.zeros_(self.pick[-1].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.pick[-1].bias)  # type: ignore[arg-type]

    def forward(self, token: Tensor, pixels: Tensor, early: Tensor, logits: Tensor) -> Tensor:
        """Refine M prompts' masks.

        Args:
            token: `(M, 256)` mask token after the decoder's attention.
            pixels: `(M, 16 * h * w, 32)` upscaled map, in the order of `nest`.
            early: `(M or 1, 16, 8h, 8w)` early features of the image at stride 2.
            logits: `(M, K, 4h, 4w)`.

        Returns:
            `(M, K, 8h, 8w)` logits.
        """
        size = (logits.shape[-2] // 4, logits.shape[-1] // 4)
        count, cells, _ = pixels.shape
        features = F.relu(self.spread(pixels).view(count, 4 * cells, WIDTH) + nest(early, size))
        detail = features @ self.pick(token).unsqueeze(2)
        double = F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
        return double + unnest(detail.transpose(1, 2), size, levels=3)
