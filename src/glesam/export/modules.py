"""The parts of a model as modules of tensors only, as tracing exporters need them.

`M` is the number of prompts, `K` of points in each; box corners are points with labels 2 and 3, so that one graph takes
points, boxes, and both. Everything the answer depends on is inside: padding, prompt maps, the cut at the box.
"""

from __future__ import annotations

import copy

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.enhance.gains import GainGate, gate_features
from glesam.enhance.gate import DegradationGate
from glesam.enhance.skips import SkipAdapter
from glesam.models.base import CORNER_LABELS, FINE, PADDING_LABEL, Embedding
from glesam.models.compact.efficientnet import SameConv2d
from glesam.models.compact.fine import WIDTH, FineHead
from glesam.models.compact.inside import keep_inside
from glesam.models.compact.model import STRIDE, CompactModel
from glesam.models.compact.prompt_maps import _REACH

_NO_BOX = (-1e6, -1e6, 1e6, 1e6)
"""A box that cuts nothing off: far beyond any input, and exact in float32."""


class EncoderGraph(nn.Module):
    """`(B, 3, S, S)` pixel values to latent and skips."""

    def __init__(self, model: CompactModel) -> None:
        super().__init__()
        self.encoder = copy.deepcopy(model.encoder)
        _fix_kernels(self.encoder)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """Return the latent, the skips at strides 4 and 8, and early features where the model draws fine masks."""
        embedding: Embedding = self.encoder(pixel_values)
        early = embedding.extras.get(FINE)
        return (embedding.latent, *embedding.skips, *(() if early is None else (early,)))


