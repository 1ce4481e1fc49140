from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError
from safetensors.torch import load_file, save_file
from transformers import CLIPTextConfig, CLIPTextModel

from glesam.enhance.priors import empty_prompt_embedding, load_prior, load_schedule, read_text_embedding
from glesam.enhance.schedule import NoiseSchedule
from glesam.errors import ModelError

Build = Callable[..., Any]


def write_scheduler(folder: Path, **settings: Any) -> None:
    sd = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    DDIMScheduler(**(sd | settings)).save_pretrained(folder)


def write_text_encoder(folder: Path, pad: str = "!") -> CLIPTextModel:
    """A tiny CLIP text encoder, and a tokenizer of four tokens that pads as Stable Diffusion 2.1's does."""
    tokens = {"!": 0, "a": 1, "<|startoftext|>": 2, "<|endoftext|>": 3}
    (folder / "tokenizer").mkdir(parents=True)
    (folder / "tokenizer" / "vocab.json").write_text(json.dumps(tokens))
    (folder / "tokenizer" / "merges.txt").write_text("#version: 0.2\n")
    settings = {
        "tokenizer_class": "CLIPTokenizer",
        "model_max_length": 9,
        "pad_token": pad,
        "bos_token": "<|startoftext|>",
        "eos_token": "<|endoftext|>",
        "unk_token": "<|endoftext|>",
    }
    (folder / "tokenizer" / "tokenizer_config.json").write_text(json.dumps(settings))
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=4,
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=4,
        max_position_embeddings=9,
        bos_token_id=2,
        eos_token_id=3,
    )
    encoder = CLIPTextModel(config).eval()
    encoder.save_pretrained(folder / "text_encoder")
    return encoder


def same_weights(first: Any, second: Any) -> bool:
    pairs = zip(first.state_dict().items(), second.state_dict().items(), strict=True)
    return all(a[0] == b[0] and torch.equal(a[1], b[1]) for a, b in pairs)


def test_prior_from_a_pipeline_or_a_unet_folder(tiny_unet: Build, tmp_path: Path) -> None:
    unet = tiny_unet()
    unet.save_pretrained(tmp_path / "unet")
    for folder in (tmp_path, tmp_path / "unet", str(tmp_path)):
        loaded = load_prior(folder)
        assert same_weights(loaded, unet)
        assert not loaded.training


def test_other_things_are_no_prior(tiny_unet: Build, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="no U-Net there"):
        load_prior(tmp_path)
    (tmp_path / "config.json").write_text('{"_class_name": "AutoencoderKL"}')
    with pytest.raises(ModelError, match="a AutoencoderKL"):
        load_prior(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelError, match="JSON"):
        load_prior(tmp_path)
    (tmp_path / "config.json").write_text(tiny_unet().to_json_string())
    with pytest.raises(ModelError, match="weights"):
        load_prior(tmp_path)


def test_hub_ids_are_asked_for_their_parts(tiny_unet: Build, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_scheduler(tmp_path / "scheduler", prediction_type="v_prediction")
    asked = []

    def download(repository: str, name: str) -> str:
        asked.append((repository, name))
        if not (tmp_path / name).exists():
            raise EntryNotFoundError("none")
        return str(tmp_path / name)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", download)
    assert load_schedule("some/prior").prediction_type == "v_prediction"
    assert asked == [("some/prior", "scheduler/scheduler_config.json")]
    with pytest.raises(ModelError, match="no U-Net there"):
        load_prior("some/prior")
    assert asked[1:] == [("some/prior", "unet/config.json"), ("some/prior", "config.json")]


def test_a_wrong_name_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="folder or hub id"):
        load_prior(tmp_path / "not" / "here")

    def refuse(*_: str) -> str:
        raise HfHubHTTPError.__new__(HfHubHTTPError)

    monkeypatch.setattr("huggingface_hub.hf_hub_download", refuse)
    with pytest.raises(ModelError, match="check the name"):
        load_prior("nobody/nothing")


def test_schedule_from_each_place(tmp_path: Path) -> None:
    (tmp_path / "unet").mkdir()
    write_scheduler(tmp_path / "scheduler", prediction_type="v_prediction")
    velocity = NoiseSchedule(prediction_type="v_prediction")
    assert load_schedule(tmp_path) == velocity
    assert load_schedule(tmp_path / "unet") == velocity  # the neighbour speaks for the U-Net
    write_scheduler(tmp_path / "alone", beta_end=0.02)
    assert load_schedule(tmp_path / "alone") == NoiseSchedule(beta_end=0.02)


def test_an_unknown_prediction_type_is_never_guessed(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="pass schedule"):
        load_schedule(tmp_path)
    assert load_schedule(tmp_path, NoiseSchedule()) == NoiseSchedule()
    write_scheduler(tmp_path, prediction_type="v_prediction")
    with pytest.raises(ModelError, match="leave schedule out"):
        load_schedule(tmp_path, NoiseSchedule())


@pytest.mark.parametrize(("pad", "pad_id"), [("!", 0), ("<|endoftext|>", 3)])
def test_empty_prompt_is_start_end_and_padding(tmp_path: Path, pad: str, pad_id: int) -> None:
    encoder = write_text_encoder(tmp_path, pad)
    with torch.no_grad():
        expected = encoder(torch.tensor([[2, 3, *[pad_id] * 7]])).last_hidden_state
    got = empty_prompt_embedding(tmp_path)
    assert got.shape == (1, 9, 32)
    assert not got.requires_grad
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-5)


def test_a_missing_text_encoder_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="pass text_embedding"):
        empty_prompt_embedding(tmp_path)


def test_stored_embeddings(tmp_path: Path, text: torch.Tensor) -> None:
    path = tmp_path / "text.safetensors"
    save_file({"anything": text}, path)
    assert torch.equal(read_text_embedding(path), text)
    save_file({"other": torch.ones(1), "text_embedding": text}, path)
    assert torch.equal(read_text_embedding(path), text)
    save_file({"one": text, "two": text.clone()}, path)
    with pytest.raises(ModelError, match="one tensor, got 2"):
        read_text_embedding(path)
    path.write_text("no tensor")
    with pytest.raises(ModelError, match="safetensors"):
        read_text_embedding(path)
    with pytest.raises(ModelError, match="nothing"):
        read_text_embedding(tmp_path / "nothing")


def test_a_prior_whose_weights_are_not_all_there_is_refused(tmp_path: Path) -> None:
    unet = UNet2DConditionModel(
        sample_size=8, block_out_channels=(32,), down_block_types=("DownBlock2D",), up_block_types=("UpBlock2D",),
        layers_per_block=1, cross_attention_dim=8,
    )  # fmt: skip
    unet.save_pretrained(tmp_path)
    path = tmp_path / "diffusion_pytorch_model.safetensors"
    weights = load_file(path)
    del weights["conv_out.bias"]
    save_file(weights, path)
    with pytest.raises(ModelError, match=r"U-Net.*conv_out"):
        load_prior(tmp_path)
