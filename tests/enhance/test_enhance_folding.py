from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from glesam.enhance.folding import FoldedCrossAttention, FoldedEnhancer, MeltedCrossAttention, fold
from glesam.enhance.gle import LatentEnhancer
from glesam.enhance.lora import attach_lora, lora_parameters, merge_lora
from glesam.enhance.schedule import NoiseSchedule
from glesam.errors import ModelError

Build = Callable[..., Any]
PLAIN = {"down_block_types": ("DownBlock2D",) * 2, "up_block_types": ("UpBlock2D",) * 2}
KINDS: dict[str, dict[str, Any]] = {
    "stable diffusion 1": {"layers_per_block": 2},
    "stable diffusion 2": {"use_linear_projection": True, "attention_head_dim": (2, 4)},
    "deep transformers": {"transformer_layers_per_block": 2},
    "scale and shift": {"resnet_time_scale_shift": "scale_shift"},
    "raw time": {"resnet_skip_time_act": True, "time_embedding_act_fn": "silu"},
    "scaled residuals": {"resnet_out_scale_factor": 1.5},
    "no attention": {**PLAIN, "mid_block_type": "UNetMidBlock2D"},
    "no middle": {"mid_block_type": None},
    "other activation": {"act_fn": "gelu"},
}


def make(build: Build, tokens: int = 7, index: int = 1, lora: bool = True, **settings: Any) -> LatentEnhancer:
    unet = build(32, **settings)
    generator = torch.Generator().manual_seed(1)
    if lora:
        attach_lora(unet)
        for parameter in lora_parameters(unet):
            torch.nn.init.normal_(parameter, std=0.05, generator=generator)
    text = torch.randn(1, tokens, 32, generator=generator)
    return LatentEnhancer(unet, text, index, 5.0).eval()


def latents(*shape: int) -> torch.Tensor:
    return 0.2 * torch.randn(*shape, generator=torch.Generator().manual_seed(2))


def check(enhancer: LatentEnhancer, folded: FoldedEnhancer, *shape: int) -> None:
    latent = latents(*(shape or (2, 32, 8, 8)))
    before = latent.clone()
    with torch.no_grad():
        expected = enhancer(latent)
    assert (expected - latent).abs().max() > 1e-3  # the step does something
    torch.testing.assert_close(folded(latent), expected, rtol=0, atol=1e-4)
    assert torch.equal(latent, before)


@pytest.mark.parametrize("index", [1, 999])
@pytest.mark.parametrize("kind", KINDS)
def test_folded_equals_unfolded(tiny_unet: Build, kind: str, index: int) -> None:
    enhancer = make(tiny_unet, index=index, **KINDS[kind])
    check(enhancer, fold(enhancer))


@pytest.mark.parametrize("channels_last", [True, False])
@pytest.mark.parametrize("lora", [True, False])
def test_each_layout_with_and_without_adapters(tiny_unet: Build, channels_last: bool, lora: bool) -> None:
    enhancer = make(tiny_unet, lora=lora)
    folded = fold(enhancer, channels_last=channels_last)
    check(enhancer, folded)
    assert folded.net.head.weight.is_contiguous(memory_format=torch.channels_last) == channels_last


@pytest.mark.parametrize(
    ("tokens", "present", "absent"),
    [
        (1, (), (MeltedCrossAttention, FoldedCrossAttention)),
        (7, (MeltedCrossAttention,), (FoldedCrossAttention,)),
        (77, (FoldedCrossAttention,), (MeltedCrossAttention,)),
    ],
)
def test_each_form_of_cross_attention(
    tiny_unet: Build, tokens: int, present: tuple[type, ...], absent: tuple[type, ...]
) -> None:
    enhancer = make(tiny_unet, tokens=tokens)
    folded = fold(enhancer)
    check(enhancer, folded)
    assert all(any(isinstance(m, form) for m in folded.modules()) for form in present)
    assert not any(isinstance(m, absent) for m in folded.modules())


@pytest.mark.parametrize("index", [1, 999])
def test_velocity_prior(tiny_unet: Build, index: int) -> None:
    base = make(tiny_unet)
    schedule = NoiseSchedule(prediction_type="v_prediction")
    enhancer = LatentEnhancer(base.unet, base.text_embedding, index, 5.0, schedule)
    check(enhancer, fold(enhancer))


