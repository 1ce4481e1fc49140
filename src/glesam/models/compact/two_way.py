"""Inference of SAM's two-way transformer with the work that does not depend on the prompt taken out.

A click should be answered at once on a CPU, and most of its cost is what is asked of the image's tokens
(`image_attention`). Their positions never change, so their share of keys and queries is a constant; the first block
sees the image before any prompt, so its projections belong to the image.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.models.compact.attention import Attention, TwoWayBlock, TwoWayTransformer
from glesam.models.compact.image_attention import FirstImage, LaterImage, SeenImage, project_first, split_heads
from glesam.models.compact.prompt_maps import DrawnPrompts
from glesam.models.layers import FeedForward

_Image = FirstImage | SeenImage


class FastTwoWay:
    """Equal to `TwoWayTransformer` up to rounding, for one grid of positions and the weights of now.

    Args:
        transformer: the module whose weights are used.
        positions: `(L, C)` positional encoding of the image's tokens.
    """

    def __init__(self, transformer: TwoWayTransformer, positions: Tensor) -> None:
        self.transformer = transformer
        self.parameters = _merged_parameters(transformer)
        self.state = self.fingerprint()
        first, *later = transformer.blocks
        self.weight, self.offset = project_first(first, positions)
        self.later = [
            LaterImage(layer.cross_attn_token_to_image, layer.cross_attn_image_to_token.q_proj, positions)
            for layer in later
        ]
        self.last = LaterImage(transformer.final_attn_token_to_image, None, positions)
        self.own = [_SelfAttention(layer) for layer in transformer.blocks]

    def fingerprint(self) -> tuple[tuple[int, int], ...]:
        """Changes whenever the weights that were merged are replaced or written to."""
        return tuple((p.data_ptr(), p._version) for p in self.parameters)

    def project(self, image: Tensor) -> Tensor:
        """What the first block asks of the image's tokens `(M, L, C)`, before any prompt: `(M, L, D)`."""
        return torch.baddbmm(self.offset, image, self.weight.expand(image.shape[0], -1, -1))

    def __call__(
        self,
        tokens: Tensor,
        image: Tensor,
        projected: Tensor,
        drawn: DrawnPrompts | None,
        outputs: int,
        repeats: int = 1,
    ) -> tuple[Tensor, Tensor]:
        """Run all blocks.

        Args:
            tokens: `(M, T, C)` output and prompt tokens.
            image: `(M or 1, L, C)` image tokens.
            projected: `(M or 1, L, D)`, `project(image)`.
            drawn: the prompts as maps, which are added to the image's tokens.
            outputs: how many of the tokens, from the first on, are wanted at the end.
            repeats: how many equal tokens the last one stands for. Equal tokens stay equal through all blocks, and to
                be seen n times is to be seen once with a score higher by log(n).

        Returns:
            The tokens `(M, outputs, C)` and the image's tokens `(M, L, C)` afterwards.
        """
        first, *later = self.transformer.blocks
        heads = first.cross_attn_token_to_image.num_attention_heads
        start = FirstImage(image, projected, drawn, self.weight, heads)
        bias = tokens.new_zeros(tokens.shape[1])
        bias[-1] = math.log(repeats)
        queries = first.layer_norm1(self.own[0](tokens, tokens, bias))
        queries, image = _block(first, queries, tokens, bias, start)
        for layer, own, attention in zip(later, self.own[1:], self.later, strict=True):
            queries = layer.layer_norm1(own(queries, tokens, bias))
            queries, image = _block(layer, queries, tokens, bias, attention.on(image))
        queries, tokens = queries[:, :outputs], tokens[:, :outputs]
        final = self.transformer.final_attn_token_to_image
        queries = queries + _look(final, queries + tokens, self.last.on(image))
        return self.transformer.layer_norm_final_attn(queries), image


class _SelfAttention:
    """Attention of a block's tokens among themselves; projections of the same input are one product.

    Args:
        layer: its weights are copied.
    """

    def __init__(self, layer: TwoWayBlock) -> None:
        self.attention, self.first = layer.self_attn, layer.skip_first_layer_pe
        parts = [self.attention.q_proj, self.attention.k_proj, self.attention.v_proj]
        merged = parts if self.first else parts[:2]
        self.weight = torch.cat([part.weight for part in merged])
        self.bias = torch.cat([part.bias for part in merged])

    def __call__(self, queries: Tensor, tokens: Tensor, bias: Tensor) -> Tensor:
        """Attended `(M, T, C)` queries with `(T,)` on all scores; the first block sees no positions, adds no input."""
        if self.first:
            query, key, value = F.linear(queries, self.weight, self.bias).chunk(3, dim=-1)
            return _attend(self.attention, query, key, value, bias)
        query, key = F.linear(queries + tokens, self.weight, self.bias).chunk(2, dim=-1)
        return queries + _attend(self.attention, query, key, _linear(self.attention.v_proj, queries), bias)


