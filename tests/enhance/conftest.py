"""Tiny U-Nets for the enhancer's tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

TINY: dict[str, Any] = {
    "sample_size": 8,
    "in_channels": 4,
    "out_channels": 4,
    "block_out_channels": (32, 64),
    "layers_per_block": 1,
    "down_block_types": ("CrossAttnDownBlock2D", "DownBlock2D"),
    "up_block_types": ("UpBlock2D", "CrossAttnUpBlock2D"),
    "cross_attention_dim": 32,
    "attention_head_dim": 4,
    "norm_num_groups": 8,
}


@pytest.fixture
def tiny_unet() -> Callable[..., Any]:
    """A function that builds a tiny U-Net of the given channels, seed and other settings."""

    def build(channels: int = 4, seed: int = 0, **settings: Any) -> Any:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            unet = UNet2DConditionModel(**(TINY | {"in_channels": channels, "out_channels": channels} | settings))
        return unet.eval()

    return build


@pytest.fixture
def text() -> torch.Tensor:
    """A text embedding of seven tokens that fits the tiny U-Net."""
    return torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(5))
