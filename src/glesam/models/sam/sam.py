"""SAM (Kirillov et al., ICCV 2023, arXiv 2304.02643) through transformers' `SamModel`."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from glesam.models.base import EARLY, Embedding, ImageGeometry
from glesam.models.sam.base import WrappedModel
from glesam.models.sam.pixels import lay_into_square

BLOCK_NORM_EPS = 1e-5
"""Epsilon of the layer norms in the decoder's two-way blocks: torch's default, which the authors left as it is.

transformers' configs say 1e-6, also those of the converted weights, so that its logits are off by up to .06.
"""


class SamPromptable(WrappedModel):
    """SAM with ViT-B, ViT-L or ViT-H: 1024-pixel input, latent `(B, 256, 64, 64)`, no skips."""

    family: ClassVar[str] = "sam"
    architecture: ClassVar[str] = "SamModel"
    config_class: ClassVar[str] = "SamConfig"

    def __init__(self, model: Any) -> None:
        """Take a `SamModel`; the decoder's layer norms get the authors' epsilon."""
        super().__init__(model)
        model.config.mask_decoder_config.layer_norm_eps = BLOCK_NORM_EPS
        for block in model.mask_decoder.transformer.layers:
            for norm in (block.layer_norm1, block.layer_norm2, block.layer_norm3, block.layer_norm4):
                norm.eps = BLOCK_NORM_EPS

    def preprocess(self, image: npt.NDArray[np.uint8]) -> tuple[Tensor, ImageGeometry]:
        """Resize the long side to S and pad, see `pixels.lay_into_square`."""
        return lay_into_square(image, self.image_size)

    def encode(self, pixel_values: Tensor) -> Embedding:
        """Encode `(B, 3, S, S)` pixel values into a `(B, 256, S/16, S/16)` latent.

        Raises:
            ImageError: another shape.
        """
        return Embedding(self.model.vision_encoder(self._check_pixels(pixel_values)).last_hidden_state)

    @property
    def early_channels(self) -> int:
        """Width of the ViT."""
        return int(self.model.config.vision_config.hidden_size)

    def encode_early(self, pixel_values: Tensor) -> Embedding:
        """As `encode`, with what the first block of global attention gives: `(B, D, S/16, S/16)`.

        Raises:
            ImageError: another shape.
        """
        encoder = self.model.vision_encoder
        hidden = encoder.patch_embed(self._check_pixels(pixel_values))
        if encoder.pos_embed is not None:
            hidden = hidden + encoder.pos_embed
        early, first = hidden, min(encoder.config.global_attn_indexes)
        for index, layer in enumerate(encoder.layers):
            hidden = layer(hidden)
            if index == first:
                early = hidden
        return Embedding(encoder.neck(hidden), extras={EARLY: early.permute(0, 3, 1, 2)})

    def _decode_masks(
        self,
        latent: Tensor,
        skips: list[Tensor],
        positions: Tensor,
        sparse: Tensor | None,
        dense: Tensor,
        multimask: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run SAM's mask decoder, which takes no skips and gives no object score."""
        logits, iou = self.model.mask_decoder(
            image_embeddings=latent,
            image_positional_embeddings=positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
        )
        return logits, iou, None
