"""Inference of SAM's two-way transformer with the work that does not depend on the prompt taken out.

A click shall answer within a blink on a CPU, and most of its cost is projecting the image's tokens. Their positions
never change, so their share of keys and queries is a constant; the first layer sees the image before any prompt, so
its projections belong to the image; and what else a layer asks of the same tokens is one product instead of three.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers.models.sam2.modeling_sam2 import (
    Sam2Attention,
    Sam2FeedForward,
    Sam2TwoWayAttentionBlock,
    Sam2TwoWayTransformer,
)


@dataclass(frozen=True)
class _Projection:
    """Several linear layers over the image's tokens as one.

    Attributes:
        weight: `(C, D)`, the layers' outputs side by side.
        offset: `(L, D)`, biases and the projected positions of those layers that see positions.
    """

    weight: Tensor
    offset: Tensor

    def __call__(self, keys: Tensor) -> Tensor:
        """Project `(M, L, C)` tokens to `(M, L, D)`."""
        return torch.baddbmm(self.offset, keys, self.weight.expand(keys.shape[0], -1, -1))


class FastTwoWay:
    """Equal to `Sam2TwoWayTransformer` up to rounding, for one grid of positions and the weights of now.

    Args:
        transformer: the module whose weights are used.
        positions: `(L, C)` positional encoding of the image's tokens.
    """

    def __init__(self, transformer: Sam2TwoWayTransformer, positions: Tensor) -> None:
        self.transformer, self.positions = transformer, positions
        self.parameters = _merged_parameters(transformer)
        self.state = self.fingerprint()
        self.layers = [
            _merge(
                positions,
                [
                    (layer.cross_attn_token_to_image.k_proj, True),
                    (layer.cross_attn_token_to_image.v_proj, False),
                    (layer.cross_attn_image_to_token.q_proj, True),
                ],
            )
            for layer in transformer.layers
        ]
        self.own = [_SelfAttention(layer) for layer in transformer.layers]

    def fingerprint(self) -> tuple[tuple[int, int], ...]:
        """Changes whenever the weights that were merged are replaced or written to."""
        return tuple((p.data_ptr(), p._version) for p in self.parameters)

    def project(self, keys: Tensor) -> Tensor:
        """What the first layer asks of the image's tokens `(M, L, C)`: keys, values and queries, `(M, L, D)`."""
        return self.layers[0](keys)

    def __call__(self, tokens: Tensor, keys: Tensor, first: Tensor, outputs: int) -> tuple[Tensor, Tensor]:
        """Run all layers.

        Args:
            tokens: `(M, T, C)` output and prompt tokens.
            keys: `(M, L, C)` image tokens.
            first: `(M, L, D)`, `project(keys)`.
            outputs: how many of the tokens, from the first on, are wanted at the end.

        Returns:
            The tokens `(M, outputs, C)` and the image's tokens `(M, L, C)` afterwards.
        """
        queries = tokens
        for number, layer in enumerate(self.transformer.layers):
            projected = first if number == 0 else self.layers[number](keys)
            queries = layer.layer_norm1(self.own[number](queries, tokens))
            queries, keys = _layer(layer, queries, tokens, keys, projected)
        queries = self._finish(queries[:, :outputs], tokens[:, :outputs], keys)
        return self.transformer.layer_norm_final_attn(queries), keys

    def _finish(self, queries: Tensor, tokens: Tensor, keys: Tensor) -> Tensor:
        """The last attention of few tokens on the image.

        Keys and values are never made: with `q . (W x) = (W^T q) . x` the queries move into the space of the image's
        tokens, and the weighted sum of tokens is projected afterwards. A bias of the keys cancels in the softmax.
        """
        attention = self.transformer.final_attn_token_to_image
        count, rows, channels = queries.shape
        heads, width = attention.num_attention_heads, attention.head_dim
        q = _linear(attention.q_proj, queries + tokens).view(count, rows, heads, width)
        moved = torch.einsum("mrhd,hdc->mhrc", q, attention.k_proj.weight.view(heads, width, channels))
        moved = moved.reshape(count, heads * rows, channels) * attention.scaling
        weights = (moved @ keys.transpose(1, 2) + moved @ self.positions.t()).softmax(dim=-1)
        seen = (weights @ keys).view(count, heads, rows, channels)
        values = attention.v_proj.weight.view(heads, width, channels)
        mixed = torch.einsum("mhrc,hdc->mrhd", seen, values).reshape(count, rows, -1) + attention.v_proj.bias
        return queries + _linear(attention.o_proj, mixed)


