"""A tiny SAM with random weights, saved as a user would have it, so that the verbs run their real path in moments."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Make = Callable[..., Path]


@pytest.fixture(scope="session")
def tiny_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a SAM for 64-pixel input, in transformers' format."""
    import torch
    from transformers import SamConfig, SamModel

    vision: dict[str, Any] = {"hidden_size": 24, "output_channels": 32, "num_hidden_layers": 1, "mlp_dim": 48}
    vision |= {"num_attention_heads": 3, "image_size": 64, "window_size": 2, "global_attn_indexes": [0]}
    vision |= {"num_pos_feats": 16, "initializer_range": 0.2}
    prompt = {"hidden_size": 32, "image_size": 64}
    decoder = {"hidden_size": 32, "mlp_dim": 48, "iou_head_hidden_dim": 40}
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("tiny-sam")
    config = SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder)
    SamModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def photo(tmp_path: Path) -> Make:
    """Write a photo of smooth random colours, `photo("a.jpg", width=60, height=40)`."""

    def make(name: str, width: int = 60, height: int = 40, seed: int = 0) -> Path:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        blobs = np.random.default_rng(seed).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(blobs).resize((width, height), Image.Resampling.BICUBIC).save(path)
        return path

    return make
