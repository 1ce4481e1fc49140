"""HQ heads: as the authors' decoder; silent heads as the base bit for bit; many prompts as single ones."""

from __future__ import annotations

import pytest
import torch
from heads_original import original_hq, original_hq2
from heads_tiny import MODELS, PROMPTS, early_of, embed, one_by_one, tiny
from models_tiny import hiera_tiny, sam2_tiny_config

from glesam.errors import ConfigError, ModelError
from glesam.heads.headed import HeadedModel
from glesam.heads.hq import HQHead
from glesam.heads.original import load_original, split_head
from glesam.heads.registry import new_head
from glesam.models.base import PromptTensors
from glesam.models.sam import original_names as tables
from glesam.models.sam.original import convert
from glesam.models.sam.sam2 import Sam2Promptable
from glesam.weights.folders import state_digest


@pytest.fixture(scope="module")
def sam_file(tmp_path_factory):
    path = tmp_path_factory.mktemp("hq") / "hq.pth"
    torch.save(original_hq().state_dict(), path)
    return path


def sam2_with_head():
    """HQ-SAM 2 of the authors' names; image and latent sizes leave no trace in its file, so the config is given."""
    split = split_head(original_hq2().state_dict(), "hq2.pt")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(tables.SAM2_SIZES, (8, 5), hiera_tiny())
        converted = convert(split.base, "hq2.pt")
    return HeadedModel(Sam2Promptable.from_state(sam2_tiny_config(), converted.state, "hq2.pt"), split.head)


@pytest.mark.parametrize("mode", ["sum", "hq"])
@pytest.mark.parametrize("family", ["sam", "sam2"])
@torch.no_grad()
def test_masks_and_scores_are_the_authors(sam_file, family, mode):
    if family == "sam":
        model, decoder = load_original(sam_file), original_hq().mask_decoder
    else:
        model, decoder = sam2_with_head(), original_hq2().sam_mask_decoder
        model.base.model.mask_decoder.dynamic_multimask_via_stability = False
    model.head.set_mode(mode)
    embedding, prompts = embed(model), PROMPTS["points and box"]
    inputs = model.base.decoder_inputs(embedding, prompts)
    for multimask in (False, True):
        output = model.decode(embedding, prompts, multimask)
        assert output.low_res_logits.shape == (1, 3, 3 if multimask else 1, 16, 16)
        for i in range(3):
            masks, hq, iou = decoder.one(
                embedding.latent, inputs.positions, inputs.sparse[0, i], inputs.dense, embedding.early, embedding.skips
            )
            own = masks[1:] if multimask else masks[:1]
            wanted = hq.expand_as(own) if mode == "hq" else own + hq
            assert float(hq.std()) > 0.01
            assert float((output.low_res_logits[0, i] - wanted).abs().max()) < 1e-5 * max(float(wanted.abs().max()), 1)
            assert float((output.iou[0, i] - (iou[1:] if multimask else iou[:1])).abs().max()) < 1e-5


@torch.no_grad()
def test_early_feature_is_that_of_the_first_global_block(sam_file):
    model = load_original(sam_file)
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    embedding = model.encode(pixels)
    states = model.base.model.vision_encoder(pixels, output_hidden_states=True).hidden_states
    assert model.base.model.config.vision_config.global_attn_indexes == [1]
    assert torch.equal(embedding.early, states[2].permute(0, 3, 1, 2))
    assert torch.equal(embedding.latent, model.base.encode(pixels).latent)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS)
@torch.no_grad()
def test_a_silent_head_is_the_base_bit_for_bit(name, prompts):
    base = tiny(name)
    torch.manual_seed(0)
    model = HeadedModel(base, new_head("hq", base))
    embedding = embed(model)
    for multimask in (False, True):
        found, plain = model.decode(embedding, prompts, multimask), base.decode(embedding, prompts, multimask)
        assert torch.equal(found.low_res_logits, plain.low_res_logits)
        assert torch.equal(found.iou, plain.iou)


