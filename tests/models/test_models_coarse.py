"""The coarse look: nothing at the start, then what the backbone says of the image at half its size."""

import pytest
import torch
import torch.nn.functional as F

from glesam.models.base import PromptTensors
from glesam.models.compact.coarse import CoarseLook
from glesam.models.compact.efficientnet import EfficientNetLite
from glesam.models.compact.model import CompactConfig, CompactModel
from glesam.models.tuned import save_tuned, with_tuned


@pytest.fixture(scope="module")
def backbone():
    torch.manual_seed(0)
    model = EfficientNetLite("lite0").eval()
    for layer in model.modules():
        if isinstance(layer, torch.nn.Conv2d):
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            torch.nn.init.zeros_(layer.bias)
    return model


def look(backbone):
    coarse = CoarseLook(backbone.channels[1:], 8)
    for projection in coarse.children():
        torch.nn.init.normal_(projection.weight)
        torch.nn.init.normal_(projection.bias)
    return coarse


@torch.inference_mode()
def test_it_gives_what_the_backbone_says_of_the_halved_image(backbone):
    coarse, pixels = look(backbone), torch.randn(1, 3, 128, 64)
    at16, at32 = coarse(backbone, pixels)
    half = pixels.view(1, 3, 64, 2, 32, 2).mean(dim=(3, 5))
    _, map8, map16, map32 = backbone(half)
    close = {"rtol": 1e-4, "atol": 1e-4}
    torch.testing.assert_close(at16, F.conv2d(map8, coarse.from8.weight, coarse.from8.bias), **close)
    deep = F.conv2d(map32, coarse.from32.weight, coarse.from32.bias)
    deep = F.interpolate(deep, map16.shape[-2:], mode="bilinear")
    torch.testing.assert_close(at32, F.conv2d(map16, coarse.from16.weight, coarse.from16.bias) + deep, **close)


@pytest.mark.parametrize("size", [(32, 32), (96, 64), (64, 160)])
@torch.inference_mode()
def test_sides_that_halve_to_no_multiple_of_32_are_filled_up_with_grey(backbone, size):
    coarse = look(backbone)
    pixels = torch.randn(1, 3, *size)
    filled = F.pad(pixels, (0, -size[1] % 64, 0, -size[0] % 64))
    at16, at32 = coarse(backbone, pixels)
    whole16, whole32 = coarse(backbone, filled)
    assert at16.shape[-2:] == (size[0] // 16, size[1] // 16)
    assert at32.shape[-2:] == (size[0] // 32, size[1] // 32)
    torch.testing.assert_close(at16, whole16[..., : size[0] // 16, : size[1] // 16])
    torch.testing.assert_close(at32, whole32[..., : size[0] // 32, : size[1] // 32])


@torch.inference_mode()
def test_a_grown_model_encodes_as_before_until_the_look_has_weights():
    torch.manual_seed(1)
    small = CompactModel(CompactConfig("lite0", 64, attention_blocks=1, conv_blocks=1)).eval()
    grown = small.grown(coarse=True).eval()
    assert grown.config.coarse
    assert not small.config.coarse
    pixels = torch.randn(1, 3, 64, 96)
    before, after = small.encode(pixels), grown.encode(pixels)
    torch.testing.assert_close(after.latent, before.latent, rtol=0, atol=0)
    torch.nn.init.normal_(grown.encoder.coarse.from16.weight)
    assert not torch.allclose(grown.encode(pixels).latent, before.latent)
    assert small.grown() is small


@torch.no_grad()
def test_an_encoder_tuned_before_the_look_came_goes_without_it(tmp_path):
    torch.manual_seed(2)
    small = CompactModel(CompactConfig("lite0", 64, attention_blocks=1, conv_blocks=1)).eval()
    tuned = CompactModel(small.config).eval()
    save_tuned(tuned, "encoder", tmp_path, sorted(tuned.encoder.state_dict()))
    grown = small.grown(coarse=True, fine=True).eval()
    torch.nn.init.normal_(grown.encoder.coarse.from16.weight)
    pixels = torch.randn(1, 3, 64, 64)
    moved = with_tuned(grown, "encoder", tmp_path)
    got, wanted = moved.encode(pixels), tuned.encode(pixels)
    torch.testing.assert_close(got.latent, wanted.latent, rtol=0, atol=0)
    assert not got.extras
    prompts = PromptTensors(boxes=torch.tensor([[[8.0, 12.0, 40.0, 44.0]]]))
    assert moved.decode(got, prompts).fine is None
    assert grown.encoder.coarse is not None


def test_an_encoder_tuned_in_part_keeps_the_look(tmp_path):
    torch.manual_seed(2)
    grown = CompactModel(CompactConfig("lite0", 64, attention_blocks=1, conv_blocks=1, coarse=True)).eval()
    save_tuned(grown, "encoder", tmp_path, ["backbone.stem.weight"])
    assert with_tuned(grown, "encoder", tmp_path).encoder.coarse is not None
