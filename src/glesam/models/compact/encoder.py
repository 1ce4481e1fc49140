"""The compact model's image encoder: backbone, neck, skips, and the modules that a model may go without."""

from __future__ import annotations

from typing import ClassVar

from torch import Tensor, nn

from glesam.models.base import EARLY, FINE, Embedding
from glesam.models.compact.coarse import CoarseLook
from glesam.models.compact.config import CompactConfig
from glesam.models.compact.efficientnet import EfficientNetLite
from glesam.models.compact.fine import WIDTH as FINE_WIDTH
from glesam.models.compact.neck import Neck


class CompactEncoder(nn.Module):
    """Image to latent at stride 16 and two skips at strides 4 and 8."""

    OPTIONAL: ClassVar[tuple[str, ...]] = ("coarse", "early")
    """Modules that a model may go without."""

    def __init__(self, config: CompactConfig) -> None:
        super().__init__()
        self.backbone = EfficientNetLite(config.backbone)
        c4, c8, c16, c32 = self.backbone.channels
        self.neck = Neck([c8, c16, c32], 256, config.attention_blocks, config.conv_blocks, config.drop_path)
        self.skip4, self.skip8 = nn.Conv2d(c4, 32, 1), nn.Conv2d(c8, 64, 1)
        for skip in (self.skip4, self.skip8):
            # Zero at the start: the decoder first learns from the latent, then takes detail as it helps.
            nn.init.zeros_(skip.weight)
            nn.init.zeros_(skip.bias)  # type: ignore[arg-type]
        self.coarse = CoarseLook([c8, c16, c32], 256) if config.coarse else None
        self.early = nn.Conv2d(32, FINE_WIDTH, 1) if config.fine else None

    def forward(self, pixel_values: Tensor, early: bool = False) -> Embedding:
        """Encode `(B, 3, S, S)` pixel values, S a multiple of 32; with the backbone's map at stride 16 if asked for."""
        stem = self.backbone.look(pixel_values)
        extras = {} if self.early is None else {FINE: self.early(stem)}
        map4, map8, map16, map32 = self.backbone.after_stem(stem)
        if early:
            extras[EARLY] = map16
        coarse = None if self.coarse is None else self.coarse(self.backbone, pixel_values)
        return Embedding(self.neck(map8, map16, map32, coarse), (self.skip4(map4), self.skip8(map8)), extras)
