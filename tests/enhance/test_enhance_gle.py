from __future__ import annotations

import copy
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from hypothesis import given, settings
from hypothesis import strategies as st
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from glesam.enhance.channels import expand_unet_channels
from glesam.enhance.gle import LatentEnhancer, pad_to_stride
from glesam.enhance.lora import adapted_layers, attach_lora, lora_parameters, merge_lora
from glesam.enhance.schedule import NoiseSchedule
from glesam.errors import ModelError

Build = Callable[..., Any]
VELOCITY = NoiseSchedule(prediction_type="v_prediction")


def latents(*shape: int, seed: int = 0) -> torch.Tensor:
    """Values as large as those of SAM's latents."""
    return 0.2 * torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def adapt(enhancer: LatentEnhancer, rank: int = 8, alpha: float = 8) -> LatentEnhancer:
    """Adapters that change the output."""
    attach_lora(enhancer.unet, rank=rank, alpha=alpha)
    for parameter in lora_parameters(enhancer.unet):
        torch.nn.init.normal_(parameter, std=0.05, generator=torch.Generator().manual_seed(1))
    return enhancer


@torch.no_grad()
def run(enhancer: LatentEnhancer, *shape: int) -> torch.Tensor:
    result: torch.Tensor = enhancer(latents(*(shape or (1, enhancer.channels, 8, 8))))
    return result


def pipeline(folder: Path, unet: Any, prediction_type: str = "epsilon") -> Path:
    """A prior as a folder of diffusers, without text encoder."""
    sd = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
    DDIMScheduler(**sd, prediction_type=prediction_type).save_pretrained(folder / "scheduler")
    unet.save_pretrained(folder / "unet")
    return folder


@pytest.mark.parametrize("index", [1, 499, 999])
@pytest.mark.parametrize("scale", [1.0, 5.0])
@torch.no_grad()
def test_step_equals_equation_4_by_hand_in_float64(
    tiny_unet: Build, text: torch.Tensor, index: int, scale: float
) -> None:
    unet = tiny_unet(256)
    latent = latents(2, 256, 8, 8)
    low, high = 0.00085**0.5, 0.012**0.5
    alpha_bar = np.prod([1.0 - (low + (high - low) * i / 999) ** 2 for i in range(index + 1)])
    noise = copy.deepcopy(unet).double()(scale * latent.double(), index, text.double().expand(2, -1, -1)).sample
    z_t = scale * latent.double().numpy()
    expected = (z_t - np.sqrt(1 - alpha_bar) * noise.numpy()) / np.sqrt(alpha_bar) / scale
    got = LatentEnhancer(unet, text, timestep=index, alignment_scale=scale)(latent)
    assert got.dtype == torch.float32
    # 14.6 is what the last index multiplies the U-Net's own float32 rounding with.
    tolerance = 1e-5 * max(1.0, 1 / np.sqrt(alpha_bar) / scale)
    np.testing.assert_allclose(got.numpy(), expected, rtol=0, atol=tolerance)


@torch.no_grad()
def test_velocity_priors_are_converted(tiny_unet: Build, text: torch.Tensor) -> None:
    unet, latent = tiny_unet(256), latents(1, 256, 8, 8)
    velocity = copy.deepcopy(unet).double()(3 * latent.double(), 499, text.double()).sample
    a = VELOCITY.alpha_bar(499)
    expected = (a**0.5 * 3 * latent.double() - (1 - a) ** 0.5 * velocity) / 3
    got = LatentEnhancer(unet, text, 499, 3.0, VELOCITY)(latent)
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=1e-5)
    misread = LatentEnhancer(unet, text, 499, 3.0)(latent)
    assert (misread - got).abs().max() > 0.1


def test_any_batch_size(tiny_unet: Build, text: torch.Tensor) -> None:
    enhancer = LatentEnhancer(tiny_unet(256), text, 1, 5.0)
    batch = latents(3, 256, 8, 8)
    with torch.no_grad():
        together, alone = enhancer(batch), torch.cat([enhancer(one[None]) for one in batch])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