def _merged_parameters(transformer: TwoWayTransformer) -> list[nn.Parameter]:
    """Those whose values go into products that are kept."""
    looks = [layer.cross_attn_token_to_image for layer in transformer.blocks]
    looks.append(transformer.final_attn_token_to_image)
    modules = [part for look in looks for part in (look.k_proj, look.v_proj)]
    for layer in transformer.blocks:
        own = layer.self_attn
        modules += [layer.cross_attn_image_to_token.q_proj, own.q_proj, own.k_proj, own.v_proj]
    return [parameter for module in modules for parameter in module.parameters()]


def _linear(layer: nn.Linear, x: Tensor) -> Tensor:
    """Apply a layer without the module's call, which costs as much as these products on a dozen tokens."""
    return F.linear(x, layer.weight, layer.bias)


def _block(
    layer: TwoWayBlock,
    queries: Tensor,
    tokens: Tensor,
    bias: Tensor,
    image: _Image,
) -> tuple[Tensor, Tensor]:
    """What follows the attention among tokens: tokens to image, perceptron, image to tokens."""
    queries = layer.layer_norm2(queries + _look(layer.cross_attn_token_to_image, queries + tokens, image))
    queries = layer.layer_norm3(queries + _perceptron(layer.mlp, queries))
    return queries, layer.layer_norm4(_answer(layer.cross_attn_image_to_token, queries, tokens, bias, image))


def _look(attention: Attention, queries: Tensor, image: _Image) -> Tensor:
    """Attention of `(M, T, C)` queries on the image."""
    q = _linear(attention.q_proj, queries) * attention.scaling
    mixed = image.look(split_heads(q, attention.num_attention_heads))
    return _linear(attention.o_proj, mixed.transpose(1, 2).flatten(2))


def _perceptron(mlp: FeedForward, x: Tensor) -> Tensor:
    """The two layers on `(M, T, C)` tokens, as weights times columns.

    Rows of weights are many and tokens few: this way round, and with a full register of columns, the product takes two
    thirds of the time.
    """
    rows = x.shape[0] * x.shape[1]
    columns = F.pad(x.reshape(rows, -1), (0, 0, 0, -rows % 16)).t()
    hidden = torch.addmm(mlp.proj_in.bias[:, None], mlp.proj_in.weight, columns).relu_()
    out = torch.addmm(mlp.proj_out.bias[:, None], mlp.proj_out.weight, hidden)
    return out.t()[:rows].reshape(x.shape)


def _answer(attention: Attention, queries: Tensor, tokens: Tensor, bias: Tensor, image: _Image) -> Tensor:
    """Attention of the image's tokens on the few tokens of the prompt, added to the image's tokens: `(M, L, C)`.

    Two plain products, without moving heads about: keys as a block-diagonal matrix give the scores of all heads at
    once, and values that already went through the output projection give the sum over the heads. Since weights sum up
    to one in each head, that projection's bias can be part of the values. Heads lie innermost, tokens before them: a
    softmax over the few tokens is then a dozen times as fast as over the last axis.
    """
    count, rows, _ = queries.shape
    heads, width = attention.num_attention_heads, attention.head_dim
    k = _linear(attention.k_proj, queries + tokens).view(count, rows, heads, width) * attention.scaling
    diagonal = torch.eye(heads, dtype=k.dtype, device=k.device)[:, None, None]
    blocks = (k.permute(0, 2, 3, 1)[..., None] * diagonal).reshape(count, heads * width, rows * heads)
    scores = image.answer(blocks, bias.repeat_interleave(heads)).view(count, -1, rows, heads)
    v = _linear(attention.v_proj, queries).view(count, rows, heads, width).transpose(1, 2)
    out = attention.o_proj.weight.view(-1, heads, width).permute(1, 2, 0)
    values = (v @ out + attention.o_proj.bias / heads).transpose(1, 2).reshape(count, rows * heads, -1)
    return image.mix(scores.softmax(dim=2).view(count, -1, rows * heads), values)


def _attend(attention: Attention, query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Multi-head attention of projected `(M, T, D)` tokens among themselves, and its output projection."""
    q, k, v = (split_heads(part, attention.num_attention_heads) for part in (query, key, value))
    mixed = F.scaled_dot_product_attention(q, k, v, bias.view(1, 1, 1, -1), scale=attention.scaling)
    return _linear(attention.o_proj, mixed.transpose(1, 2).flatten(2))
