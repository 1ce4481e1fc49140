from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel

from glesam.enhance.channels import expand_unet_channels
from glesam.enhance.lora import attach_lora, lora_parameters, merge_lora
from glesam.enhance.schedule import NoiseSchedule, predict_x0
from glesam.errors import ModelError

Build = Callable[..., Any]
SD21 = {"cross_attention_dim": 1024, "attention_head_dim": (5, 10, 20, 20), "use_linear_projection": True}
SD15 = {"cross_attention_dim": 768, "attention_head_dim": 8}


@pytest.mark.parametrize(("index", "tolerance"), [(1, 1e-6), (999, 1e-5)])
@torch.no_grad()
def test_expanded_equals_the_original_on_the_sum_of_groups(
    tiny_unet: Build, text: torch.Tensor, index: int, tolerance: float
) -> None:
    unet = tiny_unet()
    # A latent whose groups sum to unit variance, as the prior is used to.
    latent = torch.randn(2, 256, 8, 8, generator=torch.Generator().manual_seed(1)) / 8
    summed = latent.view(2, 64, 4, 8, 8).sum(1)
    batch = text.expand(2, -1, -1)
    expected = unet(summed, index, batch).sample.repeat(1, 64, 1, 1)
    got = expand_unet_channels(unet)(latent, index, batch).sample
    assert expected.std() > 0.1
    a = NoiseSchedule().alpha_bar(index)
    # At the paper's scale of 5 the step is divided by it, as in equation 4.
    step, expected_step = predict_x0(latent, got, a) / 5, predict_x0(latent, expected, a) / 5
    torch.testing.assert_close(step, expected_step, rtol=0, atol=tolerance)


@torch.no_grad()
def test_expansion_is_exact_but_for_rounding(tiny_unet: Build, text: torch.Tensor) -> None:
    unet = tiny_unet().double()
    latent = torch.randn(1, 256, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    expected = unet(latent.view(1, 64, 4, 8, 8).sum(1), 999, text.double()).sample.repeat(1, 64, 1, 1)
    got = expand_unet_channels(unet)(latent, 999, text.double()).sample
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-12)


def test_weights_are_repeated_undivided(tiny_unet: Build) -> None:
    unet = tiny_unet()
    wide = expand_unet_channels(unet)
    assert wide.conv_in.weight.shape == (32, 256, 3, 3)
    assert wide.conv_out.weight.shape == (256, 32, 3, 3)
    for channel in range(256):
        assert torch.equal(wide.conv_in.weight[:, channel], unet.conv_in.weight[:, channel % 4])
        assert torch.equal(wide.conv_out.weight[channel], unet.conv_out.weight[channel % 4])
        assert wide.conv_out.bias[channel] == unet.conv_out.bias[channel % 4]
    assert torch.equal(wide.conv_in.bias, unet.conv_in.bias)


def test_the_original_stays_and_the_rest_is_shared(tiny_unet: Build) -> None:
    unet = tiny_unet()
    before = {key: value.clone() for key, value in unet.state_dict().items()}
    wide = expand_unet_channels(unet)
    narrow_weights = dict(unet.named_parameters())
    for name, weight in wide.named_parameters():
        shared = weight.data_ptr() == narrow_weights[name].data_ptr()
        assert shared == (not name.startswith(("conv_in", "conv_out"))), name
    assert unet.config.in_channels == unet.config.out_channels == 4
    attach_lora(wide)
    for parameter in lora_parameters(wide):
        torch.nn.init.normal_(parameter, generator=torch.Generator().manual_seed(0))
    merge_lora(wide)
    assert all(parameter.requires_grad for parameter in unet.parameters())
    assert all(torch.equal(value, before[key]) for key, value in unet.state_dict().items())


def test_saving_and_loading_with_diffusers(tiny_unet: Build, text: torch.Tensor, tmp_path: Path) -> None:
    wide = expand_unet_channels(tiny_unet())
    wide.save_pretrained(tmp_path)
    again = UNet2DConditionModel.from_pretrained(tmp_path)
    assert (again.config.in_channels, again.config.out_channels) == (256, 256)
    latent = torch.randn(1, 256, 8, 8, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        # Not bit for bit: memory that a file was mapped to is aligned otherwise.
        torch.testing.assert_close(again(latent, 1, text).sample, wide(latent, 1, text).sample, rtol=0, atol=1e-5)
    weights = wide.state_dict()
    assert all(torch.equal(value, weights.pop(key)) for key, value in again.state_dict().items())
    assert not weights


@pytest.mark.parametrize(
    ("settings", "parameters"),
    [
        (
            {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True},
            867362496,
        ),
        ({"cross_attention_dim": 768, "attention_head_dim": 8}, 860972736),
    ],
    ids=["sd-2.1", "sd-1.5"],
)
def test_full_size_parameter_counts(settings: dict[str, Any], parameters: int) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(**settings)
    assert sum(p.numel() for p in expand_unet_channels(unet).parameters()) == parameters


def test_other_channels_are_refused(tiny_unet: Build) -> None:
    with pytest.raises(ModelError, match="multiple"):
        expand_unet_channels(tiny_unet(), 255)
    with pytest.raises(ModelError, match="multiple"):
        expand_unet_channels(tiny_unet(), 0)


def test_unequal_ends_are_refused(tiny_unet: Build) -> None:
    with pytest.raises(ModelError, match="9 and 4"):
        expand_unet_channels(tiny_unet(in_channels=9))


def test_adapters_are_refused(tiny_unet: Build) -> None:
    with pytest.raises(ModelError, match="expand first"):
        expand_unet_channels(attach_lora(tiny_unet()))
