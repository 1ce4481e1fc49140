"""Light HQ-SAM: the HQ head on MobileSAM, with TinyViT's second stage as early feature."""

from __future__ import annotations

import pytest
import torch
from heads_original import HQDecoder
from heads_tiny import PROMPTS, embed, one_by_one
from test_models_mobile import SIDE, SIZES, WIDTH, OriginalMobileSam, load_tiny, mobile_tiny, original_tiny

from glesam.heads.headed import HeadedModel
from glesam.heads.original import split_head
from glesam.heads.registry import KINDS, new_head
from glesam.models.registry import load_model
from glesam.models.sam.layouts import recognise
from glesam.models.sam.tinyvit import TinyVitConfig


@pytest.fixture(scope="module")
def original():
    model = original_tiny()
    torch.manual_seed(0)
    model.mask_decoder = HQDecoder(WIDTH, 48, 40, False, 1e-5, SIZES.widths[2])
    return model.eval()


def test_every_key_of_the_full_size_file_fits(tmp_path):
    model = OriginalMobileSam(TinyVitConfig(), 256, 1024, 2048, 256)
    model.image_encoder.head = torch.nn.Linear(320, 1000)
    model.mask_decoder = HQDecoder(256, 2048, 256, False, 1e-5, 160)
    torch.save(model.state_dict(), tmp_path / "sam_hq_vit_tiny.pth")
    assert recognise(model.state_dict()).name == "Light HQ-SAM"
    found = load_model(tmp_path / "sam_hq_vit_tiny.pth")
    assert isinstance(found, HeadedModel)
    assert (found.base.family, found.head.kind, found.head.early_channels) == ("mobile-sam", "hq", 160)


@torch.no_grad()
def test_masks_and_scores_are_the_authors(original):
    split = split_head(original.state_dict(), "file")
    model = HeadedModel(load_tiny(split.base), split.head)
    embedding, prompts = embed(model), PROMPTS["points and box"]
    pixels = torch.randn(1, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(7))
    x = original.image_encoder.patch_embed(pixels)
    for stage in original.image_encoder.layers[:2]:
        x = stage(x)
    assert torch.allclose(embedding.early, x, atol=1e-5)
    inputs = model.base.decoder_inputs(embedding, prompts)
    output = model.decode(embedding, prompts, True)
    for i in range(3):
        masks, hq, iou = original.mask_decoder.one(
            embedding.latent, inputs.positions, inputs.sparse[0, i], inputs.dense, embedding.early
        )
        assert float((output.low_res_logits[0, i] - masks[1:] - hq).abs().max()) < 1e-4
        assert float((output.iou[0, i] - iou[1:]).abs().max()) < 1e-5


@torch.no_grad()
def test_new_heads_are_silent_and_many_prompts_are_single_calls():
    base = mobile_tiny().requires_grad_(False)
    for kind in KINDS:
        torch.manual_seed(2)
        model = HeadedModel(base, new_head(kind, base))
        embedding = embed(model)
        for prompts in PROMPTS.values():
            found, plain = model.decode(embedding, prompts, True), base.decode(embedding, prompts, True)
            if kind == "hq":
                assert torch.equal(found.low_res_logits, plain.low_res_logits)
                assert torch.equal(found.iou, plain.iou)
            apart = one_by_one(model, embedding, prompts)
            scale = max(1.0, float(found.low_res_logits.abs().max()))
            assert float((found.low_res_logits - apart.low_res_logits).abs().max()) < 1e-5 * scale
            assert float((found.iou - apart.iou).abs().max()) < 1e-5
