"""What a block of the two-way transformer asks of the image's tokens, with as few passes over them as can be.

Tokens of the image are many, those of a prompt few. So projections of the image are computed once for an image
(`FirstImage`), or not at all (`LaterImage`): with `q . (W k) = (W^T q) . k` the queries move into the space of the
image's tokens. Drawn prompts are four numbers a token and join in products of that size.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.models.compact.attention import Attention, TwoWayBlock
from glesam.models.compact.prompt_maps import DrawnPrompts


@dataclass(frozen=True)
class FirstImage:
    """The image's tokens before the first block, which differ between prompts by the drawn maps alone.

    Attributes:
        image: `(M or 1, L, C)` the tokens without the drawn maps.
        projected: `(M or 1, L, 3 * H * d)` keys, values and queries of the image's tokens.
        drawn: the prompts as maps, or None.
        weight: `(C, 3 * H * d)`, the projection of all three.
        heads: H.
    """

    image: Tensor
    projected: Tensor
    drawn: DrawnPrompts | None
    weight: Tensor
    heads: int

    def look(self, queries: Tensor) -> Tensor:
        """Attend with `(M, H, T, d)` scaled queries to the image; the same shape."""
        keys, values, _ = (split_heads(part, self.heads) for part in self.projected.chunk(3, dim=-1))
        scores = queries @ keys.transpose(2, 3)
        if self.drawn is None:
            return scores.softmax(dim=-1) @ values
        maps = self.drawn.coarse[:, None]
        to_keys, to_values = (split_heads(weight, self.heads) for weight in self.drawn_weights[:2])
        weights = (scores + (queries @ to_keys.transpose(1, 2)) @ maps.transpose(2, 3)).softmax(dim=-1)
        return weights @ values + (weights @ maps) @ to_values

    def answer(self, keys: Tensor, bias: Tensor) -> Tensor:
        """Scores `(M, L, T * H)` of the image's tokens for `(M, H * d, T * H)` keys, on top of `(T * H,)`."""
        queries = self.projected.chunk(3, dim=-1)[2].expand(len(keys), -1, -1)
        scores = torch.baddbmm(bias, queries, keys)
        return scores if self.drawn is None else scores.baddbmm_(self.drawn.coarse, self.drawn_weights[2] @ keys)

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        """Add to the image's tokens what `(M, L, T * H)` weights make of `(M, T * H, C)` values: `(M, L, C)`."""
        count = len(weights)
        if self.drawn is not None:
            weights = torch.cat([weights, self.drawn.coarse], dim=2)
            values = torch.cat([values, self.drawn.coarse_weight.expand(count, -1, -1)], dim=1)
        return torch.baddbmm(self.image.expand(count, -1, -1), weights, values)

    @cached_property
    def drawn_weights(self) -> tuple[Tensor, ...]:
        """What the projections make of the four drawn maps, `(4, H * d)` for each of the three."""
        return () if self.drawn is None else (self.drawn.coarse_weight @ self.weight).chunk(3, dim=-1)


class LaterImage:
    """Attention of one block on image tokens that every prompt changes.

    Args:
        look: from the prompt's tokens to the image.
        answer: from the image to the prompt's tokens, or None.
        positions: `(L, C)` positional encoding of the image's tokens.
    """

    def __init__(self, look: Attention, answer: nn.Linear | None, positions: Tensor) -> None:
        heads, width = look.num_attention_heads, look.head_dim
        # The keys' bias adds the same to all scores of a query, which a softmax does not see.
        self.positions = (positions @ look.k_proj.weight.t()).view(-1, heads, width).permute(1, 2, 0).contiguous()
        self.to_keys = look.k_proj.weight.view(heads, width, -1)
        self.to_values = look.v_proj.weight.view(heads, width, -1).transpose(1, 2)
        self.value_bias = look.v_proj.bias.view(heads, 1, width)
        if answer is not None:
            self.to_queries = answer.weight.t()
            self.query_positions = F.linear(positions, answer.weight, answer.bias)

    def on(self, image: Tensor) -> SeenImage:
        """The attention on `(M, L, C)` tokens."""
        return SeenImage(self, image)


@dataclass(frozen=True)
class SeenImage:
    """The image's tokens `(M, L, C)` before a later block; the methods are those of `FirstImage`."""

    attention: LaterImage
    image: Tensor

    def look(self, queries: Tensor) -> Tensor:
        """Attend with `(M, H, T, d)` scaled queries to the image; the same shape."""
        own, (count, heads, rows, _) = self.attention, queries.shape
        moved = (queries @ own.to_keys).view(count, heads * rows, -1)
        scores = (moved @ self.image.transpose(1, 2)).view(count, heads, rows, -1) + queries @ own.positions
        seen = scores.softmax(dim=-1).view(count, heads * rows, -1) @ self.image
        return torch.add(seen.view(count, heads, rows, -1) @ own.to_values, own.value_bias)

    def answer(self, keys: Tensor, bias: Tensor) -> Tensor:
        """Scores `(M, L, T * H)` of the image's tokens for `(M, H * d, T * H)` keys, on top of `(T * H,)`."""
        scores = torch.baddbmm(bias, self.attention.query_positions.expand(len(keys), -1, -1), keys)
        return scores.baddbmm_(self.image, self.attention.to_queries @ keys)

    def mix(self, weights: Tensor, values: Tensor) -> Tensor:
        """Add to the image's tokens what `(M, L, T * H)` weights make of `(M, T * H, C)` values: `(M, L, C)`."""
        return torch.baddbmm(self.image, weights, values)


def split_heads(x: Tensor, heads: int) -> Tensor:
    """`(..., T, H * d)` to `(..., H, T, d)`."""
    return x.view(*x.shape[:-1], heads, -1).transpose(-3, -2)


def project_first(block: TwoWayBlock, positions: Tensor) -> tuple[Tensor, Tensor]:
    """What the first block asks of the image's tokens as one linear layer.

    Args:
        block: the block.
        positions: `(L, C)` positional encoding of the image's tokens.

    Returns:
        Weight `(C, 3 * H * d)` and offset `(L, 3 * H * d)`: biases and, for keys and queries, projected positions.
    """
    key, value = block.cross_attn_token_to_image.k_proj, block.cross_attn_token_to_image.v_proj
    query = block.cross_attn_image_to_token.q_proj
    offsets = [F.linear(positions, key.weight, key.bias), value.bias.expand(len(positions), -1)]
    offsets.append(F.linear(positions, query.weight, query.bias))
    return torch.cat([layer.weight for layer in (key, value, query)]).t(), torch.cat(offsets, dim=1)