class DecoderGraph(nn.Module):
    """Latent, skips and prompts to all four masks of each prompt.

    The plain form of `CompactModel.decode_all`, of operations that every runtime knows: no caches, no reordered pixels.
    It shares its weights with the model.

    Args:
        model: gives the weights; latents may be as large as those of its whole square, on either side.
        fine: draw masks at stride 2 too, for which early features are needed.
    """

    positions: Tensor

    def __init__(self, model: CompactModel, fine: bool = False) -> None:
        super().__init__()
        self.fine = model.fine if fine else None
        side = self.side = model.image_size // STRIDE
        self.slots, self.channels = model.config.prompt_slots, int(model.prompt_encoder.hidden_size)
        self.prompt_encoder, self.mask_decoder = model.prompt_encoder, model.mask_decoder
        self.prompt_maps = model.prompt_maps
        with torch.no_grad():
            positions = model._grid_positions(torch.Size((side, side)), torch.zeros(2))
        self.register_buffer("positions", positions.clone(), persistent=False)

    def forward(
        self,
        latent: Tensor,
        skip4: Tensor,
        skip8: Tensor,
        point_coords: Tensor,
        point_labels: Tensor,
        mask_input: Tensor,
        has_mask: Tensor,
        early: Tensor | None = None,
    ) -> tuple[Tensor, ...]:
        """Decode M prompts.

        Args:
            latent: `(1 or M, 256, h, w)`; 1 is shared by all prompts.
            skip4: `(1 or M, 32, 4h, 4w)`.
            skip8: `(1 or M, 64, 2h, 2w)`.
            point_coords: `(M, K, 2)` float32 `(x, y)` in input pixels.
            point_labels: `(M, K)` int64: 1 inside, 0 outside, 2 and 3 corners of the box, -1 padding.
            mask_input: `(M, 4h, 4w)` float32 logits of an earlier mask.
            has_mask: `(M,)` float32: 1 to use `mask_input`, 0 to ignore it.
            early: `(1 or M, 16, 8h, 8w)` for masks at stride 2.

        Returns:
            `(M, 4, 4h, 4w)` logits and `(M, 4)` predicted IoU; index 0 is the single mask, 1 to 3 the candidates. With
            `early`, `(M, 4, 8h, 8w)` logits besides.
        """
        image, (height, width) = latent + self._dense(mask_input, has_mask), latent.shape[-2:]
        image, skip4 = self._drawn(image, skip4, point_coords, point_labels)
        tokens, image = self._transform(image, self._sparse(point_coords, point_labels))
        up = self._upscaled(image, skip4, skip8)
        mlps = self.mask_decoder.output_hypernetworks_mlps
        weights = torch.stack([mlp(tokens[:, 1 + i]) for i, mlp in enumerate(mlps)], dim=1)
        logits = (weights @ up.flatten(2)).reshape(-1, len(mlps), 4 * height, 4 * width)
        boxes, iou = _boxes(point_coords, point_labels)[:, None], self.mask_decoder.iou_prediction_head(tokens[:, 0])
        inside = keep_inside(logits[:, None], boxes, STRIDE // 4)[:, 0]
        if self.fine is None or early is None:
            return inside, iou
        finer = logits_at_stride2(self.fine, tokens[:, 1], up, early, logits)
        return inside, iou, keep_inside(finer[:, None], boxes, STRIDE // 8)[:, 0]

    def _drawn(self, image: Tensor, skip4: Tensor, coords: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Latent and finest skip with the prompts drawn on them, where the model has maps of prompts."""
        if self.prompt_maps is None:
            return image, skip4
        height, width = image.shape[-2:]
        coarse = _draw(coords, labels, self.side, STRIDE)[..., :height, :width]
        fine = _draw(coords, labels, 4 * self.side, STRIDE // 4)[..., : 4 * height, : 4 * width]
        return image + self.prompt_maps.coarse(coarse), skip4 + self.prompt_maps.fine(fine)

    def _upscaled(self, image: Tensor, skip4: Tensor, skip8: Tensor) -> Tensor:
        """Four times finer: `(M, 32, 4h, 4w)`."""
        decoder = self.mask_decoder
        up = decoder.activation(decoder.upscale_layer_norm(decoder.upscale_conv1(image) + skip8))
        finer: Tensor = decoder.activation(decoder.upscale_conv2(up) + skip4)
        return finer

    def _sparse(self, coords: Tensor, labels: Tensor) -> Tensor:
        """Prompt tokens `(M, T, 256)`, filled up to the number that training used."""
        coords, labels = _fill(coords, labels, self.slots)
        tokens: Tensor = self.prompt_encoder(coords[:, None], labels[:, None])[:, 0]
        return tokens

    def _dense(self, masks: Tensor, given: Tensor) -> Tensor:
        """The embedded mask prompt where there is one, and the learned "no mask" elsewhere: `(M, 256, h, w)`."""
        given = given.reshape(-1, 1, 1, 1)
        nothing = self.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
        embedded: Tensor = self.prompt_encoder.mask_embed(masks[:, None] * given)
        dense: Tensor = given * embedded + (1 - given) * nothing
        return dense

    def _transform(self, image: Tensor, sparse: Tensor) -> tuple[Tensor, Tensor]:
        """Two-way transformer: `(M, T, 256)` tokens and the image `(M, 256, h, w)` after it."""
        decoder = self.mask_decoder
        own = torch.cat([decoder.iou_token.weight, decoder.mask_tokens.weight]).expand(sparse.shape[0], -1, -1)
        tokens = torch.cat([own, sparse], dim=1).unsqueeze(1)
        height, width = image.shape[-2:]
        positions = self.positions[..., :height, :width].expand(sparse.shape[0], -1, -1, -1)
        tokens, image = decoder.transformer(tokens, image, positions, None)
        return tokens[:, 0], image[:, 0].transpose(1, 2).reshape(-1, self.channels, height, width)


def logits_at_stride2(head: FineHead, token: Tensor, up: Tensor, early: Tensor, logits: Tensor) -> Tensor:
    """The plain form of `FineHead.forward`, on maps: `(M, 4, 8h, 8w)` logits.

    Args:
        head: gives the weights.
        token: `(M, 256)` mask token after the decoder's attention.
        up: `(M, 32, 4h, 4w)` upscaled map.
        early: `(1 or M, 16, 8h, 8w)` early features.
        logits: `(M, 4, 4h, 4w)`.
    """
    # Pixel shuffle wants the four places of a channel side by side, the head has the channels of a place so.
    weight = head.spread.weight.view(4, WIDTH, -1).transpose(0, 1).reshape(4 * WIDTH, -1, 1, 1)
    bias = head.spread.bias.view(4, WIDTH).t().reshape(-1)
    features = F.relu(F.pixel_shuffle(F.conv2d(up, weight, bias), 2) + early)
    detail: Tensor = (head.pick(token)[:, None, :] @ features.flatten(2)).reshape(-1, 1, *features.shape[-2:])
    double: Tensor = F.interpolate(logits, scale_factor=2.0, mode="bilinear", align_corners=False)
    return double + detail


class GateGraph(nn.Module):
    """`(B, 256, h, w)` latents to `(B,)` levels of degradation."""

    def __init__(self, gate: DegradationGate) -> None:
        super().__init__()
        self.gate = gate

    def forward(self, latent: Tensor) -> Tensor:
        """Return 0 (clear) to 3 (as bad as LQ-3) for each latent."""
        return self.gate.odds(latent).sigmoid().sum(dim=1)


class GainGraph(nn.Module):
    """Embedding and pixels to levels of degradation and expected gains, of B images."""

    def __init__(self, gate: GainGate) -> None:
        super().__init__()
        self.gate = gate

    def forward(
        self, latent: Tensor, skip4: Tensor, skip8: Tensor, pixel_values: Tensor, early: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """Return `(B,)` levels, 0 (clear) to 3, and `(B, 2)` gains in IoU for clicks and boxes."""
        embedding = Embedding(latent, (skip4, skip8), {} if early is None else {FINE: early})
        odds, gains = self.gate.answers(gate_features(embedding, pixel_values))
        return odds.sigmoid().sum(dim=1), gains


class SkipsGraph(nn.Module):
    """Latent, skips and levels of degradation to the adapted skips."""

    def __init__(self, adapter: SkipAdapter) -> None:
        super().__init__()
        self.adapter = adapter

    def forward(self, latent: Tensor, skip4: Tensor, skip8: Tensor, level: Tensor) -> tuple[Tensor, ...]:
        """Adapt `(B, 32, 4h, 4w)` and `(B, 64, 2h, 2w)` skips of images of `(B,)` levels."""
        adapted: Embedding = self.adapter(Embedding(latent, (skip4, skip8)), level)
        # Neither kind of adapter looks at all inputs, and those that lead nowhere would be dropped from the file.
        idle = 0 * level.reshape(-1, 1, 1, 1) + 0 * latent.mean(dim=(1, 2, 3), keepdim=True)
        return tuple(skip + idle for skip in adapted.skips)


def _fix_kernels(module: nn.Module) -> None:
    """Put ordinary convolutions in the place of those that pad their kernel at every call, which no exporter takes."""
    for name, child in module.named_children():
        if isinstance(child, SameConv2d) and child.stride[0] > 1:
            setattr(module, name, _even(child))
        else:
            _fix_kernels(child)


def _even(layer: SameConv2d) -> nn.Conv2d:
    """The same convolution with its kernel padded once; see `SameConv2d`."""
    kernel = F.pad(layer.weight.detach(), (1, 0, 1, 0))
    channels = layer.in_channels, layer.out_channels
    size, padding = kernel.shape[-1], layer.kernel_size[0] // 2
    fixed = nn.Conv2d(*channels, size, layer.stride[0], padding, groups=layer.groups)
    fixed.weight, fixed.bias = nn.Parameter(kernel), layer.bias
    return fixed


def _fill(coords: Tensor, labels: Tensor, slots: int) -> tuple[Tensor, Tensor]:
    """Pad prompts of fewer than `slots` points, in operations that a trace keeps for every number of points."""
    count = torch.clamp(torch.as_tensor(coords.shape[1]), min=slots)
    coords = F.pad(coords, (0, 0, 0, slots))
    labels = F.pad(labels, (0, slots), value=PADDING_LABEL)
    return coords[:, :count], labels[:, :count]


def _draw(coords: Tensor, labels: Tensor, side: int, stride: int) -> Tensor:
    """Draw `(M, K)` prompts as `(M, 4, side, side)` maps: within the box, outside of it, clicks inside and outside.

    The plain form of `glesam.models.compact.prompt_maps.prompt_maps`.
    """
    starts = torch.arange(side, device=coords.device, dtype=torch.float32) * stride
    low, high = (_corner(coords, labels, kind) for kind in CORNER_LABELS)
    covered = torch.minimum(high[..., None], starts + stride) - torch.maximum(low[..., None], starts)
    shares = covered.clamp(min=0) / stride
    box = shares[:, 0, None, :] * shares[:, 1, :, None]
    has_box = (labels == CORNER_LABELS[1]).any(dim=1)[:, None, None]
    near = torch.exp(-0.5 * ((coords[..., None] - (starts + stride / 2)) / _REACH) ** 2)
    clicks = [((labels == kind)[..., None] * near[:, :, 1]).transpose(1, 2) @ near[:, :, 0] for kind in (1, 0)]
    return torch.stack([box * has_box, (1 - box) * has_box, *(c.clamp(max=1) for c in clicks)], dim=1)


def _corner(coords: Tensor, labels: Tensor, kind: int) -> Tensor:
    """Corner of each prompt's box, `(M, 2)`; zeros without a box."""
    return (coords * (labels == kind)[..., None]).sum(dim=1)


def _boxes(coords: Tensor, labels: Tensor) -> Tensor:
    """Boxes `(M, 4)` of `(M, K)` points; one that cuts nothing off for prompts without a box."""
    corners = [_corner(coords, labels, kind) for kind in CORNER_LABELS]
    has_box = (labels == CORNER_LABELS[1]).any(dim=1)[:, None]
    return torch.where(has_box, torch.cat(corners, dim=1), coords.new_tensor(_NO_BOX))
