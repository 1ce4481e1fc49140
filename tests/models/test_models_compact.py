"""The compact model against transformers' own SAM 2 decoder, and the promises of the model interface."""

import copy
import json

import numpy as np
import pytest
import torch
from transformers.models.sam2.configuration_sam2 import Sam2MaskDecoderConfig
from transformers.models.sam2.modeling_sam2 import Sam2MaskDecoder

from glesam.errors import ModelError
from glesam.models.base import Embedding, PromptTensors
from glesam.models.compact.model import CompactConfig, CompactModel
from glesam.models.compact.pixels import to_pixel_values

CONFIG = CompactConfig(backbone="lite0", attention_blocks=1, conv_blocks=1)


@pytest.fixture(scope="module")
def model() -> CompactModel:
    torch.manual_seed(0)
    return CompactModel(CONFIG).eval()


@pytest.fixture(scope="module")
def embedding() -> Embedding:
    generator = torch.Generator().manual_seed(1)
    maps = [torch.randn(1, c, s, s, generator=generator) for c, s in ((256, 32), (32, 128), (64, 64))]
    return Embedding(maps[0], (maps[1], maps[2]))


def points(*xy: tuple[float, float]) -> PromptTensors:
    return PromptTensors(torch.tensor(xy)[None, None], torch.ones(1, 1, len(xy), dtype=torch.long))


def reference(model: CompactModel) -> Sam2MaskDecoder:
    """transformers' SAM 2 decoder with our weights, and an occlusion token of its own.

    Skip projections are not called: the decoder takes projected skips, as ours does.
    """
    config = Sam2MaskDecoderConfig(dynamic_multimask_via_stability=False)
    config._attn_implementation = "eager"
    decoder = Sam2MaskDecoder(config).eval()
    decoder.load_state_dict({**decoder.state_dict(), **model.mask_decoder.state_dict()})
    return decoder


