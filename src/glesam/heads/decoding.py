"""One pass of SAM's two-way mask decoder with the tokens of a head, in parts that each head combines in its own way.

Works on the mask decoders of transformers (`SamMaskDecoder`, `Sam2MaskDecoder`) and on the compact model's, whose
weights it only reads. Shapes: `R` rows (images, or single objects), `n` prompts a row, `M = R * n` prompts in all, `C`
channels, `(h, w)` the latent's size.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from glesam.models.base import DecoderInputs, per_prompt


@dataclass(frozen=True)
class Attended:
    """What the two-way transformer makes of tokens and image.

    Attributes:
        tokens: `(M, O, C)` the output tokens.
        aside: `(M, E, C)` tokens that stood aside; empty without any.
        image: `(M, C, h, w)`.
    """

    tokens: Tensor
    aside: Tensor
    image: Tensor


def attend(decoder: Any, inputs: DecoderInputs, outputs: Tensor, aside: Tensor | None = None) -> Attended:
    """Run the two-way transformer of a decoder.

    Args:
        decoder: whose transformer it is.
        inputs: image and prompts.
        outputs: `(O, C)` output tokens, which stand before the prompts' tokens as the authors have it.
        aside: `(E, C)` tokens that see everything and are seen by nothing: with them, all else stays what it is
            without them, bit for bit.
    """
    count = inputs.latent.shape[0] * inputs.per_row
    tokens = outputs.expand(count, -1, -1)
    if inputs.sparse is not None:
        # Not flattened where there is one prompt a row: ONNX takes the 0 of a shape without points for something else.
        sparse = inputs.sparse[:, 0] if inputs.per_row == 1 else inputs.sparse.flatten(0, 1)
        tokens = torch.cat([tokens, sparse.to(outputs.dtype)], dim=1)
    image, positions = inputs.latent + inputs.dense, inputs.positions
    if inputs.per_row != 1:
        image = image.repeat_interleave(inputs.per_row, dim=0)
    if positions.shape[0] != 1:
        positions = positions.repeat_interleave(inputs.per_row, dim=0)
    tokens, keys, grid = tokens.unsqueeze(1), _rows(image), _rows(positions.expand(count, -1, -1, -1))
    own = None if aside is None else aside.expand(count, 1, -1, -1)
    queries, side = tokens, own
    transformer = decoder.transformer
    for layer in transformer.layers:
        if side is not None and own is not None:
            side = _stand_aside(layer, side, own, queries, tokens, keys, grid)
        queries, keys, _ = layer(
            queries=queries,
            keys=keys,
            query_point_embedding=tokens,
            key_point_embedding=grid,
            attention_similarity=None,
        )
    queries = _last_look(transformer, queries, tokens, keys, grid)
    if side is not None and own is not None:
        side = _last_look(transformer, side, own, keys, grid)
    found = queries[:, 0, : len(outputs)]
    return Attended(found, found[:, :0] if side is None else side[:, 0], keys.transpose(2, 3).reshape(image.shape))


def upscale(decoder: Any, image: Tensor, skips: tuple[Tensor, ...] = ()) -> Tensor:
    """Upscale `(M, C, h, w)` to the pixels that masks are drawn from, `(M, C/8, 4h, 4w)`.

    Args:
        decoder: whose layers it are.
        image: as the transformer left it.
        skips: `(R, ...)` maps at strides 4 and 8, R dividing M, or none.
    """
    up = decoder.upscale_conv1(image)
    if skips:
        up = up + per_prompt(skips[1], up.shape[0] // skips[1].shape[0])
    up = decoder.upscale_conv2(decoder.activation(decoder.upscale_layer_norm(up)))
    if skips:
        up = up + per_prompt(skips[0], up.shape[0] // skips[0].shape[0])
    pixels: Tensor = decoder.activation(up)
    return pixels


def own_tokens(decoder: Any, inputs: DecoderInputs) -> Tensor:
    """The decoder's output tokens in their order, `(O, C)`: SAM 2's object score, then IoU, then the masks."""
    first = [decoder.obj_score_token.weight] if inputs.object_token else []
    return torch.cat([*first, decoder.iou_token.weight, decoder.mask_tokens.weight])


def own_masks(decoder: Any, inputs: DecoderInputs, tokens: Tensor, pixels: Tensor) -> tuple[Tensor, Tensor]:
    """The decoder's own four masks and their predicted IoU.

    Args:
        decoder: whose heads are asked.
        inputs: what it read.
        tokens: `(M, O or more, C)` in the order of `own_tokens`.
        pixels: `(M, C/8, 4h, 4w)`.

    Returns:
        `(M, 4, 4h, 4w)` logits and `(M, 4)`.
    """
    first = 2 if inputs.object_token else 1
    networks = decoder.output_hypernetworks_mlps
    weights = torch.stack([network(tokens[:, first + i]) for i, network in enumerate(networks)], dim=1)
    return draw(weights, pixels), decoder.iou_prediction_head(tokens[:, first - 1])


def draw(weights: Tensor, pixels: Tensor) -> Tensor:
    """Products of `(M, K, c)` weights with `(M, c, H, W)` pixels: `(M, K, H, W)` logits."""
    # Sizes are asked for as `shape`, here and below, so that a trace keeps them open.
    return (weights @ pixels.flatten(2)).reshape(pixels.shape[0], -1, *pixels.shape[2:])


def choose(decoder: Any, logits: Tensor, iou: Tensor, multimask: bool) -> tuple[Tensor, Tensor]:
    """Of `(M, 4, ...)` masks the three candidates, or the single one; SAM 2 replaces an unstable single mask.

    The replacement is that of `Sam2MaskDecoder` in evaluation mode.
    """
    if multimask:
        return logits[:, 1:], iou[:, 1:]
    if decoder.training or not getattr(decoder, "dynamic_multimask_via_stability", False):
        return logits[:, :1], iou[:, :1]
    stable = _is_stable(decoder, logits[:, :1])
    best = iou[:, 1:].argmax(dim=1, keepdim=True)
    candidate = logits[:, 1:].gather(1, best[..., None, None].expand(-1, -1, *logits.shape[2:]))
    single = torch.where(stable[..., None, None], logits[:, :1], candidate)
    return single, torch.where(stable, iou[:, :1], iou[:, 1:].gather(1, best))


def _is_stable(decoder: Any, logits: Tensor) -> Tensor:
    """Whether `(M, 1, H, W)` masks stay nearly the same at two thresholds on either side of 0: `(M, 1)`."""
    delta: float = decoder.dynamic_multimask_stability_delta
    inner, outer = ((logits > threshold).flatten(2).sum(dim=-1).float() for threshold in (delta, -delta))
    shares = torch.where(outer > 0, inner / outer, 1.0)
    return shares >= float(decoder.dynamic_multimask_stability_thresh)


def all_masks(decoder: Any, logits: Tensor, iou: Tensor) -> tuple[Tensor, Tensor]:
    """Of `(M, 4, ...)` masks all that may be asked for: the single one as `choose` gives it, and the candidates."""
    single, score = choose(decoder, logits, iou, multimask=False)
    return torch.cat([single, logits[:, 1:]], dim=1), torch.cat([score, iou[:, 1:]], dim=1)


def add_per_image(maps: Tensor, images: Tensor | None) -> Tensor:
    """Add `(F, ...)` maps of images to `(M, ...)` maps of their prompts, F dividing M; None adds nothing."""
    if images is None:
        return maps
    if images.shape[0] == 1:
        return maps + images
    return (maps.reshape(len(images), -1, *maps.shape[1:]) + images[:, None]).flatten(0, 1)


def _rows(maps: Tensor) -> Tensor:
    """`(M, C, h, w)` to `(M, 1, h * w, C)`, as transformers' attention takes it."""
    return maps.flatten(2).transpose(1, 2).unsqueeze(1)


