"""The layers of SAM 2's mask decoder (Ravi et al., 2024) that the compact model is built of.

They have the names, shapes and results of transformers' `Sam2Attention` and `Sam2TwoWayTransformer`, so that weights
and `glesam.heads` fit both. They are here since importing those takes longer than all else that the first mask needs,
torch included.
"""

from __future__ import annotations

from typing import cast

import torch.nn.functional as F
from torch import Tensor, nn

from glesam.models.layers import FeedForward

CHANNELS = 256
_HEADS = 8
_HIDDEN = 2048
_BLOCKS = 2


class Attention(nn.Module):
    """Multi-head attention whose projections may be narrower than its input.

    Args:
        internal_dim: width of all heads together.
    """

    def __init__(self, internal_dim: int) -> None:
        super().__init__()
        self.hidden_size, self.internal_dim, self.num_attention_heads = CHANNELS, internal_dim, _HEADS
        self.head_dim = internal_dim // _HEADS
        self.scaling = self.head_dim**-0.5
        self.q_proj = nn.Linear(CHANNELS, internal_dim)
        self.k_proj = nn.Linear(CHANNELS, internal_dim)
        self.v_proj = nn.Linear(CHANNELS, internal_dim)
        self.o_proj = nn.Linear(internal_dim, CHANNELS)

    def forward(
        self, query: Tensor, key: Tensor, value: Tensor, attention_similarity: Tensor | None = None
    ) -> tuple[Tensor, None]:
        """Attend.

        Args:
            query: `(B, N, T, C)`.
            key: `(B, N, L, C)`.
            value: `(B, N, L, C)`.
            attention_similarity: added to all scores; broadcast over `(B * N, H, T, L)`.

        Returns:
            `(B, N, T, C)`, and None where transformers may give the weights.
        """
        batch, count = query.shape[:2]
        shape = (batch * count, -1, self.num_attention_heads, self.head_dim)
        q = self.q_proj(query).view(shape).transpose(1, 2)
        k = self.k_proj(key).view(shape).transpose(1, 2)
        v = self.v_proj(value).view(shape).transpose(1, 2)
        mixed = F.scaled_dot_product_attention(q, k, v, attention_similarity, scale=self.scaling)
        return self.o_proj(mixed.transpose(1, 2).reshape(batch, count, -1, self.internal_dim)), None


class TwoWayBlock(nn.Module):
    """Attention among tokens, tokens to image, a perceptron on tokens, image to tokens.

    Args:
        skip_first_layer_pe: the first block's tokens are their own positions, which are not added once more.
    """

    def __init__(self, skip_first_layer_pe: bool) -> None:
        super().__init__()
        self.self_attn = Attention(CHANNELS)
        self.layer_norm1 = nn.LayerNorm(CHANNELS)
        self.cross_attn_token_to_image = Attention(CHANNELS // 2)
        self.layer_norm2 = nn.LayerNorm(CHANNELS)
        self.mlp = FeedForward(CHANNELS, _HIDDEN, CHANNELS, 2)
        self.layer_norm3 = nn.LayerNorm(CHANNELS)
        self.layer_norm4 = nn.LayerNorm(CHANNELS)
        self.cross_attn_image_to_token = Attention(CHANNELS // 2)
        self.skip_first_layer_pe = skip_first_layer_pe

    def forward(
        self,
        queries: Tensor,
        keys: Tensor,
        query_point_embedding: Tensor,
        key_point_embedding: Tensor,
        attention_similarity: Tensor | None = None,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Run the block.

        Args:
            queries: `(B, N, T, C)` tokens.
            keys: `(B, N, L, C)` image tokens.
            query_point_embedding: `(B, N, T, C)` positions of the tokens: they as they were before the first block.
            key_point_embedding: `(B, N, L, C)` positions of the image's tokens.
            attention_similarity: see `Attention`.

        Returns:
            Both kinds of tokens afterwards, and what the image's tokens took from the others.
        """
        if self.skip_first_layer_pe:
            queries = self.self_attn(queries, queries, queries)[0]
        else:
            query = queries + query_point_embedding
            queries = queries + self.self_attn(query, query, queries)[0]
        queries = self.layer_norm1(queries)
        query, key = queries + query_point_embedding, keys + key_point_embedding
        queries = queries + self.cross_attn_token_to_image(query, key, keys, attention_similarity)[0]
        queries = self.layer_norm2(queries)
        queries = self.layer_norm3(queries + self.mlp(queries))
        taken = self.cross_attn_image_to_token(key, queries + query_point_embedding, queries)[0]
        return queries, self.layer_norm4(keys + taken), taken


class TwoWayTransformer(nn.Module):
    """Two blocks and a last look of the tokens at the image."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList([TwoWayBlock(skip_first_layer_pe=i == 0) for i in range(_BLOCKS)])
        self.final_attn_token_to_image = Attention(CHANNELS // 2)
        self.layer_norm_final_attn = nn.LayerNorm(CHANNELS)

    @property
    def blocks(self) -> list[TwoWayBlock]:
        """`layers`, with their type."""
        return [cast(TwoWayBlock, layer) for layer in self.layers]

    def forward(
        self,
        point_embeddings: Tensor,
        image_embeddings: Tensor,
        image_positional_embeddings: Tensor,
        attention_similarity: Tensor | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Run all blocks.

        Args:
            point_embeddings: `(M, 1, T, C)` tokens.
            image_embeddings: `(M, C, h, w)`.
            image_positional_embeddings: `(M, C, h, w)`.
            attention_similarity: see `Attention`.

        Returns:
            `(M, 1, T, C)` tokens and `(M, 1, h * w, C)` image tokens.
        """
        keys, grid = (
            m.flatten(2).transpose(1, 2).unsqueeze(1) for m in (image_embeddings, image_positional_embeddings)
        )
        queries = point_embeddings
        for layer in self.blocks:
            queries, keys, _ = layer(queries, keys, point_embeddings, grid, attention_similarity)
        seen = self.final_attn_token_to_image(queries + point_embeddings, keys + grid, keys)[0]
        return cast(Tensor, self.layer_norm_final_attn(queries + seen)), keys
