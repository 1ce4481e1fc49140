"""The compact model's mask decoder: SAM 2's, with every mask token's answer within reach."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from transformers.models.sam2.configuration_sam2 import Sam2MaskDecoderConfig
from transformers.models.sam2.modeling_sam2 import Sam2Attention, Sam2MaskDecoder


class CompactMaskDecoder(Sam2MaskDecoder):  # type: ignore[misc]
    """SAM 2's decoder (Ravi et al., 2024) without its occlusion score and without its own skip projections.

    The encoder of the compact model projects its skips itself. All four masks are computed in one pass, as training
    needs the single-mask token and the three candidates together.
    """

    def __init__(self, config: Sam2MaskDecoderConfig) -> None:
        config._attn_implementation = "sdpa"
        super().__init__(config)
        del self.conv_s0, self.conv_s1, self.obj_score_token, self.pred_obj_score_head
        _initialise(self)

    def decode_all(
        self, latent: Tensor, positions: Tensor, sparse: Tensor, dense: Tensor, skips: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Decode one prompt for each latent of the batch.

        Args:
            latent: `(M, 256, h, w)`, one for each prompt.
            positions: `(1 or M, 256, h, w)` positional encoding of the grid.
            sparse: `(M, T, 256)` prompt tokens.
            dense: `(M or 1, 256, h or 1, w or 1)` mask prompt.
            skips: `(M, 32, 4h, 4w)` and `(M, 64, 2h, 2w)`.

        Returns:
            `(M, 4, 4h, 4w)` logits and `(M, 4)` predicted IoU; index 0 is the single mask, 1 to 3 the candidates.
        """
        count, channels, h, w = latent.shape
        tokens = torch.cat([self.iou_token.weight, self.mask_tokens.weight]).expand(count, -1, -1)
        tokens = torch.cat([tokens, sparse], dim=1).unsqueeze(1)
        tokens, image = self.transformer(tokens, latent + dense, positions.expand(count, -1, -1, -1), None)
        image = image.squeeze(1).transpose(1, 2).reshape(count, channels, h, w)
        up = self.activation(self.upscale_layer_norm(self.upscale_conv1(image) + skips[1]))
        up = self.activation(self.upscale_conv2(up) + skips[0])
        weights = [mlp(tokens[:, 0, 1 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)]
        logits = torch.einsum("mtc,mchw->mthw", torch.stack(weights, dim=1), up)
        return logits, cast(Tensor, self.iou_prediction_head(tokens[:, 0, 0]))


def _initialise(decoder: nn.Module) -> None:
    """Start where prompts are listened to.

    With independent random projections, attention is almost uniform at first, and training on photos of one salient
    object finds the object without the prompt and stays there. Equal query and key projections make attention between
    tokens and image a kernel of their positions from the first step: a click looks at its place, and its place at it.
    """
    for module in decoder.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
        if isinstance(module, Sam2Attention) and module.internal_dim < module.hidden_size:
            # |position|^2 = 128, 16 channels a head: a standard deviation of 0.08 gives a match a logit of about 3.
            nn.init.normal_(module.q_proj.weight, std=0.08)
            module.k_proj.weight.data.copy_(module.q_proj.weight.data)
            nn.init.zeros_(module.q_proj.bias)
            nn.init.zeros_(module.k_proj.bias)
