"""A tiny SAM with random weights, saved as a user would have it, and a folder of small photos."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image


@pytest.fixture(scope="session")
def folder_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a SAM for 64-pixel input, in transformers' format."""
    import torch
    from transformers import SamConfig, SamModel

    vision = {"hidden_size": 24, "output_channels": 32, "num_hidden_layers": 1, "mlp_dim": 48, "window_size": 2}
    vision |= {"num_attention_heads": 3, "image_size": 64, "num_pos_feats": 16}
    prompt = {"hidden_size": 32, "image_size": 64}
    decoder = {"hidden_size": 32, "mlp_dim": 48, "iou_head_hidden_dim": 40}
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("folder-model")
    config = SamConfig(
        vision_config=vision | {"global_attn_indexes": [0], "initializer_range": 0.2},
        prompt_encoder_config=prompt,
        mask_decoder_config=decoder,
    )
    SamModel(config).save_pretrained(folder)
    return folder


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of six photos of smooth random colours."""
    folder = tmp_path / "photos"
    folder.mkdir()
    for number in range(6):
        blobs = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        Image.fromarray(blobs).resize((60, 40), Image.Resampling.BICUBIC).save(folder / f"p{number}.jpg")
    return folder
