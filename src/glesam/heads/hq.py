"""HQ-SAM (Ke et al., NeurIPS 2023, arXiv 2306.01567): sharper masks from one more token and early features.

A high-quality token goes through the frozen mask decoder; a small perceptron turns it into the weights of one more
mask, drawn from a map that joins the decoder's pixels with the encoder's final and early features. That mask is added
to SAM's own. Two variants: with early and final features (SAM, Light HQ-SAM on MobileSAM), and without both, where the
decoder has high-resolution skips already (HQ-SAM 2 on SAM 2.1).
"""

from __future__ import annotations

from typing import Any, ClassVar, Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.common.messages import one_of
from glesam.heads.base import MaskHead
from glesam.heads.decoding import (
    add_per_image,
    all_masks,
    attend,
    choose,
    draw,
    own_masks,
    own_tokens,
    upscale,
)
from glesam.models.base import DecoderInputs, Embedding, MaskOutput, PromptableModel, PromptTensors, squared
from glesam.models.layers import NORM_EPS, FeedForward, LayerNorm2d
from glesam.models.tuned import mask_decoder

Mode = Literal["sum", "hq"]
MODES: tuple[Mode, ...] = ("sum", "hq")


class HQHead(MaskHead):
    """The head of HQ-SAM.

    Attributes:
        mode: "sum" adds the high-quality mask to each of SAM's (the authors' default), "hq" gives it alone (their
            advice for images of one object; three candidates are then alike but for their scores).

    Args:
        channels: C of the latent.
        early: channels of the early feature; None for the variant without the image's maps.
        joint: whether SAM's own tokens see the high-quality token, as in the authors' files; their masks then shift
            a little. Without it they stay what they are without the head, bit for bit.
        mode: see above.
    """

    kind: ClassVar[str] = "hq"

    def __init__(self, channels: int = 256, early: int | None = None, joint: bool = False, mode: str = "sum") -> None:
        super().__init__()
        self.channels, self.early, self.joint = channels, early, joint
        self.mode: Mode = _mode(mode)
        self.token = nn.Embedding(1, channels)
        self.mlp = FeedForward(channels, channels, channels // 8, 3)
        self.compress = None if early is None else growing(early, channels, channels // 8)
        self.encoder = None if early is None else growing(channels, channels // 4, channels // 8)
        self.pixels = refining(channels // 8)

    @property
    def early_channels(self) -> int | None:
        """Channels of the early feature, or None."""
        return self.early

    @property
    def options(self) -> dict[str, Any]:
        """See `MaskHead.options`."""
        return {"channels": self.channels, "early": self.early, "joint": self.joint, "mode": self.mode}

    def start_from(self, decoder: nn.Module) -> None:
        """Zero the last layer, so that the head adds nothing until it has learnt."""
        nn.init.zeros_(self.mlp.proj_out.weight)
        nn.init.zeros_(self.mlp.proj_out.bias)

    def set_mode(self, mode: str) -> None:
        """Choose "sum" or "hq"; see the class."""
        self.mode = _mode(mode)

    def fuse(self, embedding: Embedding) -> Tensor | None:
        """Final and early feature of B images at the pixels' stride, summed: `(B, C/8, 4h, 4w)`."""
        if self.compress is None or self.encoder is None or embedding.early is None:
            return None
        dtype = self.token.weight.dtype
        fused: Tensor = self.encoder(embedding.latent.to(dtype)) + self.compress(embedding.early.to(dtype))
        return fused

    def decode(
        self,
        model: PromptableModel,
        embedding: Embedding,
        prompts: PromptTensors,
        fused: Tensor | None,
        multimask: bool = False,
    ) -> MaskOutput:
        """Answer prompts; see `MaskHead.decode`."""
        inputs = model.decoder_inputs(embedding, prompts)
        if self.joint or model.decodes_plainly:
            logits, iou = self.answer(mask_decoder(model), inputs, fused, multimask)
            return model.mask_output(logits, iou, prompts)
        # The model has its own, quicker way to its masks: they are to stay its own, bit for bit.
        own = model.decode(embedding, prompts, multimask)
        hq = self.high_quality(mask_decoder(model), inputs, fused)
        added = squared(hq.float().view(*prompts.shape, *hq.shape[1:]))
        logits, fine = self._join(own.low_res_logits, added), None
        if own.fine is not None:
            grown = F.interpolate(added.flatten(0, 1), scale_factor=2.0, mode="bilinear", align_corners=False)
            fine = self._join(own.fine, grown.view(*prompts.shape, *grown.shape[1:])).flatten(0, 1)
        return model.mask_output(logits.flatten(0, 1), own.iou.flatten(0, 1), prompts, fine)

    def _join(self, own: Tensor, added: Tensor) -> Tensor:
        """The model's own masks and the high-quality one, as the mode says."""
        return added.expand_as(own) if self.mode == "hq" else own + added

    def answer(
        self, decoder: Any, inputs: DecoderInputs, fused: Tensor | None, multimask: bool
    ) -> tuple[Tensor, Tensor]:
        """Masks and scores of M prompts by one pass of a decoder of the SAM kind.

        Args:
            decoder: the model's mask decoder, which is only read.
            inputs: image and prompts.
            fused: `(F, C/8, 4h, 4w)` of F images, F dividing M, or None.
            multimask: three candidates instead of the single mask.

        Returns:
            `(M, K, 4h, 4w)` logits and `(M, K)` predicted IoU, K 3 or 1.
        """
        token, tokens, pixels = self._pass(decoder, inputs)
        logits, iou = choose(decoder, *own_masks(decoder, inputs, tokens, pixels), multimask)
        return self._join(logits, self._draw(token, pixels, fused)), iou

    def answer_all(self, decoder: Any, inputs: DecoderInputs, fused: Tensor | None) -> tuple[Tensor, Tensor]:
        """As `answer`, with the single mask and the three candidates: `(M, 4, 4h, 4w)` logits and `(M, 4)` IoU."""
        token, tokens, pixels = self._pass(decoder, inputs)
        logits, iou = all_masks(decoder, *own_masks(decoder, inputs, tokens, pixels))
        return self._join(logits, self._draw(token, pixels, fused)), iou

    def high_quality(self, decoder: Any, inputs: DecoderInputs, fused: Tensor | None) -> Tensor:
        """The high-quality mask alone, `(M, 1, 4h, 4w)` logits; arguments are those of `answer`."""
        token, _, pixels = self._pass(decoder, inputs)
        return self._draw(token, pixels, fused)

    def _pass(self, decoder: Any, inputs: DecoderInputs) -> tuple[Tensor, Tensor, Tensor]:
        """The head's token `(M, C)`, SAM's tokens `(M, O, C)` and its pixels `(M, C/8, 4h, 4w)` after one pass."""
        own = own_tokens(decoder, inputs)
        token = self.token.weight.to(own.dtype)
        if self.joint:
            seen = attend(decoder, inputs, torch.cat([own, token]))
            last = seen.tokens[:, len(own)]
        else:
            seen = attend(decoder, inputs, own, token)
            last = seen.aside[:, 0]
        return last, seen.tokens[:, : len(own)], upscale(decoder, seen.image, inputs.skips)

    def _draw(self, token: Tensor, pixels: Tensor, fused: Tensor | None) -> Tensor:
        """The high-quality mask of each prompt, `(M, 1, 4h, 4w)`."""
        return draw(self.mlp(token)[:, None], add_per_image(self.pixels(pixels), fused))


def growing(channels: int, hidden: int, out: int) -> nn.Sequential:
    """Two transposed convolutions that make a map four times finer."""
    return nn.Sequential(
        nn.ConvTranspose2d(channels, hidden, 2, 2),
        LayerNorm2d(hidden, eps=NORM_EPS),
        nn.GELU(),
        nn.ConvTranspose2d(hidden, out, 2, 2),
    )


def refining(channels: int) -> nn.Sequential:
    """Two 3 x 3 convolutions at one size."""
    return nn.Sequential(
        nn.Conv2d(channels, 2 * channels, 3, 1, 1),
        LayerNorm2d(2 * channels, eps=NORM_EPS),
        nn.GELU(),
        nn.Conv2d(2 * channels, channels, 3, 1, 1),
    )


def _mode(mode: str) -> Mode:
    """Check the name of a mode."""
    return cast(Mode, one_of("a head mode", mode, MODES))
