"""Tiny SAM and SAM 2 with every weight random, so that no comparison is of zeros."""

from __future__ import annotations

import torch
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel

WIDTH, SIDE = 32, 64
_PROMPT = {"hidden_size": WIDTH, "image_size": SIDE, "patch_size": 16}
_DECODER = {"hidden_size": WIDTH, "mlp_dim": 48, "num_attention_heads": 8, "iou_head_hidden_dim": 40}


def sam_tiny_config() -> SamConfig:
    """64-pixel input, latent (1, 32, 4, 4), one windowed and one global block."""
    vision = {
        "hidden_size": 24,
        "output_channels": WIDTH,
        "num_hidden_layers": 2,
        "num_attention_heads": 3,
        "image_size": SIDE,
        "patch_size": 16,
        "window_size": 3,
        "global_attn_indexes": [1],
        "num_pos_feats": WIDTH // 2,
        "mlp_dim": 56,
    }
    return SamConfig(vision_config=vision, prompt_encoder_config=dict(_PROMPT), mask_decoder_config=dict(_DECODER))


def hiera_tiny() -> dict[str, object]:
    return {
        "blocks_per_stage": [1, 1, 2, 1],
        "num_attention_heads_per_stage": [1, 1, 2, 2],
        "global_attention_blocks": [3],
        "window_size_per_stage": [4, 2, 2, 2],
        "window_positional_embedding_background_size": [3, 3],
    }


def sam2_tiny_config() -> Sam2Config:
    """64-pixel input, latent (1, 32, 4, 4), skips (1, 4, 16, 16) and (1, 8, 8, 8)."""
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": 8,
        "num_attention_heads": 1,
        "image_size": [SIDE, SIDE],
        "embed_dim_per_stage": [8, 16, 32, 64],
        **hiera_tiny(),
    }
    vision = {
        "model_type": "sam2_vision_model",
        "backbone_config": backbone,
        "backbone_channel_list": [64, 32, 16, 8],
        "backbone_feature_sizes": [[16, 16], [8, 8], [4, 4]],
        "fpn_hidden_size": WIDTH,
    }
    return Sam2Config(vision_config=vision, prompt_encoder_config=dict(_PROMPT), mask_decoder_config=dict(_DECODER))


def randomise(model: torch.nn.Module, seed: int = 0, std: float = 0.3) -> torch.nn.Module:
    """Give every tensor random values: transformers starts many at zero, some at 1e-10."""
    generator = torch.Generator().manual_seed(seed)
    seen: set[int] = set()
    for tensor in model.state_dict().values():
        if tensor.data_ptr() not in seen:
            seen.add(tensor.data_ptr())
            tensor.copy_(torch.randn(tensor.shape, generator=generator) * std)
    if hasattr(model, "prompt_encoder") and isinstance(model, Sam2Model):
        # SAM 2 keeps two copies of the one positional encoding.
        shared = model.shared_image_embedding.positional_embedding
        model.prompt_encoder.shared_embedding.positional_embedding.copy_(shared)
    return model.eval()


def sam_tiny(seed: int = 0) -> SamModel:
    return randomise(SamModel(sam_tiny_config()), seed)


def sam2_tiny(seed: int = 0) -> Sam2Model:
    return randomise(Sam2Model(sam2_tiny_config()), seed)
