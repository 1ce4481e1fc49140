"""Saved folders: round trip, exchange with transformers, strict keys, repositories for video."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from models_tiny import sam2_tiny, sam2_tiny_config, sam_tiny
from safetensors.torch import load_file, save_file
from transformers import Sam2Model, Sam2VideoConfig, Sam2VideoModel, SamModel

from glesam.errors import ModelError
from glesam.models.base import PromptTensors
from glesam.models.sam.base import TIED_KEYS
from glesam.models.sam.sam import SamPromptable
from glesam.models.sam.sam2 import Sam2Promptable

CASES = [(SamPromptable, SamModel, sam_tiny), (Sam2Promptable, Sam2Model, sam2_tiny)]


@torch.no_grad()
def answer(model: Any) -> torch.Tensor:
    pixels = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    prompts = PromptTensors(torch.tensor([[[[20.0, 30.0]]]]), torch.ones(1, 1, 1, dtype=torch.long))
    return model.decode(model.encode(pixels), prompts, True).low_res_logits


@pytest.mark.parametrize(("ours", "theirs", "build"), CASES)
def test_round_trip_and_exchange_with_transformers(ours: Any, theirs: Any, build: Any, tmp_path: Path) -> None:
    model = ours(build())
    model.save_pretrained(tmp_path / "ours")
    assert sorted(p.name for p in (tmp_path / "ours").iterdir()) == ["config.json", "model.safetensors"]
    assert torch.equal(answer(ours.from_pretrained(tmp_path / "ours")), answer(model))
    expected = model.model.state_dict()
    for name, tensor in theirs.from_pretrained(tmp_path / "ours").state_dict().items():
        assert torch.equal(tensor, expected[name]), name
    model.model.save_pretrained(tmp_path / "theirs")
    assert torch.equal(answer(ours.from_pretrained(str(tmp_path / "theirs"))), answer(model))


@pytest.mark.parametrize(("ours", "theirs", "build"), CASES)
def test_loaded_model_is_complete_and_ready(ours: Any, theirs: Any, build: Any, tmp_path: Path) -> None:
    ours(build()).save_pretrained(tmp_path)
    model = ours.from_pretrained(tmp_path)
    tensors = [*model.parameters(), *model.buffers()]
    assert all(t.device.type == "cpu" and t.dtype == torch.float32 for t in tensors)
    assert all(p.requires_grad for p in model.parameters())
    assert not any(m.training for m in model.modules())
    assert model.image_size == 64


@pytest.mark.parametrize("kept", TIED_KEYS)
def test_one_name_of_the_positional_encoding_is_enough(kept: str, tmp_path: Path) -> None:
    model = Sam2Promptable(sam2_tiny())
    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    save_file({k: v for k, v in state.items() if k == kept or k not in TIED_KEYS}, tmp_path / "model.safetensors")
    assert torch.equal(answer(Sam2Promptable.from_pretrained(tmp_path)), answer(model))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda s: [s.pop(k) for k in list(s) if "iou_token" in k or "conv_s0" in k], r"3 missing \(mask_decoder"),
        (lambda s: s.update({"a": torch.zeros(1), "b": torch.zeros(1)}), r"2 unexpected \(a, b\)"),
        (lambda s: s.update({f"x{i}": torch.zeros(1) for i in range(5)}), r"5 unexpected \(x0, x1, x2, ...\)"),
        (
            lambda s: s.update({"no_memory_embedding": torch.zeros(3)}),
            r"1 of another shape \(no_memory_embedding \(3,\)",
        ),
    ],
)
def test_strict_both_ways(change: Any, message: str, tmp_path: Path) -> None:
    Sam2Promptable(sam2_tiny()).save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    change(state)
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=message) as caught:
        Sam2Promptable.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)


@torch.no_grad()
def test_repository_for_video_loads_without_its_memory(tmp_path: Path) -> None:
    image = sam2_tiny_config().to_dict()
    parts = ("vision_config", "prompt_encoder_config", "mask_decoder_config")
    memory = {"memory_attention_hidden_size": 32, "memory_encoder_hidden_size": 32, "memory_encoder_output_channels": 8}
    video = Sam2VideoModel(Sam2VideoConfig(**{part: image[part] for part in parts}, **memory))
    video.save_pretrained(tmp_path)
    assert any(k.startswith("memory_") for k in load_file(tmp_path / "model.safetensors"))
    model = Sam2Promptable.from_pretrained(tmp_path)
    for name, tensor in model.model.state_dict().items():
        # A fresh video model has two encodings and saves the first; released files hold one and the same.
        source = TIED_KEYS[0] if name in TIED_KEYS else name
        assert torch.equal(tensor, video.state_dict()[source]), name


def test_folders_that_are_no_models(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"expected a saved model's .*config.json"):
        SamPromptable.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text('{"vision_config": {"hidden_size": "wide"}}')
    with pytest.raises(ModelError, match="expected a SamConfig") as caught:
        SamPromptable.from_pretrained(tmp_path)
    assert "\n" not in str(caught.value)
    SamPromptable(sam_tiny()).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"text")
    with pytest.raises(ModelError, match="expected weights in"):
        SamPromptable.from_pretrained(tmp_path)
