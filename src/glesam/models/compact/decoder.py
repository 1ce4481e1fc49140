"""The compact model's mask decoder: SAM 2's, with every mask token's answer within reach."""

from __future__ import annotations

import weakref
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.models.compact.attention import CHANNELS, Attention, TwoWayTransformer
from glesam.models.compact.cells import nest, unnest
from glesam.models.compact.fine import FineHead
from glesam.models.compact.prompt_maps import DrawnPrompts
from glesam.models.compact.two_way import FastTwoWay
from glesam.models.layers import NORM_EPS, FeedForward, LayerNorm2d

SHAPES_KEPT = 4
"""Shapes of images, such as landscape and portrait at two sizes, whose preparations are kept."""


class CompactMaskDecoder(nn.Module):
    """SAM 2's decoder (Ravi et al., 2024) without its occlusion score and without its own skip projections.

    The encoder of the compact model projects its skips itself. All four masks are computed in one pass, as training
    needs the single-mask token and the three candidates together.
    """

    hidden_size = CHANNELS
    num_mask_tokens = 4
    # SAM 2's rule for unstable single masks, which `glesam.heads` apply; the model's own masks do without.
    dynamic_multimask_via_stability = True
    dynamic_multimask_stability_delta = 0.05
    dynamic_multimask_stability_thresh = 0.98

    def __init__(self) -> None:
        super().__init__()
        self.iou_token = nn.Embedding(1, CHANNELS)
        self.mask_tokens = nn.Embedding(self.num_mask_tokens, CHANNELS)
        self.transformer = TwoWayTransformer()
        self.upscale_conv1 = nn.ConvTranspose2d(CHANNELS, CHANNELS // 4, kernel_size=2, stride=2)
        self.upscale_conv2 = nn.ConvTranspose2d(CHANNELS // 4, CHANNELS // 8, kernel_size=2, stride=2)
        self.upscale_layer_norm = LayerNorm2d(CHANNELS // 4, eps=NORM_EPS)
        self.activation = nn.GELU()
        networks = [FeedForward(CHANNELS, CHANNELS, CHANNELS // 8, 3) for _ in range(self.num_mask_tokens)]
        self.output_hypernetworks_mlps = nn.ModuleList(networks)
        self.iou_prediction_head = FeedForward(CHANNELS, CHANNELS, self.num_mask_tokens, 3, sigmoid_output=True)
        _initialise(self)
        self._fast: tuple[tuple[Tensor, FastTwoWay], ...] = ()
        self._skips: tuple[weakref.ref[Tensor], object, tuple[Tensor, Tensor]] | None = None
        self._image: tuple[weakref.ref[Tensor], FastTwoWay, Tensor, Tensor] | None = None

    def __getstate__(self) -> dict[str, object]:
        """Copies and pickles start without what is kept of images: it belongs to this module's weights."""
        return {**self.__dict__, "_fast": (), "_skips": None, "_image": None}

    def decode_all(
        self,
        latent: Tensor,
        positions: Tensor,
        sparse: Tensor,
        dense: Tensor,
        skips: tuple[Tensor, Tensor],
        drawn: DrawnPrompts | None = None,
        masks: slice = slice(0, 4),
        repeats: int = 1,
        fine: tuple[FineHead, Tensor] | None = None,
    ) -> tuple[Tensor, Tensor, Tensor | None]:
        """Decode M prompts.

        Args:
            latent: `(M, 256, h, w)`, one for each prompt, or `(1, 256, h, w)` for all.
            positions: `(1, 256, h, w)` positional encoding of the grid.
            sparse: `(M, T, 256)` prompt tokens.
            dense: `(M or 1, 256, h or 1, w or 1)` mask prompt.
            skips: `(M or 1, 32, 4h, 4w)` and `(M or 1, 64, 2h, 2w)`.
            drawn: the prompts as maps.
            masks: which of the masks; index 0 is the single mask, 1 to 3 the candidates.
            repeats: how many equal tokens the last of `sparse` stands for; 1 while gradients are recorded.
            fine: head for masks at stride 2 and the image's early features, `(M or 1, 16, 8h, 8w)`.

        Returns:
            `(M, K, 4h, 4w)` logits and `(M, K)` predicted IoU of the K masks, and with `fine` `(M, K, 8h, 8w)` logits.
        """
        (h, w), own = latent.shape[2:], torch.cat([self.iou_token.weight, self.mask_tokens.weight])
        tokens = torch.cat([own.expand(len(sparse), -1, -1), sparse], dim=1)
        if torch.is_grad_enabled():
            tokens, image = self._learn(tokens, latent, positions, dense, drawn)
        else:
            tokens, image = self._infer(tokens, latent, positions, dense, drawn, 1 + masks.stop, repeats)
        weights = [self.output_hypernetworks_mlps[i](tokens[:, 1 + i]) for i in range(*masks.indices(4))]
        pixels = self._upscale(image, *self._nested(skips, (h, w)))
        pixels = self._activate(pixels if drawn is None else drawn.add_fine(pixels))
        logits = unnest(torch.stack(weights, dim=1) @ pixels.transpose(1, 2), (h, w))
        finer = None if fine is None else fine[0](tokens[:, 1], pixels, fine[1], logits)
        return logits, cast(Tensor, self.iou_prediction_head(tokens[:, 0])[:, masks]), finer

    def _upscale(self, image: Tensor, skip8: Tensor, skip4: Tensor) -> Tensor:
        """Four times finer, from `(M, L, 256)` cells to `(M, L * 16, 32)` pixels in the order of `nest`.

        A transposed convolution whose kernel is its stride is one product for each cell, and all that follows works on
        single pixels. So pixels stay with their cell, nothing is moved in memory, and the products add the skips.
        """
        count, cells, _ = image.shape
        norm = self.upscale_layer_norm
        up = _expand(self.upscale_conv1, image, skip8).view(count, 4 * cells, -1)
        up = self._activate(F.layer_norm(up, norm.normalized_shape, norm.weight, norm.bias, norm.eps))
        return _expand(self.upscale_conv2, up, skip4).view(count, 16 * cells, -1)

    def _activate(self, pixels: Tensor) -> Tensor:
        """The decoder's GELU; over its own input at inference, where fresh memory costs as much as the arithmetic."""
        if torch.is_grad_enabled() or not isinstance(self.activation, nn.GELU):
            return cast(Tensor, self.activation(pixels))
        return cast(Tensor, torch.ops.aten.gelu_(pixels))

    def _nested(self, skips: tuple[Tensor, Tensor], size: tuple[int, int]) -> tuple[Tensor, Tensor]:
        """Skips with the biases of the convolutions that they are added to; those of the last image are kept.

        Returns:
            `(M, h * w, 4 * 64)` and `(M, h * w * 4, 4 * 32)`.
        """
        biases = [cast(Tensor, convolution.bias) for convolution in (self.upscale_conv1, self.upscale_conv2)]
        state = tuple((bias.data_ptr(), bias._version) for bias in biases)
        kept = None if torch.is_grad_enabled() else self._skips
        if kept is not None and kept[0]() is skips[0] and kept[1] == state:
            return kept[2]
        cells = size[0] * size[1]
        nested = [nest(skip, size) + bias for bias, skip in zip(biases, skips[::-1], strict=True)]
        result = nested[0].reshape(-1, cells, 4 * nested[0].shape[-1]), nested[1].reshape(-1, 4 * cells, 128)
        self._skips = None if torch.is_grad_enabled() else (weakref.ref(skips[0]), state, result)
        return result

    def _learn(
        self, tokens: Tensor, latent: Tensor, positions: Tensor, dense: Tensor, drawn: DrawnPrompts | None
    ) -> tuple[Tensor, Tensor]:
        """The two-way transformer as it is published: `(M, T, 256)` tokens and `(M, L, 256)` image tokens."""
        count, image = tokens.shape[0], latent + dense
        image, positions = image.expand(count, -1, -1, -1), positions.expand(count, -1, -1, -1)
        if drawn is not None:
            image = drawn.add(_tokens(image)).transpose(1, 2).view(image.shape)
        tokens, image = self.transformer(tokens.unsqueeze(1), image, positions, None)
        return tokens[:, 0], image.squeeze(1)

    def _infer(
        self,
        tokens: Tensor,
        latent: Tensor,
        positions: Tensor,
        dense: Tensor,
        drawn: DrawnPrompts | None,
        outputs: int,
        repeats: int,
    ) -> tuple[Tensor, Tensor]:
        """The same without what can be known before the prompt; see `FastTwoWay`."""
        fast = self._fast_for(positions)
        image, projected = self._project(fast, latent, dense)
        return fast(tokens, image, projected, drawn, outputs, repeats)

    def _fast_for(self, positions: Tensor) -> FastTwoWay:
        """The transformer prepared for a grid; kept for the last few, as long as the weights stay."""
        # Threads may share a model: what is kept is read once and replaced as a whole.
        kept = self._fast
        for grid, fast in kept:
            if grid is positions and fast.state == fast.fingerprint():
                return fast
        fast = FastTwoWay(self.transformer, _tokens(positions)[0])
        self._fast = (*(pair for pair in kept if pair[0] is not positions), (positions, fast))[-SHAPES_KEPT:]
        return fast

    def _project(self, fast: FastTwoWay, latent: Tensor, dense: Tensor) -> tuple[Tensor, Tensor]:
        """Image tokens and their first projections; those of the last image without a mask prompt are kept."""
        if latent.shape[0] > 1 or dense.numel() > dense.shape[1]:
            keys = _tokens(latent + dense)
            return keys, fast.project(keys)
        kept = self._image
        if kept is None or kept[0]() is not latent or kept[1] is not fast:
            keys = _tokens(latent + dense)
            kept = self._image = weakref.ref(latent), fast, keys, fast.project(keys)
        return kept[2:]


def _expand(convolution: nn.ConvTranspose2d, x: Tensor, skip: Tensor) -> Tensor:
    """2 x 2 transposed convolution of `(M, L, C)` cells, added to `(M or 1, L, 4 * C')`, which has its bias."""
    weight = convolution.weight.permute(0, 2, 3, 1).flatten(1)
    return torch.baddbmm(skip.expand(x.shape[0], -1, -1), x, weight.expand(x.shape[0], -1, -1))


def _tokens(maps: Tensor) -> Tensor:
    """`(M, C, h, w)` to `(M, h * w, C)`."""
    return maps.flatten(2).transpose(1, 2)


def _initialise(decoder: nn.Module) -> None:
    """Start where prompts are listened to.

    With independent random projections, attention is almost uniform at first, and training on images of one salient
    object finds the object without the prompt and stays there. Equal query and key projections make attention between
    tokens and image a kernel of their positions from the first step: a click looks at its place, and its place at it.
    """
    for module in decoder.modules():
        if isinstance(module, nn.Embedding):
            nn.init.normal_(module.weight)
        if isinstance(module, Attention) and module.internal_dim < module.hidden_size:
            # |position|^2 = 128, 16 channels a head: a standard deviation of 0.08 gives a match a logit of about 3.
            nn.init.normal_(module.q_proj.weight, std=0.08)
            module.k_proj.weight.data.copy_(module.q_proj.weight.data)
            nn.init.zeros_(module.q_proj.bias)
            nn.init.zeros_(module.k_proj.bias)