@pytest.mark.parametrize("shape", [(1, 32, 7, 9), (5, 32, 1, 2), (1, 32, 16, 8)])
def test_any_batch_and_size(tiny_unet: Build, shape: tuple[int, ...]) -> None:
    enhancer = make(tiny_unet)
    check(enhancer, fold(enhancer), *shape)


def test_enhancer_survives_folding_and_the_fold_survives_training(tiny_unet: Build) -> None:
    enhancer = make(tiny_unet)
    before = {key: value.clone() for key, value in enhancer.state_dict().items()}
    folded = fold(enhancer)
    after = enhancer.state_dict()
    assert set(after) == set(before)
    assert all(torch.equal(after[key], before[key]) for key in before)
    expected = folded(latents(1, 32, 8, 8))
    with torch.no_grad():
        for parameter in enhancer.parameters():
            parameter.add_(1.0)
    assert torch.equal(folded(latents(1, 32, 8, 8)), expected)


def test_fold_of_a_saved_enhancer_is_the_same(tiny_unet: Build, tmp_path: Path) -> None:
    enhancer = make(tiny_unet)
    enhancer.save_pretrained(tmp_path)
    again = LatentEnhancer.from_pretrained(tmp_path)
    latent = latents(1, 32, 8, 8)
    assert torch.equal(fold(again)(latent), fold(enhancer)(latent))


def test_nothing_of_time_text_and_adapters_is_left(tiny_unet: Build) -> None:
    folded = fold(make(tiny_unet))
    names = {type(module).__module__.split(".")[0] for module in folded.modules() if list(module.children())}
    assert "peft" not in names
    left = ("time_emb", "lora", "to_k", "to_v", "text")
    assert not [name for name in folded.state_dict() if any(word in name for word in left)]
    assert not any(parameter.requires_grad for parameter in folded.parameters())
    assert not folded.training


def test_folded_multiplies_less(tiny_unet: Build) -> None:
    def count(module: torch.nn.Module) -> int:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            module(latents(1, 32, 8, 8))
        return int(counter.get_total_flops())

    enhancer = make(tiny_unet)
    merged = copy.deepcopy(enhancer)
    merge_lora(merged.unet)
    attached, plain, folded = count(enhancer), count(merged), count(fold(enhancer))
    assert folded < plain < attached
    assert count(fold(make(tiny_unet, tokens=1))) < folded


def test_bfloat16_keeps_the_latents_own_share_exact(tiny_unet: Build) -> None:
    enhancer = make(tiny_unet)
    folded = fold(enhancer, dtype=torch.bfloat16)
    assert {parameter.dtype for parameter in folded.parameters()} == {torch.bfloat16}
    latent = latents(1, 32, 8, 8)
    with torch.no_grad():
        expected = enhancer(latent)
    assert folded(latent).dtype == torch.float32
    torch.testing.assert_close(folded(latent), expected, rtol=0, atol=2e-3)


def test_fold_can_be_exported(tiny_unet: Build) -> None:
    enhancer = make(tiny_unet)
    exported = torch.export.export(fold(enhancer), (latents(1, 32, 8, 8),)).module()
    with torch.no_grad():
        torch.testing.assert_close(exported(latents(1, 32, 8, 8)), enhancer(latents(1, 32, 8, 8)), rtol=0, atol=1e-4)


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"down_block_types": ("ResnetDownsampleBlock2D",) * 2}, "ResnetDownsampleBlock2D"),
        ({"mid_block_type": "UNetMidBlock2DSimpleCrossAttn"}, "UNetMidBlock2DSimpleCrossAttn"),
        ({"center_input_sample": True}, "center_input_sample"),
        ({"only_cross_attention": True}, "only_cross_attention"),
        ({"downsample_padding": 0}, "Downsample2D"),
    ],
)
def test_unknown_blocks_are_refused(tiny_unet: Build, settings: dict[str, Any], name: str) -> None:
    enhancer = make(tiny_unet, **settings)
    with pytest.raises(ModelError, match=name):
        fold(enhancer)


def test_other_latents_are_refused(tiny_unet: Build) -> None:
    with pytest.raises(ModelError, match=r"\(B, 32, h, w\)"):
        fold(make(tiny_unet))(torch.zeros(1, 4, 8, 8))
