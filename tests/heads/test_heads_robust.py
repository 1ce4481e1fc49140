"""Robust heads: as the authors' decoder where theirs works, and right for any number of prompts and candidates."""

from __future__ import annotations

import pytest
import torch
from heads_original import original_robust
from heads_tiny import MODELS, PROMPTS, embed, one_by_one, tiny

from glesam.heads.headed import HeadedModel
from glesam.heads.original import load_original
from glesam.heads.registry import new_head
from glesam.heads.robust import RobustHead
from glesam.weights.folders import state_digest


@pytest.fixture(scope="module")
def original():
    return original_robust()


@pytest.fixture(scope="module")
def model(original, tmp_path_factory):
    path = tmp_path_factory.mktemp("robust") / "robust.pth"
    torch.save({f"module.{k}": v for k, v in original.state_dict().items()}, path)
    return load_original(path)


@torch.no_grad()
def test_masks_scores_features_and_tokens_are_the_authors(original, model):
    embedding, prompts = embed(model), PROMPTS["points and box"]
    inputs = model.base.decoder_inputs(embedding, prompts)
    decoder = model.base.model.mask_decoder
    for clear in (False, True):
        found = model.head.answer(decoder, inputs, model.head.fuse(embedding, clear), clear)
        for i in range(3):
            wanted = original.mask_decoder.one(
                embedding.latent, inputs.positions, inputs.sparse[0, i], inputs.dense, embedding.early, clear
            )
            got = (found.logits[i], found.iou[i], found.features[i], found.tokens[i])
            for a, b, tolerance in zip(got, wanted, (1e-4, 1e-5, 1e-4, 1e-4), strict=True):
                assert float(b.std()) > 0.005
                assert float((a - b).abs().max()) < tolerance


@torch.no_grad()
def test_decode_gives_the_single_mask_or_the_three_that_have_a_score(model):
    embedding, prompts = embed(model), PROMPTS["points"]
    found = model.head.answer(
        model.base.model.mask_decoder, model.base.decoder_inputs(embedding, prompts), model.head.fuse(embedding)
    )
    for multimask, masks in ((False, slice(0, 1)), (True, slice(1, 4))):
        output = model.decode(embedding, prompts, multimask)
        assert torch.equal(output.low_res_logits[0], found.logits[:, masks])
        assert torch.equal(output.iou[0], found.iou[:, masks])


@torch.no_grad()
def test_the_teacher_is_the_base_bit_for_bit(model):
    embedding, prompts = embed(model), PROMPTS["points and box"]
    inputs = model.base.decoder_inputs(embedding, prompts)
    teacher = model.head.answer(model.base.model.mask_decoder, inputs, model.head.fuse(embedding, True), clear=True)
    assert torch.equal(teacher.logits[:, 1:], model.base.decode(embedding, prompts, True).low_res_logits[0])


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("prompts", PROMPTS.values(), ids=PROMPTS)
@torch.no_grad()
def test_many_prompts_are_single_calls(name, prompts):
    base = tiny(name)
    torch.manual_seed(2)
    headed = HeadedModel(base, new_head("robust", base))
    embedding = embed(headed)
    together, apart = headed.decode(embedding, prompts, True), one_by_one(headed, embedding, prompts)
    scale = max(1.0, float(together.low_res_logits.abs().max()))
    assert together.low_res_logits.shape[:3] == (1, 3, 3)
    assert float((together.low_res_logits - apart.low_res_logits).abs().max()) < 1e-5 * scale
    assert float((together.iou - apart.iou).abs().max()) < 1e-5


def test_only_the_head_gets_gradients_and_they_are_finite(model):
    base = tiny("sam")
    before = state_digest(base)
    torch.manual_seed(0)
    headed = HeadedModel(base, RobustHead(32, 24))
    embedding = embed(headed)
    # Where a map is constant its spectrum is nothing but one number: the authors' phase has no gradient there.
    embedding.latent[:] = 1.0
    headed.decode(embedding, PROMPTS["points"]).low_res_logits.sum().backward()
    grads = [p.grad for p in headed.head.parameters() if p.grad is not None]
    assert len(grads) > 30
    assert all(bool(g.isfinite().all()) for g in grads)
    assert state_digest(base) == before
    assert all(p.grad is None for p in base.parameters())


def test_size_is_the_published_one():
    with torch.device("meta"):
        count = sum(p.numel() for p in RobustHead(256, 768).parameters())
    assert round(count / 1e6, 1) == 59.4