def test_decode_equals_transformers_decoder_apart_from_the_occlusion_token(model, embedding):
    decoder = reference(model)
    prompts = points((100.0, 200.0), (300.0, 120.0))
    sparse = model.prompt_encoder(prompts.point_coords, prompts.point_labels)
    dense = model.prompt_encoder.no_mask_embed.weight.reshape(1, -1, 1, 1)
    positions = model._grid_positions(torch.Size((32, 32)), None)
    with torch.no_grad():
        # The occlusion token becomes one more prompt token of ours: attention has no order, only company.
        token = decoder.obj_score_token.weight[None]
        tokens = torch.cat([token, sparse[0]], dim=1)
        ours, iou, _ = model.mask_decoder.decode_all(embedding.latent, positions, tokens, dense, embedding.skips)
        theirs = [
            decoder(embedding.latent, positions, sparse, dense, multi, list(embedding.skips)) for multi in (False, True)
        ]
    masks = torch.cat([t[0] for t in theirs], dim=2)[0]
    scores = torch.cat([t[1] for t in theirs], dim=2)[0]
    assert masks.std() > 1e-3
    torch.testing.assert_close(ours, masks, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(iou, scores, atol=1e-5, rtol=1e-5)


def test_encode_shapes_and_preprocess_geometry(model):
    image = np.random.default_rng(0).integers(0, 256, (90, 180, 3), dtype=np.uint8)
    pixels, geometry = model.preprocess(image)
    assert pixels.shape == (1, 3, 512, 512)
    assert geometry.original_size == (90, 180)
    assert geometry.input_size == (256, 512)
    # The padding is the grey that the pixel scaling maps to 0.
    assert pixels[:, :, 256:].abs().max() == 0
    with torch.inference_mode():
        embedding = model.encode(pixels)
    assert embedding.latent.shape == (1, 256, 32, 32)
    assert [tuple(s.shape) for s in embedding.skips] == [(1, 32, 128, 128), (1, 64, 64, 64)]
    corner = torch.tensor([[180.0, 90.0]])
    torch.testing.assert_close(geometry.to_input(corner), torch.tensor([[512.0, 256.0]]))
    torch.testing.assert_close(geometry.to_original(geometry.to_input(corner)), corner)


@pytest.mark.parametrize(("size", "cells"), [((90, 180), (16, 32)), ((170, 100), (32, 20)), ((77, 77), (32, 32))])
def test_images_are_encoded_without_padding_and_answered_in_squares(model, size, cells):
    image = np.random.default_rng(1).integers(0, 256, (*size, 3), dtype=np.uint8)
    pixels, geometry = model.prepare(image)
    whole, same = model.preprocess(image)
    assert geometry == same
    torch.testing.assert_close(pixels, whole[..., : 16 * cells[0], : 16 * cells[1]], rtol=0, atol=0)
    mask = torch.full((1, 2, 128, 128), -5.0)
    mask[..., 20:40, 20:40] = 5.0
    coords = torch.tensor([[[[90.0, 120.0]], [[200.0, 60.0]]]])
    with torch.inference_mode():
        embedding = model.encode(pixels)
        output = model.decode(embedding, PromptTensors(coords, torch.ones(1, 2, 1, dtype=torch.long), None, mask), True)
    assert tuple(embedding.latent.shape[-2:]) == cells
    assert output.low_res_logits.shape == (1, 2, 3, 128, 128)
    assert tuple(geometry.restore(output.low_res_logits[0]).shape) == (2, 3, *size)


def test_pixel_values_follow_the_backbone_formula():
    image = np.arange(256, dtype=np.uint8).reshape(1, 16, 16, 1).repeat(3, axis=3)
    expected = (image.astype(np.float64).transpose(0, 3, 1, 2) - 127) / 128
    np.testing.assert_allclose(to_pixel_values(image).numpy(), expected, atol=1e-7)


def test_prompts_in_one_call_equal_prompts_one_by_one(model, embedding):
    coords = torch.tensor([[[[30.0, 40.0]], [[300.0, 200.0]], [[500.0, 10.0]]]])
    labels = torch.ones(1, 3, 1, dtype=torch.long)
    with torch.inference_mode():
        together = model.decode(embedding, PromptTensors(coords, labels), multimask=True)
        for i in range(3):
            alone = model.decode(embedding, PromptTensors(coords[:, i : i + 1], labels[:, i : i + 1]), multimask=True)
            torch.testing.assert_close(together.low_res_logits[:, i], alone.low_res_logits[:, 0], atol=1e-4, rtol=1e-4)
    assert together.low_res_logits.shape == (1, 3, 3, 128, 128)
    assert together.iou.shape == (1, 3, 3)
    assert not torch.allclose(together.low_res_logits[:, 0], together.low_res_logits[:, 1], atol=1e-3)


def test_boxes_are_corner_points_with_labels_two_and_three(model, embedding):
    box = torch.tensor([[[20.0, 30.0, 200.0, 300.0]]])
    corners = PromptTensors(box.view(1, 1, 2, 2), torch.tensor([[[2, 3]]]))
    with torch.inference_mode():
        a, b = (model.decode_all(embedding, p)[0] for p in (PromptTensors(boxes=box), corners))
    torch.testing.assert_close(a, b, atol=1e-4, rtol=1e-4)


def test_masks_of_boxes_end_five_percent_outside_them(model, embedding):
    box = torch.tensor([[[100.0, 200.0, 300.0, 280.0]]])
    with torch.inference_mode():
        free = model.decode_all(embedding, PromptTensors(boxes=box), masks=slice(0, 1))[0]
        held = model.decode(embedding, PromptTensors(boxes=box)).low_res_logits
    centres = torch.arange(128) * 4 + 2.0
    inside_x, inside_y = (centres >= 90) & (centres <= 310), (centres >= 196) & (centres <= 284)
    inside = (inside_y[:, None] & inside_x[None]).expand_as(free)
    assert torch.equal(held[inside], free[inside])
    assert (held[~inside] <= -10).all()


@pytest.mark.parametrize(("shared", "rows"), [(True, 8), (False, 8), (True, 5)], ids=["one", "two", "landscape"])
@pytest.mark.parametrize("clicks", [1, 4, 7, 9])
def test_inference_equals_the_plain_transformer_that_training_uses(model, clicks, shared, rows):
    """Padding tokens stand one by one in training; at inference one stands for all, and the image is seen in short."""
    generator = torch.Generator().manual_seed(clicks)
    count, finer = 1 if shared else 2, ((256, 1), (32, 4), (64, 2))
    picture = [torch.randn(count, c, rows * f, 8 * f, generator=generator) for c, f in finer]
    coords = torch.rand(len(picture[0]), 3, clicks, 2, generator=generator) * 128
    labels = torch.randint(0, 2, coords.shape[:3], generator=generator)
    sides = torch.tensor([[10.0, 20.0, 70.0, 90.0]]).expand(*coords.shape[:2], 4)
    given = Embedding(picture[0], (picture[1], picture[2]))
    drawn = copy.deepcopy(model).with_prompt_maps()
    torch.nn.init.normal_(drawn.prompt_maps.coarse.weight, generator=generator)
    for net in (model, drawn):
        for prompts in (PromptTensors(coords, labels), PromptTensors(coords, labels, sides)):
            with torch.no_grad():
                fast = net.decode_all(given, prompts)
            for ours, plain in zip(fast, net.decode_all(given, prompts), strict=True):
                torch.testing.assert_close(ours, plain.detach(), atol=2e-4, rtol=1e-4)


def test_padding_points_change_nothing_up_to_the_slots(model, embedding):
    short = points((100.0, 200.0))
    padded = PromptTensors(
        torch.cat([short.point_coords, torch.zeros(1, 1, 4, 2)], dim=2), torch.tensor([[[1, -1, -1, -1, -1]]])
    )
    with torch.inference_mode():
        a, b = (model.decode(embedding, p).low_res_logits for p in (short, padded))
    torch.testing.assert_close(a, b, atol=1e-5, rtol=1e-5)


def test_mask_input_and_points_with_boxes_change_the_answer(model, embedding):
    prompt = points((100.0, 100.0))
    mask = torch.full((1, 1, 128, 128), -5.0)
    mask[..., 40:80, 40:80] = 5.0
    boxed = PromptTensors(prompt.point_coords, prompt.point_labels, torch.tensor([[[10.0, 10.0, 90.0, 90.0]]]))
    with torch.inference_mode():
        plain = model.decode(embedding, prompt).low_res_logits
        masked = model.decode(embedding, PromptTensors(prompt.point_coords, prompt.point_labels, None, mask))
        alone = model.decode(embedding, PromptTensors(mask_input=mask))
        both = model.decode(embedding, boxed)
    for other in (masked, alone, both):
        assert other.low_res_logits.shape == plain.shape
        assert (other.low_res_logits - plain).abs().max() > 1e-4


def test_origin_shifts_positions_as_a_crop_of_the_frame(model, embedding):
    """A crop at (128, 64) with an inside point is the frame's grid, cut out: same positions, same prompt tokens."""
    full = model._grid_positions(torch.Size((32, 32)), None)
    part = model._grid_positions(torch.Size((16, 16)), torch.tensor([128.0, 64.0]))
    torch.testing.assert_close(part, full[..., 4:20, 8:24], atol=1e-5, rtol=1e-5)
    near = model._sparse(*model._points(points((10.0, 20.0))), torch.tensor([128.0, 64.0]))
    far = model._sparse(*model._points(points((138.0, 84.0))), None)
    torch.testing.assert_close(near, far, atol=1e-5, rtol=1e-5)


def test_save_and_load_round_trip_is_exact(model, embedding, tmp_path):
    model.save_pretrained(tmp_path)
    again = CompactModel.from_pretrained(tmp_path)
    for key, value in model.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    assert json.loads((tmp_path / "config.json").read_text())["family"] == "compact"
    model.save_pretrained(tmp_path / "half", half=True)
    half = CompactModel.from_pretrained(tmp_path / "half")
    prompt = points((100.0, 100.0))
    with torch.inference_mode():
        a, b = (m.decode(embedding, prompt).low_res_logits for m in (model, half))
    torch.testing.assert_close(a, b, atol=0.05, rtol=0.05)


def test_loading_names_what_does_not_fit(model, tmp_path):
    from safetensors.torch import load_file, save_file

    model.save_pretrained(tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    missing = dict(list(state.items())[1:])
    save_file(missing, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match="1 missing"):
        CompactModel.from_pretrained(tmp_path)
    save_file({**state, "extra.weight": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelError, match=r"1 unexpected \(extra.weight\)"):
        CompactModel.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelError, match="safetensors"):
        CompactModel.from_pretrained(tmp_path)
    with pytest.raises(ModelError, match="config"):
        CompactModel.from_pretrained(tmp_path / "nowhere")
