"""Forks of a model as tuned parts: what they answer is what the fork answers, and the base model stays."""

import copy

import pytest
import torch
from train_tiny import tiny_model
from typer.testing import CliRunner

from glesam.cli.train import app
from glesam.enhance.bundle import load_bundle
from glesam.errors import ModelError
from glesam.models.base import PromptTensors
from glesam.models.compact.model import CompactModel
from glesam.models.tuned import save_fork, save_tuned, tunable_state, with_tuned
from glesam.weights.folders import state_digest


def prompts(mask=False):
    masks = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(1)) if mask else None
    return PromptTensors(torch.tensor([[[[20.0, 30.0]]]]), torch.ones(1, 1, 1, dtype=torch.long), None, masks)


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    """A base model with both late modules, and its fork: all else but what embeds points and boxes is moved."""
    root = tmp_path_factory.mktemp("fork")
    base = CompactModel.from_pretrained(tiny_model(root / "small")).with_prompt_maps().grown(coarse=True, fine=True)
    base.save_pretrained(root / "base")
    base = CompactModel.from_pretrained(root / "base")
    fork = copy.deepcopy(base)
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        for name, value in fork.named_parameters():
            if name.startswith(("encoder.", "mask_decoder.", "fine.", "prompt_encoder.mask_embed.")):
                value.add_(torch.randn(value.shape, generator=generator) * 0.02)
    fork.save_pretrained(root / "fork")
    return root, base, CompactModel.from_pretrained(root / "fork")


@torch.no_grad()
def test_a_bundle_of_a_fork_answers_as_the_fork_and_leaves_the_base_alone(pair, tmp_path):
    root, base, fork = pair
    before = state_digest(base)
    rules = tmp_path / "rules.json"
    rules.write_text('[{"above": 0, "image_size": 32}]')
    options = ["--model", str(root / "base"), "--fork", str(root / "fork"), "--rules", str(rules)]
    made = CliRunner().invoke(app, ["bundle", "--out", str(tmp_path / "b"), *options])
    assert made.exit_code == 0, made.output
    restoration = load_bundle(tmp_path / "b", base)
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    embedding = restoration.restore(base, base.encode(pixels), None, pixels)
    small = torch.nn.functional.interpolate(pixels, (32, 32), mode="bilinear", antialias=True)
    torch.testing.assert_close(embedding.latent, fork.encode(small).latent)
    for mask in (False, True):
        whole = with_tuned(
            with_tuned(base, "decoder", tmp_path / "b" / "decoder"), "encoder", tmp_path / "b" / "encoder"
        )
        got = whole.decode(whole.encode(pixels), prompts(mask))
        wanted = fork.decode(fork.encode(pixels), prompts(mask))
        torch.testing.assert_close(got.fine, wanted.fine)
        torch.testing.assert_close(got.low_res_logits, wanted.low_res_logits)
        plain = base.decode(base.encode(pixels), prompts(mask))
        assert not torch.allclose(wanted.fine, plain.fine, atol=1e-3)
    assert state_digest(base) == before


def test_the_base_model_shares_what_did_not_change(pair, tmp_path):
    _, base, fork = pair
    save_fork(base, fork, tmp_path)
    tuned = with_tuned(base, "decoder", tmp_path / "decoder")
    assert tuned.fine is not base.fine
    maps = (tuned.prompt_maps.coarse.weight, base.prompt_maps.coarse.weight)
    assert maps[0].data_ptr() == maps[1].data_ptr()
    assert {p.data_ptr() for p in tuned.encoder.parameters()} == {p.data_ptr() for p in base.encoder.parameters()}


def test_forks_that_embed_prompts_otherwise_or_are_no_forks_are_refused_in_one_line(pair, tmp_path):
    root, base, fork = pair
    other = copy.deepcopy(fork)
    with torch.no_grad():
        other.prompt_encoder.point_embed.weight.add_(1e-3)
    with pytest.raises(ModelError, match=r"embeds points and boxes.*point_embed\.weight; .*keep_prompts") as caught:
        save_fork(base, other, tmp_path / "a")
    assert "\n" not in str(caught.value)
    with pytest.raises(ModelError, match="missing"):
        save_fork(base, CompactModel.from_pretrained(root / "small"), tmp_path / "b")
    options = ["--model", str(root / "base"), "--fork", str(root / "fork"), "--decoder", str(tmp_path)]
    both = CliRunner().invoke(app, ["bundle", "--out", str(tmp_path / "c"), *options])
    assert both.exit_code == 2
    assert "--fork" in both.output


@torch.no_grad()
def test_a_decoder_saved_without_its_aides_keeps_the_base_models(pair, tmp_path):
    _, base, fork = pair
    own = [name for name in tunable_state(fork, "decoder") if not name.startswith(("fine_head.", "mask_embed."))]
    save_tuned(fork, "decoder", tmp_path, own)
    tuned = with_tuned(base, "decoder", tmp_path)
    assert {p.data_ptr() for p in tuned.fine.parameters()} == {p.data_ptr() for p in base.fine.parameters()}


@torch.no_grad()
def test_an_encoder_that_knew_one_late_module_goes_without_the_other(pair, tmp_path):
    _, base, fork = pair
    known = [name for name in tunable_state(fork, "encoder") if not name.startswith("early.")]
    save_tuned(fork, "encoder", tmp_path, known)
    tuned = with_tuned(base, "encoder", tmp_path)
    assert tuned.encoder.early is None
    assert tuned.encoder.coarse is not None
    assert base.encoder.early is not None
