"""A small compact model with random weights that answers firmly, so that masks do not hang on rounding."""

from __future__ import annotations

import pytest
import torch

from glesam.common.telemetry import decline_telemetry
from glesam.models.compact.model import CompactConfig, CompactModel

decline_telemetry()  # before `importorskip` imports OpenVINO


def small_model(prompt_maps: bool, seed: int = 0) -> CompactModel:
    """A 128-pixel model of one block each, every zero start filled with random numbers."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        config = CompactConfig("lite0", 128, attention_blocks=1, conv_blocks=1, prompt_maps=prompt_maps)
        model = CompactModel(config).eval()
        layers = [model.encoder.skip4, model.encoder.skip8]
        layers += [] if model.prompt_maps is None else [model.prompt_maps.coarse, model.prompt_maps.fine]
        for layer in layers:
            torch.nn.init.normal_(layer.weight, std=0.1)
    return model.requires_grad_(False)


@pytest.fixture(scope="session")
def small_models() -> dict[bool, CompactModel]:
    """By whether they have prompt maps."""
    return {maps: small_model(maps) for maps in (False, True)}
