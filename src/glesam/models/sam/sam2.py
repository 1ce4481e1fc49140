"""SAM 2 for images (Ravi et al., 2024, arXiv 2408.00714) through transformers' `Sam2Model`."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import numpy.typing as npt
from torch import Tensor

from glesam.models.base import Embedding, ImageGeometry, PromptTensors
from glesam.models.sam.base import WrappedModel
from glesam.models.sam.pixels import squash_into_square


class Sam2Promptable(WrappedModel):
    """SAM 2 and 2.1 with Hiera tiny, small, base-plus or large: latent `(B, 256, 64, 64)` and two skips.

    Skips are `(B, 32, 256, 256)` at stride 4 and `(B, 64, 128, 128)` at stride 8. As in the reference, a single mask
    that is unstable is replaced by the candidate of the highest predicted IoU (in evaluation mode).
    """

    family: ClassVar[str] = "sam2"
    architecture: ClassVar[str] = "Sam2Model"
    config_class: ClassVar[str] = "Sam2Config"
    object_token: ClassVar[bool] = True
    video_only_keys: ClassVar[tuple[str, ...]] = (
        "memory_",
        "mask_downsample.",
        "object_pointer_proj.",
        "temporal_positional_encoding_projection_layer.",
        "no_memory_positional_encoding",
        "no_object_pointer",
        "occlusion_spatial_embedding_parameter",
    )

    def preprocess(self, image: npt.NDArray[np.uint8]) -> tuple[Tensor, ImageGeometry]:
        """Squash to S x S, see `pixels.squash_into_square`."""
        return squash_into_square(image, self.image_size)

    def encode(self, pixel_values: Tensor) -> Embedding:
        """Encode `(B, 3, S, S)` pixel values.

        The latent includes the "no memory" embedding that SAM 2 adds to single images; the skips have passed the
        decoder's two projections, so that further prompts cost only the decoder.

        Raises:
            ImageError: another shape.
        """
        stride4, stride8, stride16 = self.model.vision_encoder(self._check_pixels(pixel_values)).fpn_hidden_states
        latent = stride16 + self.model.no_memory_embedding.view(1, -1, 1, 1)
        decoder = self.model.mask_decoder
        return Embedding(latent, (decoder.conv_s0(stride4), decoder.conv_s1(stride8)))

    def _encode_prompts(self, prompts: PromptTensors) -> tuple[Tensor | None, Tensor]:
        """Embed prompts; a mask alone has no token, as in the authors' predictor (`Sam2Model` adds two of padding)."""
        sparse, dense = super()._encode_prompts(prompts)
        if sparse is None:
            sparse = dense.new_zeros(*prompts.shape, 0, dense.shape[1])
        return sparse, dense

    def _decode_masks(
        self,
        latent: Tensor,
        skips: list[Tensor],
        positions: Tensor,
        sparse: Tensor | None,
        dense: Tensor,
        multimask: bool,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Run SAM 2's mask decoder with the skips at strides 4 and 8."""
        logits, iou, _, score = self.model.mask_decoder(
            image_embeddings=latent,
            image_positional_embeddings=positions,
            sparse_prompt_embeddings=sparse,
            dense_prompt_embeddings=dense,
            multimask_output=multimask,
            high_resolution_features=skips,
        )
        return logits, iou, score
