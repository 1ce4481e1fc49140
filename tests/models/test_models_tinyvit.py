"""TinyViT against tensors computed by the authors' code, and its parts against plain loops."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.models.sam.tinyvit import ConvNorm, TinyVit, TinyVitConfig, WindowAttention, distances

REFERENCE = Path(__file__).parent / "tinyvit_reference.pt"
"""Weights, input and output of MobileSAM's own code at a small size (float16, which the weights were rounded to)."""
UNUSED = ("head.", "norm_head.")


@pytest.fixture(scope="module")
def reference() -> dict[str, Tensor]:
    return torch.load(REFERENCE, weights_only=True)


@torch.no_grad()
def test_equal_to_the_authors_code(reference: dict[str, Tensor]) -> None:
    """Their encoder was built for evaluation before it got its weights, hence without biases: see `biased`."""
    state = {k: v.float() for k, v in reference.items() if not k.startswith(("input", "output", *UNUSED))}
    config = TinyVitConfig.from_state(state)
    assert (config.widths, config.depths) == ((16, 24, 32, 320), (1, 1, 2, 1))
    assert (config.heads[1:], config.windows[1:], config.mlp_ratio) == ((2, 2, 4), (7, 14, 7), 1.0)
    encoder = TinyVit(TinyVitConfig(**{**vars(config), "biased": False})).eval()
    encoder.load_state_dict(state)
    pixels = F.interpolate(reference["input"], (1024, 1024), mode="bicubic", align_corners=False)
    # oneDNN's kernels, which torch takes by default, round three times as far: 9e-6 on an AMD EPYC, in place of 3e-6.
    with torch.backends.mkldnn.flags(enabled=False):
        latent, early = encoder(pixels)
    assert latent.shape == (1, 256, 64, 64)
    assert early.shape == (1, 32, 64, 64)
    torch.testing.assert_close(latent[:, ::8, ::2, ::2], reference["output"], atol=1e-5, rtol=0)


@torch.no_grad()
def test_biases_of_the_file_are_used_unless_told_otherwise(reference: dict[str, Tensor]) -> None:
    """With the biases of the file at zero both ways are one; with them as they are the answers differ."""
    state = {k: v.float() for k, v in reference.items() if not k.startswith(("input", "output", *UNUSED))}
    config = TinyVitConfig.from_state(state)
    assert config.biased
    pixels = torch.randn(1, 3, 224, 224, generator=torch.Generator().manual_seed(0))
    differences = []
    for factor in (0.0, 1.0):
        scaled = {k: v * factor if "attention_biases" in k else v for k, v in state.items()}
        latents = []
        for options in ({}, {"biased": False}):
            encoder = TinyVit(TinyVitConfig(**{**vars(config), **options})).eval()
            encoder.load_state_dict(scaled)
            latents.append(encoder(pixels)[0])
        differences.append(float((latents[0] - latents[1]).abs().max()))
    assert differences[0] < 1e-6
    assert differences[1] > 1e-4


@torch.no_grad()
def test_window_attention_pair_by_pair() -> None:
    """Every window, head and pair of tokens in loops; sides of 4 and 5 do not fit windows of 3."""
    torch.manual_seed(0)
    attention = WindowAttention(6, heads=2, window=3, biased=True).eval()
    for parameter in attention.parameters():
        parameter.copy_(torch.randn(parameter.shape) * 0.5)
    image = torch.randn(1, 4, 5, 6)
    padded = torch.zeros(6, 6, 6)
    padded[:4, :5] = image[0]
    expected = torch.zeros(6, 6, 6)
    for top, left in ((0, 0), (0, 3), (3, 0), (3, 3)):
        places = [(top + i, left + j) for i in range(3) for j in range(3)]
        qkv = [attention.qkv(F.layer_norm(padded[p], (6,), attention.norm.weight, attention.norm.bias)) for p in places]
        for a, place in enumerate(places):
            heads = []
            for head in range(2):
                parts = [each[9 * head : 9 * head + 9].split(3) for each in qkv]
                offsets = [3 * abs(place[0] - y) + abs(place[1] - x) for y, x in places]
                logits = [
                    parts[a][0] @ key / math.sqrt(3) + attention.attention_biases[head, offset]
                    for (_, key, _), offset in zip(parts, offsets, strict=True)
                ]
                weights = torch.stack(logits).softmax(0)
                heads.append(sum(w * value for w, (_, _, value) in zip(weights, parts, strict=True)))
            expected[place] = attention.proj(torch.cat(heads))
    torch.testing.assert_close(attention(image)[0], expected[:4, :5], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_folded_normalisation_is_the_layer() -> None:
    torch.manual_seed(1)
    layer = ConvNorm(4, 8, 3, stride=2, groups=4).eval()
    for tensor in layer.state_dict().values():
        if tensor.is_floating_point():
            tensor.copy_(torch.rand(tensor.shape) + 0.5)
    x = torch.randn(2, 4, 9, 9)
    torch.testing.assert_close(layer(x), layer.bn(layer.c(x)), atol=1e-5, rtol=1e-5)


def test_full_size() -> None:
    """The paper's 5 million parameters; every size read back off the weights."""
    with torch.device("meta"):
        encoder = TinyVit()
    encoder_alone = sum(p.numel() for name, p in encoder.named_parameters() if not name.startswith("neck."))
    assert encoder_alone == pytest.approx(5.07e6, rel=0.02)
    found = TinyVitConfig.from_state(
        {f"image_encoder.{k}": v for k, v in encoder.state_dict().items()}, "image_encoder."
    )
    expected = TinyVitConfig()
    assert (found.widths, found.depths, found.expansion) == (expected.widths, expected.depths, expected.expansion)
    assert (found.heads[1:], found.windows[1:]) == (expected.heads[1:], expected.windows[1:])


@pytest.mark.parametrize("used_before", [False, True])
def test_training_moves_every_weight(used_before: bool) -> None:
    """Whatever ran first in the process: what is kept between calls must not be an inference tensor."""
    encoder = TinyVit(TinyVitConfig((8, 8, 8, 8), (1, 1, 1, 1), (1, 2, 2, 2), (1, 3, 3, 3), out_channels=16)).train()
    distances.cache_clear()
    if used_before:
        with torch.inference_mode():
            encoder(torch.randn(1, 3, 64, 64))
    latent, early = encoder(torch.randn(2, 3, 64, 64))
    assert latent.shape == (2, 16, 4, 4)
    (latent.square().mean() + early.square().mean()).backward()
    assert all(p.grad is not None for p in encoder.parameters())