@settings(max_examples=20, deadline=None)
@given(st.integers(1, 9), st.integers(1, 9), st.sampled_from([1, 2, 4]))
def test_padding_repeats_the_edge(height: int, width: int, stride: int) -> None:
    latent = latents(1, 2, height, width)
    down, right = -height % stride, -width % stride
    expected = np.pad(latent.numpy(), ((0, 0), (0, 0), (0, down), (0, right)), mode="edge")
    np.testing.assert_array_equal(pad_to_stride(latent, stride).numpy(), expected)


def test_odd_sizes_are_padded_and_cropped(tiny_unet: Build, text: torch.Tensor) -> None:
    enhancer = LatentEnhancer(tiny_unet(4), text, 1, 5.0)
    latent = latents(1, 4, 7, 9)
    padded = torch.from_numpy(np.pad(latent.numpy(), ((0, 0), (0, 0), (0, 1), (0, 1)), mode="edge"))
    with torch.no_grad():
        torch.testing.assert_close(enhancer(latent), enhancer(padded)[..., :7, :9], rtol=0, atol=1e-6)


def test_gradient_reaches_the_adapters(tiny_unet: Build, text: torch.Tensor) -> None:
    enhancer = adapt(LatentEnhancer(tiny_unet(256), text, 1, 5.0))
    enhancer(latents(1, 256, 8, 8)).square().mean().backward()
    gradients = [parameter.grad for parameter in lora_parameters(enhancer.unet)]
    assert all(gradient is not None and gradient.any() for gradient in gradients)


def test_half_precision_unet_gives_the_latents_own_type(tiny_unet: Build, text: torch.Tensor) -> None:
    enhancer = LatentEnhancer(tiny_unet(256), text, 1, 5.0)
    expected = run(enhancer)
    enhancer.unet.to(torch.bfloat16)
    got = run(enhancer)
    assert got.dtype == torch.float32
    torch.testing.assert_close(got, expected, rtol=0, atol=2e-3)


@pytest.mark.parametrize("merged", [True, False])
def test_saved_enhancer_comes_back(tiny_unet: Build, text: torch.Tensor, tmp_path: Path, merged: bool) -> None:
    schedule = NoiseSchedule(kind="linear", beta_end=0.02, prediction_type="v_prediction")
    enhancer = adapt(LatentEnhancer(tiny_unet(256), text, 37, 2.5, schedule), rank=4, alpha=6)
    if merged:
        merge_lora(enhancer.unet)
    enhancer.save_pretrained(tmp_path)
    assert (tmp_path / "pytorch_lora_weights.safetensors").exists() != merged
    again = LatentEnhancer.from_pretrained(tmp_path)
    assert (again.timestep, again.alignment_scale, again.schedule) == (37, 2.5, schedule)
    assert torch.equal(run(again), run(enhancer))
    assert bool(adapted_layers(again.unet)) != merged
    assert again.unet.config.in_channels == 256
    assert not again.training
    config = json.loads((tmp_path / "config.json").read_text())
    assert {"timestep": 37, "alignment_scale": 2.5, "channels": 256}.items() <= config.items()
    assert config["schedule"]["prediction_type"] == "v_prediction"


def test_stale_adapters_in_the_folder_are_not_taken(tiny_unet: Build, text: torch.Tensor, tmp_path: Path) -> None:
    enhancer = adapt(LatentEnhancer(tiny_unet(4), text, 1, 5.0))
    enhancer.save_pretrained(tmp_path)
    merge_lora(enhancer.unet)
    enhancer.save_pretrained(tmp_path)
    assert torch.equal(run(LatentEnhancer.from_pretrained(tmp_path)), run(enhancer))


def test_prior_folder_is_expanded_and_adapted(tiny_unet: Build, text: torch.Tensor, tmp_path: Path) -> None:
    unet = tiny_unet()
    folder = pipeline(tmp_path / "prior", unet)
    enhancer = LatentEnhancer.from_prior(folder, timestep=1, alignment_scale=5, text_embedding=text)
    expected = LatentEnhancer(expand_unet_channels(unet), text, 1, 5.0)
    torch.testing.assert_close(run(enhancer), run(expected), rtol=0, atol=1e-6)
    adapt(enhancer).save_pretrained(tmp_path / "saved")
    save_file({"text_embedding": text}, tmp_path / "text.safetensors")
    again = LatentEnhancer.from_prior(
        folder, tmp_path / "saved", timestep=1, alignment_scale=5, text_embedding=tmp_path / "text.safetensors"
    )
    assert torch.equal(run(again), run(enhancer))


