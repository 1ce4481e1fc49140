"""The compact model's layers and prompt encoder against transformers' SAM 2, with the same weights."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from models_twins import same, twin
from PIL import Image
from transformers.models.sam2.configuration_sam2 import Sam2MaskDecoderConfig, Sam2PromptEncoderConfig
from transformers.models.sam2.modeling_sam2 import (
    Sam2Attention,
    Sam2MaskDecoder,
    Sam2PromptEncoder,
    Sam2TwoWayTransformer,
)

from glesam.models.compact.attention import Attention, TwoWayTransformer
from glesam.models.compact.decoder import CompactMaskDecoder
from glesam.models.compact.prompt_encoder import PromptEncoder


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(5)


def decoder_config() -> Sam2MaskDecoderConfig:
    config = Sam2MaskDecoderConfig()
    config._attn_implementation = "sdpa"
    return config


@pytest.mark.parametrize("rate", [1, 2])
def test_attention(rate: int) -> None:
    ours = Attention(256 // rate)
    theirs = twin(ours, Sam2Attention(decoder_config(), downsample_rate=rate))
    query, key, value = torch.randn(3, 2, 3, 7, 256)
    similarity = torch.randn(6, 1, 7, 7)
    for bias in (None, similarity):
        same(ours(query, key, value, bias)[0], theirs(query=query, key=key, value=value, attention_similarity=bias)[0])


def test_transformer_and_its_gradients() -> None:
    ours = TwoWayTransformer()
    theirs = twin(ours, Sam2TwoWayTransformer(decoder_config()))
    tokens, image, positions = torch.randn(2, 1, 6, 256), torch.randn(2, 256, 4, 5), torch.randn(2, 256, 4, 5)
    results, gradients = [], []
    for module in (ours, theirs):
        leaves = [tokens.clone().requires_grad_(), image.clone().requires_grad_()]
        found = module(*leaves, positions, None)
        (found[0].square().sum() + found[1].sin().sum()).backward()
        results.append(found)
        gradients.append([leaf.grad for leaf in (*leaves, *module.parameters())])
    for mine, other in zip(*results, strict=True):
        same(mine, other)
    assert len(gradients[0]) == len(gradients[1]) > 50
    for mine, other in zip(*gradients, strict=True):  # summed in another order
        torch.testing.assert_close(mine, other, rtol=1e-4, atol=1e-5)


def test_prompt_encoder() -> None:
    ours = PromptEncoder(512, scale=2)
    theirs = twin(ours, Sam2PromptEncoder(Sam2PromptEncoderConfig(image_size=512, scale=2)))
    points = 512 * torch.rand(2, 3, 4, 2)
    labels = torch.tensor([1, 0, -1, 1, 2, 3, 1, -1, 2, 3, -1, 0]).view(1, 3, 4).expand(2, -1, -1)
    same(ours(points, labels), theirs(points, labels, None, None)[0])
    corners = torch.tensor([2, 3]).expand(2, 3, 2)
    boxes = points[:, :, :2].flatten(2)
    same(ours(boxes.view(2, 3, 2, 2), corners), theirs(None, None, boxes, None)[0])
    masks = 5 * torch.randn(2, 1, 128, 128)
    same(ours.mask_embed(masks), theirs(None, None, None, masks)[1])
    places = torch.rand(1, 6, 7, 2)
    same(ours.shared_embedding(places), theirs.shared_embedding(places))


def test_decoder_has_sam2s_tensors_but_for_those_that_it_leaves_out() -> None:
    theirs = {name: tensor.shape for name, tensor in Sam2MaskDecoder(decoder_config()).state_dict().items()}
    ours = {name: tensor.shape for name, tensor in CompactMaskDecoder().state_dict().items()}
    assert ours.items() <= theirs.items()
    assert {name.split(".")[0] for name in theirs.keys() - ours.keys()} == {
        "conv_s0",
        "conv_s1",
        "obj_score_token",
        "pred_obj_score_head",
    }


def test_the_first_mask_needs_no_library_that_is_slow_to_import(tmp_path: Path) -> None:
    """Each takes as long to import as torch, and a command is waited for."""
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    code = (
        "import sys\nfrom glesam.cli import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    assert not end.code\n"
        "print(' '.join({name.split('.')[0] for name in sys.modules}))"
    )
    command = [sys.executable, "-c", code, "segment", "a.png", "--point", "30,20", "--output", "masks"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=True)
    loaded = set(done.stdout.splitlines()[-1].split())
    assert (tmp_path / "masks" / "a.mask.png").is_file()
    assert "torch" in loaded
    assert not loaded & {"transformers", "diffusers", "peft", "accelerate", "sympy", "skimage", "matplotlib", "pandas"}
