"""Tiny models of each family, prompts of each kind, and how to ask one prompt at a time."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from models_tiny import sam2_tiny, sam_tiny

from glesam.models.base import Embedding, MaskOutput, PromptTensors
from glesam.models.compact.model import CompactConfig, CompactModel
from glesam.models.sam.sam import SamPromptable
from glesam.models.sam.sam2 import Sam2Promptable

MODELS = ["sam", "sam2", "compact"]
_POINTS = torch.tensor([[[[10.0, 20.0], [30.0, 30.0]], [[50.0, 12.0], [3.0, 60.0]], [[33.0, 33.0], [0.0, 0.0]]]])
_LABELS = torch.tensor([[[1, 0], [1, 1], [1, -1]]])
_BOXES = torch.tensor([[[4.0, 6.0, 40.0, 50.0], [20.0, 2.0, 60.0, 30.0], [1.0, 30.0, 30.0, 63.0]]])
_MASKS = torch.randn(1, 3, 16, 16, generator=torch.Generator().manual_seed(5)) * 4

PROMPTS = {
    "points": PromptTensors(_POINTS, _LABELS),
    "box": PromptTensors(boxes=_BOXES),
    "points and box": PromptTensors(_POINTS, _LABELS, _BOXES),
    "mask": PromptTensors(mask_input=_MASKS),
    "mask and points": PromptTensors(_POINTS, _LABELS, mask_input=_MASKS),
}


def tiny(name: str):
    """A tiny model of a family with all weights random, for 64-pixel input."""
    if name == "sam":
        return SamPromptable(sam_tiny()).requires_grad_(False)
    if name == "sam2":
        return Sam2Promptable(sam2_tiny()).requires_grad_(False)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CompactModel(CompactConfig("lite0", 64, attention_blocks=1, conv_blocks=1, prompt_maps=True))
        for layer in (model.encoder.skip4, model.encoder.skip8, model.prompt_maps.coarse, model.prompt_maps.fine):
            torch.nn.init.normal_(layer.weight, std=0.1)
    return model.eval().requires_grad_(False)


def embed(model, count: int = 1) -> Embedding:
    """What a model makes of random images."""
    side = model.image_size
    pixels = torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        return model.encode(pixels)


def early_of(embedding: Embedding, index: int) -> Embedding:
    """One image of an embedding."""
    return embedding.map(lambda tensor: tensor[index, None])


def one_by_one(model, embedding: Embedding, prompts: PromptTensors, multimask: bool = True) -> MaskOutput:
    """Answers of single calls, put together."""
    parts = [
        model.decode(embedding, prompts.map(lambda t, i=i: t[:, i : i + 1]), multimask) for i in range(prompts.shape[1])
    ]
    return MaskOutput(
        torch.cat([part.low_res_logits for part in parts], dim=1), torch.cat([part.iou for part in parts], dim=1)
    )