class _SelfAttention:
    """Attention of a block's tokens among themselves; projections of the same input are one product.

    Args:
        layer: its weights are copied.
    """

    def __init__(self, layer: Sam2TwoWayAttentionBlock) -> None:
        self.attention, self.first = layer.self_attn, layer.skip_first_layer_pe
        parts = [self.attention.q_proj, self.attention.k_proj, self.attention.v_proj]
        merged = parts if self.first else parts[:2]
        self.weight = torch.cat([part.weight for part in merged])
        self.bias = torch.cat([part.bias for part in merged])

    def __call__(self, queries: Tensor, tokens: Tensor) -> Tensor:
        """Attended `(M, T, C)` queries; the first block sees no positions and does not add its input."""
        if self.first:
            return _attend(self.attention, *F.linear(queries, self.weight, self.bias).chunk(3, dim=-1))
        query, key = F.linear(queries + tokens, self.weight, self.bias).chunk(2, dim=-1)
        return queries + _attend(self.attention, query, key, _linear(self.attention.v_proj, queries))


def _merged_parameters(transformer: Sam2TwoWayTransformer) -> list[nn.Parameter]:
    """Those whose values go into the merged projections."""
    modules = [
        module
        for layer in transformer.layers
        for module in (
            layer.cross_attn_token_to_image.k_proj,
            layer.cross_attn_token_to_image.v_proj,
            layer.cross_attn_image_to_token.q_proj,
            layer.self_attn.q_proj,
            layer.self_attn.k_proj,
            layer.self_attn.v_proj,
        )
    ]
    return [parameter for module in modules for parameter in module.parameters()]


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Apply a layer without the module's call, which costs as much as these products on a dozen tokens."""
    return F.linear(x, layer.weight, layer.bias)


def _merge(positions: Tensor, layers: list[tuple[nn.Linear, bool]]) -> _Projection:
    """Merge linear layers; the flag says which see the positions."""
    offsets = [F.linear(positions, layer.weight, layer.bias) if seen else layer.bias.expand(len(positions), -1)
               for layer, seen in layers]  # fmt: skip
    return _Projection(torch.cat([layer.weight for layer, _ in layers]).t(), torch.cat(offsets, dim=1))


def _layer(
    layer: Sam2TwoWayAttentionBlock, queries: Tensor, tokens: Tensor, keys: Tensor, projected: Tensor
) -> tuple[Tensor, Tensor]:
    """What follows in a block: tokens to image, perceptron, image to tokens."""
    key, value, image_query = projected.chunk(3, dim=-1)
    attention = layer.cross_attn_token_to_image
    queries = layer.layer_norm2(queries + _attend(attention, _linear(attention.q_proj, queries + tokens), key, value))
    queries = layer.layer_norm3(queries + _perceptron(layer.mlp, queries))
    return queries, layer.layer_norm4(_answer(layer.cross_attn_image_to_token, queries, tokens, keys, image_query))


def _perceptron(mlp: Sam2FeedForward, x: Tensor) -> Tensor:
    """The two layers on `(M, T, C)` tokens, as weights times columns.

    Rows of weights are many and tokens few: this way round, and with a full register of columns, the product takes two
    thirds of the time.
    """
    rows = x.shape[0] * x.shape[1]
    columns = F.pad(x.reshape(rows, -1), (0, 0, 0, -rows % 16)).t()
    hidden = torch.addmm(mlp.proj_in.bias[:, None], mlp.proj_in.weight, columns).relu_()
    out = torch.addmm(mlp.proj_out.bias[:, None], mlp.proj_out.weight, hidden)
    return out.t()[:rows].reshape(x.shape)


def _answer(attention: Sam2Attention, queries: Tensor, tokens: Tensor, keys: Tensor, image_query: Tensor) -> Tensor:
    """Attention of the image's tokens on the few tokens of the prompt, added to the image's tokens: `(M, L, C)`.

    Two plain products, without moving heads about: keys as a block-diagonal matrix give the scores of all heads at
    once, and values that already went through the output projection give the sum over the heads. Since weights sum up
    to one in each head, that projection's bias can be part of the values.
    """
    count, rows, _ = queries.shape
    heads, width = attention.num_attention_heads, attention.head_dim
    k = _linear(attention.k_proj, queries + tokens).view(count, rows, heads, width) * attention.scaling
    diagonal = torch.eye(heads, dtype=k.dtype, device=k.device)[:, None, :, None]
    blocks = (k.permute(0, 2, 3, 1)[:, :, :, None] * diagonal).reshape(count, heads * width, heads * rows)
    scores = (image_query @ blocks).view(count, -1, heads, rows)
    v = _linear(attention.v_proj, queries).view(count, rows, heads, width).transpose(1, 2)
    out = attention.o_proj.weight.view(-1, heads, width).permute(1, 2, 0)
    values = (v @ out + attention.o_proj.bias / heads).reshape(count, heads * rows, -1)
    return torch.baddbmm(keys, scores.softmax(dim=-1).view(count, -1, heads * rows), values)


def _attend(attention: Sam2Attention, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """Multi-head attention of projected `(M, A, D)` on `(M, B, D)`, and its output projection."""
    count, length, width = query.shape
    heads = (count, -1, attention.num_attention_heads, attention.head_dim)
    q, k, v = (part.view(heads).transpose(1, 2) for part in (query, key, value))
    mixed = F.scaled_dot_product_attention(q, k, v, scale=attention.scaling)
    out: Tensor = _linear(attention.o_proj, mixed.transpose(1, 2).reshape(count, length, width))
    return out