def test_saving_without_the_prior(tiny_unet: Build, text: torch.Tensor, tmp_path: Path) -> None:
    folder = pipeline(tmp_path / "prior", tiny_unet())
    enhancer = adapt(LatentEnhancer.from_prior(folder, timestep=999, alignment_scale=5, text_embedding=text))
    enhancer.save_pretrained(tmp_path / "saved", with_prior=False)
    assert set(load_file(tmp_path / "saved" / "model.safetensors")) == {"text_embedding"}
    assert torch.equal(run(LatentEnhancer.from_pretrained(tmp_path / "saved")), run(enhancer))
    folder.rename(tmp_path / "moved")
    again = LatentEnhancer.from_pretrained(tmp_path / "saved", prior=tmp_path / "moved")
    assert torch.equal(run(again), run(enhancer))
    with pytest.raises(ModelError, match="hub id"):
        LatentEnhancer.from_pretrained(tmp_path / "saved")


def test_a_saved_prior_needs_a_name(tiny_unet: Build, text: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="with_prior=True"):
        LatentEnhancer(tiny_unet(), text, 1, 5.0).save_pretrained(tmp_path, with_prior=False)


def test_unet_object_as_prior_needs_schedule_and_text(tiny_unet: Build, text: torch.Tensor) -> None:
    unet = tiny_unet()
    with pytest.raises(ModelError, match="pass schedule"):
        LatentEnhancer.from_prior(unet, timestep=1, alignment_scale=5, text_embedding=text)
    with pytest.raises(ModelError, match="pass text_embedding"):
        LatentEnhancer.from_prior(unet, timestep=1, alignment_scale=5, schedule=NoiseSchedule())
    enhancer = LatentEnhancer.from_prior(
        unet, timestep=1, alignment_scale=5, text_embedding=text, schedule=NoiseSchedule(), channels=8
    )
    assert (enhancer.channels, unet.config.in_channels) == (8, 4)


def test_velocity_prior_folder_is_not_misread(tiny_unet: Build, text: torch.Tensor, tmp_path: Path) -> None:
    folder = pipeline(tmp_path, tiny_unet(), "v_prediction")
    enhancer = LatentEnhancer.from_prior(folder, timestep=1, alignment_scale=5, text_embedding=text)
    assert enhancer.schedule == VELOCITY
    with pytest.raises(ModelError, match="reads every prior as noise"):
        LatentEnhancer.from_official(folder, tmp_path / "lora.safetensors", 1, 5.0, text_embedding=text)


def test_official_file_on_its_prior(tiny_unet: Build, text: torch.Tensor, tmp_path: Path) -> None:
    unet = tiny_unet()
    trained = adapt(LatentEnhancer(expand_unet_channels(unet), text, 1, 3.0), rank=16, alpha=8)
    StableDiffusionLoraLoaderMixin.save_lora_weights(tmp_path, unet_lora_layers=get_peft_model_state_dict(trained.unet))
    folder = pipeline(tmp_path / "prior", unet)
    file = tmp_path / "pytorch_lora_weights.safetensors"
    enhancer = LatentEnhancer.from_official(folder, file, 1, 3.0, text_embedding=text)
    torch.testing.assert_close(run(enhancer), run(trained), rtol=0, atol=1e-6)
    other = pipeline(tmp_path / "other", tiny_unet(cross_attention_dim=16))
    with pytest.raises(ModelError, match="where the U-Net needs"):  # as the published SD 2.1 and 1.5 stages
        LatentEnhancer.from_official(other, file, 1, 3.0, text_embedding=text[..., :16])