@pytest.mark.parametrize("name", MODELS)
@torch.no_grad()
def test_what_the_head_adds_is_one_map_and_the_base_shines_through(name):
    base = tiny(name)
    model = loud(base)
    embedding, prompts = embed(model), PROMPTS["points"]
    plain, found = base.decode(embedding, prompts, True), model.decode(embedding, prompts, True)
    added = found.low_res_logits - plain.low_res_logits
    assert float(added.abs().max()) > 0.1
    assert float((added - added[:, :, :1]).abs().max()) < 1e-3 * float(found.low_res_logits.abs().max())
    assert torch.equal(found.iou, plain.iou)
    model.head.set_mode("hq")
    alone = model.decode(embedding, prompts, True).low_res_logits
    assert alone.shape == plain.low_res_logits.shape
    assert float((alone - added).abs().max()) < 1e-3 * float(found.low_res_logits.abs().max())


def loud(base, joint=False):
    torch.manual_seed(1)
    return HeadedModel(base, HQHead(base_width(base), base.early_channels, joint).eval())


def base_width(base):
    return new_head("hq", base).channels


@pytest.mark.parametrize("joint", [False, True])
@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS)
@torch.no_grad()
def test_many_prompts_are_single_calls(name, prompts, joint):
    model = loud(tiny(name), joint)
    embedding = embed(model)
    together = model.decode(embedding, prompts, True)
    apart = one_by_one(model, embedding, prompts)
    scale = max(1.0, float(together.low_res_logits.abs().max()))
    assert float((together.low_res_logits - apart.low_res_logits).abs().max()) < 1e-5 * scale
    assert float((together.iou - apart.iou).abs().max()) < 1e-5


@torch.no_grad()
def test_two_images_are_each_their_own():
    model = loud(tiny("sam"))
    both = embed(model, 2)
    points = torch.tensor([[[[10.0, 20.0]], [[40.0, 8.0]]], [[[50.0, 30.0]], [[5.0, 60.0]]]])
    found = model.decode(both, PromptTensors(points, torch.ones(2, 2, 1, dtype=torch.long)))
    for i in range(2):
        prompts = PromptTensors(points[i, None], torch.ones(1, 2, 1, dtype=torch.long))
        alone = model.decode(early_of(both, i), prompts)
        assert torch.allclose(found.low_res_logits[i, None], alone.low_res_logits, atol=1e-5)


@torch.no_grad()
def test_the_fusion_is_made_once_an_image_and_anew_for_another_latent():
    model = loud(tiny("sam"))
    calls = []
    fuse = model.head.fuse
    model.head.fuse = lambda embedding: calls.append(1) or fuse(embedding)
    embedding = embed(model)
    first = model.decode(embedding, PROMPTS["points"])
    model.decode(embedding, PROMPTS["box"])
    assert len(calls) == 1
    other = model.decode(embedding.with_latent(embedding.latent * 2), PROMPTS["points"])
    assert len(calls) == 2
    assert not torch.allclose(first.low_res_logits, other.low_res_logits)
    model.head.encoder[0].weight.mul_(2)
    model.decode(embedding, PROMPTS["points"])
    assert len(calls) == 3


@pytest.mark.parametrize(("width", "millions"), [(768, 1.07), (1024, 1.33), (1280, 1.60), (160, 0.45)])
def test_sizes_are_the_published_ones(width, millions):
    count = sum(p.numel() for p in HQHead(256, width).parameters())
    assert round(count / 1e6, 2) == millions


def test_the_base_is_never_touched(sam_file):
    base = tiny("sam")
    before = state_digest(base)
    model = loud(base)
    model.decode(embed(model), PROMPTS["points"]).low_res_logits.sum().backward()
    assert state_digest(base) == before


def test_errors_name_the_cure():
    base = tiny("sam2")
    with pytest.raises(ModelError, match="early feature of 24 channels"):
        HeadedModel(base, HQHead(32, 24))
    with pytest.raises(ConfigError, match="sum, hq"):
        HQHead(32, 24, mode="both")
    sam = tiny("sam")
    model = HeadedModel(sam, HQHead(32, 24))
    with torch.no_grad(), pytest.raises(ModelError, match="early feature"):
        model.decode(sam.encode(torch.zeros(1, 3, 64, 64)), PROMPTS["points"])
