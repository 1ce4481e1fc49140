"""Channel replication and expansion (CRE): a 4-channel prior made to take and give SAM's 256 channels."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING

import torch
from torch import nn

from glesam.errors import ModelError

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel


def expand_unet_channels(unet: UNet2DConditionModel, channels: int = 256) -> UNet2DConditionModel:
    """Widen a U-Net's head and tail by repeating their weights (GleSAM, section 3.2).

    Channel `c` of the new head and tail has the weights, and in the tail the bias, of channel `c % C` of the old
    ones, where `C` is the old number of channels (4 in Stable Diffusion). Nothing is divided: the result equals the
    old U-Net on the sum of the input's groups of `C` channels, its output repeated `channels / C` times.

    The head, the tail and the module tree are new; every other weight shares its memory with `unet`, so that an
    866-million-parameter prior is held once. Adapters and `merge_lora` leave shared memory alone; training the
    base weights in place changes both.

    Args:
        unet: a diffusers `UNet2DConditionModel` with as many input as output channels.
        channels: number of channels of the latent, a multiple of the U-Net's.

    Returns:
        A new U-Net whose configuration says `channels`, so that it can be saved and loaded by diffusers.

    Raises:
        ModelError: the channels do not fit, or the U-Net holds adapters.
    """
    _check(unet, channels)
    # Parameters of their own on shared memory: freezing one U-Net does not freeze the other.
    memo = {id(p): nn.Parameter(p.detach(), requires_grad=p.requires_grad) for p in unet.parameters()}
    expanded = copy.deepcopy(unet, memo)
    groups = channels // unet.config.in_channels
    expanded.conv_in = _conv(unet.conv_in, unet.conv_in.weight.detach().repeat(1, groups, 1, 1), unet.conv_in.bias)
    tail_bias = unet.conv_out.bias.detach().repeat(groups)
    expanded.conv_out = _conv(unet.conv_out, unet.conv_out.weight.detach().repeat(groups, 1, 1, 1), tail_bias)
    expanded.register_to_config(in_channels=channels, out_channels=channels)
    return expanded


def _check(unet: UNet2DConditionModel, channels: int) -> None:
    """Refuse a U-Net that cannot be widened to `channels`."""
    given = (unet.config.in_channels, unet.config.out_channels)
    if given[0] != given[1]:
        raise ModelError(
            f"expected a U-Net with as many input as output channels, got {given[0]} and {given[1]}; "
            "use a text-to-image prior, not an inpainting or upscaling one"
        )
    if channels < 1 or channels % given[0]:
        raise ModelError(
            f"expected a number of channels that is a multiple of the U-Net's {given[0]}, got {channels}; "
            "use another prior or another latent"
        )
    if any(not isinstance(conv, nn.Conv2d) for conv in (unet.conv_in, unet.conv_out)):
        raise ModelError("expected a U-Net without adapters, got one with LoRA layers; expand first, then attach_lora")


def _conv(source: nn.Conv2d, weight: torch.Tensor, bias: torch.Tensor | None) -> nn.Conv2d:
    """A convolution with the settings of `source`, and the weights given."""
    shape = (weight.shape[1], weight.shape[0])
    with torch.device("meta"):
        conv = nn.Conv2d(*shape, source.kernel_size, source.stride, source.padding, bias=bias is not None)  # type: ignore[arg-type]
    conv.weight = nn.Parameter(weight, requires_grad=source.weight.requires_grad)
    if bias is not None:
        conv.bias = nn.Parameter(bias.detach().clone(), requires_grad=source.weight.requires_grad)
    return conv.train(source.training)