def test_text_encoder_of_the_prior_is_used_once(
    tiny_unet: Build, text: torch.Tensor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pipeline(tmp_path / "prior", tiny_unet())
    asked = []
    monkeypatch.setattr("glesam.enhance.gle.empty_prompt_embedding", lambda name: asked.append(name) or text)
    enhancer = LatentEnhancer.from_prior(folder, timestep=1, alignment_scale=5)
    enhancer.save_pretrained(tmp_path / "saved")
    again = LatentEnhancer.from_pretrained(tmp_path / "saved")
    assert asked == [str(folder)]
    assert torch.equal(again.text_embedding, text)


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_impossible_scales_are_refused(tiny_unet: Build, text: torch.Tensor, scale: float) -> None:
    with pytest.raises(ModelError, match="alignment scale"):
        LatentEnhancer(tiny_unet(), text, 1, scale)


def test_index_1000_is_refused_with_the_cure(tiny_unet: Build, text: torch.Tensor) -> None:
    with pytest.raises(ModelError, match="index 999"):
        LatentEnhancer(tiny_unet(), text, 1000, 5.0)


@pytest.mark.parametrize("shape", [(1, 7, 16), (2, 7, 32), (32,)])
def test_other_text_embeddings_are_refused(tiny_unet: Build, shape: tuple[int, ...]) -> None:
    with pytest.raises(ModelError, match=r"\(1, L, 32\)"):
        LatentEnhancer(tiny_unet(), torch.zeros(shape), 1, 5.0)


@pytest.mark.parametrize("extra", [{"num_class_embeds": 3}, {"out_channels": 8}])
def test_other_unets_are_refused(tiny_unet: Build, text: torch.Tensor, extra: dict[str, int]) -> None:
    with pytest.raises(ModelError, match="prior"):
        LatentEnhancer(tiny_unet(**extra), text, 1, 5.0)


@pytest.mark.parametrize(
    "latent",
    [
        torch.zeros(1, 8, 8, 8),
        torch.zeros(4, 8, 8),
        torch.zeros(0, 4, 8, 8),
        torch.zeros(1, 4, 8, 8, dtype=torch.int64),
    ],
    ids=["channels", "dimensions", "empty", "type"],
)
def test_other_latents_are_refused(tiny_unet: Build, text: torch.Tensor, latent: torch.Tensor) -> None:
    with pytest.raises(ModelError, match=r"\(B, 4, h, w\)"):
        LatentEnhancer(tiny_unet(), text, 1, 5.0)(latent)


def edit_config(folder: Path, **changes: Any) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def test_broken_folders_are_refused(tiny_unet: Build, text: torch.Tensor, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"config\.json"):
        LatentEnhancer.from_pretrained(tmp_path)
    LatentEnhancer(tiny_unet(), text, 1, 5.0).save_pretrained(tmp_path)
    good = load_file(tmp_path / "model.safetensors")
    edit_config(tmp_path, surprise=1)
    with pytest.raises(ModelError, match="surprise"):
        LatentEnhancer.from_pretrained(tmp_path)
    LatentEnhancer(tiny_unet(), text, 1, 5.0).save_pretrained(tmp_path)
    for tensors, message in [
        ({k: v for k, v in good.items() if k != "unet.conv_in.bias"}, "conv_in.bias"),
        (good | {"unet.more": torch.ones(1)}, "more"),
        (good | {"unet.conv_in.bias": torch.ones(1)}, "size mismatch"),
        ({k: v for k, v in good.items() if k != "text_embedding"}, "text_embedding"),
    ]:
        save_file(tensors, tmp_path / "model.safetensors")
        with pytest.raises(ModelError, match=message):
            LatentEnhancer.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match=r"model\.safetensors"):
        LatentEnhancer.from_pretrained(tmp_path)
    edit_config(tmp_path, family="sam")
    with pytest.raises(ModelError, match="latent-enhancer"):
        LatentEnhancer.from_pretrained(tmp_path)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_full_size_unet_runs_once_and_folds() -> None:
    from glesam.enhance.folding import fold

    torch.manual_seed(0)
    unet = UNet2DConditionModel(
        cross_attention_dim=1024, attention_head_dim=(5, 10, 20, 20), use_linear_projection=True
    )
    wide = expand_unet_channels(unet)
    assert sum(parameter.numel() for parameter in wide.parameters()) == 867_362_496
    enhancer = adapt(LatentEnhancer(wide, torch.randn(1, 77, 1024), 1, 5.0))
    assert sum(p.numel() for p in enhancer.parameters() if p.requires_grad) == 8_518_144
    enhanced = run(enhancer, 1, 256, 64, 64)
    assert enhanced.shape == (1, 256, 64, 64)
    assert torch.isfinite(enhanced).all()
    with torch.no_grad():
        folded = fold(enhancer)(latents(1, 256, 64, 64))
    torch.testing.assert_close(folded, enhanced, rtol=0, atol=1e-4)