def _last_look(transformer: Any, queries: Tensor, tokens: Tensor, keys: Tensor, grid: Tensor) -> Tensor:
    """The last attention of the tokens on the image, and its normalisation."""
    seen, _ = transformer.final_attn_token_to_image(query=queries + tokens, key=keys + grid, value=keys)
    out: Tensor = transformer.layer_norm_final_attn(queries + seen)
    return out


def _stand_aside(
    layer: Any, side: Tensor, own: Tensor, queries: Tensor, tokens: Tensor, keys: Tensor, grid: Tensor
) -> Tensor:
    """One block for tokens that the others do not see; `queries` and `keys` are what came into the block."""
    if layer.skip_first_layer_pe:
        seen = torch.cat([queries, side], dim=2)
        side, _ = layer.self_attn(query=side, key=seen, value=seen)
    else:
        query = side + own
        key, value = torch.cat([queries + tokens, query], dim=2), torch.cat([queries, side], dim=2)
        side = side + layer.self_attn(query=query, key=key, value=value)[0]
    side = layer.layer_norm1(side)
    look, _ = layer.cross_attn_token_to_image(
        query=side + own, key=keys + grid, value=keys, attention_similarity=None
    )  # fmt: skip
    side = layer.layer_norm2(side + look)
    out: Tensor = layer.layer_norm3(side + layer.mlp(side))
    return out
