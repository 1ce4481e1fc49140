"""SAM, MobileSAM and SAM 2 as modules of tensors only, with the head of HQ-SAM where they carry it.

`M` is the number of prompts, `K` of points in each; box corners are points with labels 2 and 3. Unlike the compact
model's, their encoder takes one whole square, and the one who feeds the decoder adds the padding point that the
authors' predictors add (see `glesam.models.exported.inputs`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from glesam.heads.decoding import all_masks, attend, own_masks, own_tokens, upscale
from glesam.heads.headed import HeadedModel
from glesam.heads.hq import HQHead
from glesam.models.base import CORNER_LABELS, DecoderInputs, Embedding, PromptableModel
from glesam.models.sam.base import WrappedModel


@dataclass(frozen=True)
class SamParts:
    """A SAM, MobileSAM or SAM 2 as it is exported.

    Attributes:
        model: on the CPU, in evaluation mode.
        head: of HQ-SAM, or None.
    """

    model: WrappedModel
    head: HQHead | None = None

    @classmethod
    def of(cls, model: PromptableModel) -> SamParts | None:
        """The parts of a model, with or without a head of HQ-SAM; None for anything else."""
        head = model.head if isinstance(model, HeadedModel) else None
        base = model.base if isinstance(model, HeadedModel) else model
        if not isinstance(base, WrappedModel) or not (head is None or isinstance(head, HQHead)):
            return None
        model.cpu().eval()
        return cls(base, head)

    def encode(self, pixel_values: Tensor) -> Embedding:
        """Encode, with the early feature where the head reads it."""
        if self.head is None or self.head.early_channels is None:
            return self.model.encode(pixel_values)
        return self.model.encode_early(pixel_values)


class SamEncoderGraph(nn.Module):
    """`(1, 3, S, S)` pixel values to the latent, SAM 2's skips, and what a head makes of the image."""

    def __init__(self, parts: SamParts) -> None:
        super().__init__()
        self.parts, self.model, self.head = parts, parts.model, parts.head

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """Return latent, skips at strides 4 and 8 where there are any, and the head's map where it has one."""
        embedding = self.parts.encode(pixel_values)
        fused = None if self.head is None else self.head.fuse(embedding)
        return (embedding.latent, *embedding.skips, *(() if fused is None else (fused,)))


class SamDecoderGraph(nn.Module):
    """Latent, skips and prompts to all four masks of each prompt.

    Args:
        parts: give the weights.
        skips: how many skips the model has.
    """

    positions: Tensor

    def __init__(self, parts: SamParts, skips: int) -> None:
        super().__init__()
        model = parts.model.model
        self.prompt_encoder, self.mask_decoder = model.prompt_encoder, model.mask_decoder
        self.head, self.skips, self.scores = parts.head, skips, parts.model.object_token
        with torch.no_grad():
            self.register_buffer("positions", model.get_image_wide_positional_embeddings().clone(), persistent=False)

    def forward(self, latent: Tensor, *rest: Tensor) -> tuple[Tensor, ...]:
        """Decode M prompts.

        Args:
            latent: `(1 or M, C, h, w)`; 1 is shared by all prompts.
            *rest: skips `(1 or M, C/8, 4h, 4w)` and `(1 or M, C/4, 2h, 2w)` of SAM 2; the head's map `(1 or M, C/8, 4h,
                4w)` where it has one; `(M, K, 2)` float32 points in input pixels and `(M, K)` int64 labels (1 inside,
                0 outside, 2 and 3 corners of the box, -1 padding); `(M, 4h, 4w)` float32 logits of an earlier mask,
                and `(M,)` float32, 1 to use them.

        Returns:
            `(M, 4, 4h, 4w)` logits and `(M, 4)` predicted IoU: the single mask, then the three candidates. Of SAM 2
            without a head also the `(M, 1)` logit that there is an object at all.
        """
        skips, fused = rest[: self.skips], rest[self.skips] if len(rest) > self.skips + 4 else None
        coords, labels, masks, given = rest[-4:]
        image = latent + self._dense(masks, given)
        # Of zeros, since the mask prompt is in the image already: each prompt is a row of its own.
        inputs = DecoderInputs(
            image, self.positions, self._sparse(coords, labels), image.new_zeros(1), skips, self.scores
        )
        decoder = self.mask_decoder
        if self.head is not None:
            return self.head.answer_all(decoder, inputs, fused)
        seen = attend(decoder, inputs, own_tokens(decoder, inputs))
        pixels = upscale(decoder, seen.image, skips)
        answer = all_masks(decoder, *own_masks(decoder, inputs, seen.tokens, pixels))
        return (*answer, decoder.pred_obj_score_head(seen.tokens[:, 0])) if self.scores else answer

    def _sparse(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Prompt tokens `(M, 1, K, C)`."""
        encoder, coords, labels = self.prompt_encoder, coords[:, None], labels[:, None]
        sparse: Tensor = encoder._embed_points(coords, labels, pad=False)
        if isinstance(encoder.point_embed, nn.ModuleList):  # SAM's knows no corners among the points
            for corner in CORNER_LABELS:
                sparse = sparse + (labels == corner)[..., None] * _weight(encoder.point_embed[corner])
        return sparse

    def _dense(self, masks: Tensor, given: Tensor) -> Tensor:
        """The embedded mask prompt where there is one, and the learned "no mask" elsewhere: `(M, C, h, w)`."""
        given = given.reshape(-1, 1, 1, 1)
        nothing = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        dense: Tensor = given * self.prompt_encoder.mask_embed(masks[:, None]) + (1 - given) * nothing
        return dense


def _weight(embedding: Any) -> Tensor:
    """The one row of an embedding."""
    weight: Tensor = embedding.weight
    return weight
