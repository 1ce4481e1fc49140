"""MobileSAM (Zhang et al., 2023, arXiv 2306.14289): SAM with a TinyViT for its image encoder."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, ClassVar

import transformers
from torch import Tensor

from glesam.common.documents import checked
from glesam.common.messages import one_line
from glesam.errors import ModelError
from glesam.models.base import EARLY, Embedding
from glesam.models.sam.original_names import MOBILE_MARK
from glesam.models.sam.sam import SamPromptable
from glesam.models.sam.tinyvit import EARLY_STAGE, TinyVit, TinyVitConfig

TINY_VIT = "tiny_vit"
"""Key of `config.json` with the encoder's sizes."""


class MobileSamPromptable(SamPromptable):
    """MobileSAM: SAM's input, prompts and decoder; latent `(B, 256, 64, 64)`, no skips."""

    family: ClassVar[str] = "mobile-sam"

    @classmethod
    def build(cls, config: Any) -> Any:
        """A `SamModel` with a `TinyVit` in the place of the ViT, without weights.

        Raises:
            ModelError: the config does not say the encoder's sizes.
        """
        sizes: Any = getattr(config, TINY_VIT, None)
        encoder = TinyVit(checked(TinyVitConfig, sizes, f"{TINY_VIT!r} of the config", ModelError))
        model = super().build(config)
        model.vision_encoder = encoder
        return model

    def encode(self, pixel_values: Tensor) -> Embedding:
        """Encode `(B, 3, S, S)` pixel values into a `(B, 256, S/16, S/16)` latent.

        Raises:
            ImageError: another shape.
        """
        return Embedding(self.model.vision_encoder(self._check_pixels(pixel_values))[0])

    @property
    def early_channels(self) -> int:
        """Width of TinyViT after its second stage."""
        return int(self.model.vision_encoder.config.widths[EARLY_STAGE + 1])

    def encode_early(self, pixel_values: Tensor) -> Embedding:
        """As `encode`, with what TinyViT's second stage gives: `(B, D, S/16, S/16)`, as in Light HQ-SAM.

        Raises:
            ImageError: another shape.
        """
        latent, early = self.model.vision_encoder(self._check_pixels(pixel_values))
        return Embedding(latent, extras={EARLY: early})


def mobile_config(state: Mapping[str, Tensor], source: str, image_size: int = 1024) -> Any:
    """Read MobileSAM's sizes off its tensors; only the size of the input leaves no trace there.

    Args:
        state: weights under the authors' names.
        source: where they come from, for error messages.
        image_size: side of the input in pixels.

    Raises:
        ModelError: a key that tells a size is missing.
    """
    try:
        sizes = TinyVitConfig.from_state(state, MOBILE_MARK.split("patch_embed")[0])
        mask_channels = state["prompt_encoder.mask_downscaling.3.weight"].shape[0]
        mlp_dim = state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0]
        iou_hidden = state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0]
    except (KeyError, IndexError, ValueError) as error:
        raise ModelError(
            f"expected MobileSAM's full set of keys in {source}, got {one_line(error)}; download it again"
        ) from error
    width = sizes.out_channels
    return transformers.SamConfig(
        # No ViT is built from these but its positional encoding.
        vision_config={
            "num_hidden_layers": 0,
            "image_size": image_size,
            "output_channels": width,
            "num_pos_feats": width // 2,
        },
        prompt_encoder_config={
            "hidden_size": width,
            "image_size": image_size,
            "mask_input_channels": mask_channels,
        },
        mask_decoder_config={"hidden_size": width, "mlp_dim": mlp_dim, "iou_head_hidden_dim": iou_hidden},
        **{TINY_VIT: asdict(sizes)},
    )
