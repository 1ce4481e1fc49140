"""Stage 2: the decoder learns, the rest stays frozen by hash, all heads stay alive, a killed run resumes exactly."""

import json

import numpy as np
import pytest
import torch
from train_tiny import losses_of, photo_set, resumes_exactly, tiny_model, tiny_prior

from glesam.enhance.residual import ResidualEnhancer
from glesam.errors import ConfigError, ModelError
from glesam.models.base import Embedding, PromptableModel, PromptTensors
from glesam.models.compact.model import CompactModel
from glesam.models.tuned import image_encoder, mask_decoder, save_tuned, with_tuned
from glesam.train.config import DecoderConfig, EnhancerConfig
from glesam.train.feed.pack import pack
from glesam.train.loop import Trainer
from glesam.train.stages.decoder import DecoderStage, dice_focal_losses
from glesam.train.stages.enhancer import build_enhancer
from glesam.train.stages.frozen import state_digest


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return photo_set(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def parts(data, tmp_path_factory):
    """Packed photos, folder of a model, folder of an enhancer that changes latents."""
    root = tmp_path_factory.mktemp("parts")
    network = ResidualEnhancer(256, 8, 1)
    torch.nn.init.normal_(network.tail.weight, std=0.05, generator=torch.Generator().manual_seed(0))
    network.save_pretrained(root / "enhancer")
    return [pack(data, root / "packs")], tiny_model(root / "model"), root / "enhancer"


def stage(parts, validation=None, **changes):
    packs, model, enhancer = parts
    values = {"data": {"photos": 1.0}, "model": str(model), "enhancer": str(enhancer), "image_size": 64}
    values |= {"batch_size": 3, "steps": 30, "scale": (0.12, 0.14), "workers": 0, "warmup": 5, "ema": 0.9}
    values |= {"levels": {"clear": 0.5, "lq1": 0.5}, "prompts": 2, "lr": 2e-3, "paste": 0.0, "refine": 0.0}
    return DecoderStage(DecoderConfig(**{**values, **changes}), packs, validation)


def digests(of):
    base = of.objective.model.base
    named = {"encoder": base.encoder, "prompts": base.prompt_encoder, "decoder": mask_decoder(base)}
    return {name: state_digest(part) for name, part in named.items()} | {
        "enhancer": state_digest(of.objective.model.enhancer)
    }


def changed(of, before):
    return {name for name, digest in digests(of).items() if digest != before[name]}


def sizes(heads):
    """Mean size of each head's weights."""
    return [float(torch.stack([p.detach().abs().mean() for p in head.parameters()]).mean()) for head in heads]


def held_out_loss(of, model):
    """Loss on a batch that training has not seen, of weights that may not be those in training."""
    from glesam.train.stages.decoder import DecoderObjective

    with torch.no_grad():
        return {k: float(v) for k, v in DecoderObjective(model, of.config.loss, 0.0)(of.batches(0)[9999]).items()}


@pytest.mark.parametrize(
    ("train", "loss"),
    [(("decoder",), "dice-focal"), (("tokens",), "base"), (("encoder",), "base")],
    ids=["decoder", "tokens", "encoder"],
)
def test_the_part_learns_and_the_others_stay(parts, tmp_path, train, loss):
    made = stage(parts, train=train, loss=loss, encoder_lr=1.0)
    start, before = held_out_loss(made, made.objective.model), digests(made)
    trainer = Trainer(made, tmp_path / "run")
    trainer.run()
    after = held_out_loss(made, trainer.ema)
    assert after["loss"] < 0.93 * start["loss"]
    assert changed(made, before) == {"encoder" if train == ("encoder",) else "decoder"}


def test_tokens_are_the_tokens_and_their_heads_alone(parts, tmp_path):
    made = stage(parts, train=("tokens",), steps=2)
    decoder = mask_decoder(made.objective.model.base)
    before = {k: v.clone() for k, v in decoder.state_dict().items()}
    losses_of(made, tmp_path / "run")
    moved = {k for k, v in decoder.state_dict().items() if not torch.equal(v, before[k])}
    heads = ("mask_tokens", "iou_token", "output_hypernetworks_mlps", "iou_prediction_head")
    assert {k.split(".")[0] for k in moved} == set(heads)
    tensors = json.loads((tmp_path / "run" / "model" / "decoder" / "config.json").read_text())["tensors"]
    assert {k.split(".")[0] for k in tensors} == set(heads)


def test_every_mask_token_gets_a_gradient_and_no_head_shrinks(parts, tmp_path):
    made = stage(parts, steps=20)
    heads = mask_decoder(made.objective.model.base).output_hypernetworks_mlps
    before = sizes(heads)
    losses_of(made, tmp_path / "run")
    after = sizes(heads)
    # The official code's multi-mask heads fell to half of their size within 200 steps.
    assert all(b > 0.98 * a for a, b in zip(before, after, strict=True))
    made.objective.zero_grad()
    made.objective(made.batches(0)[0])["loss"].backward()
    assert all(float(head.proj_out.weight.grad.abs().sum()) > 0 for head in heads)


def test_iou_head_learns_the_actual_iou(parts, tmp_path):
    made = stage(parts, train=("tokens",), steps=40)
    start = held_out_loss(made, made.objective.model)["iou_head"]
    trainer = Trainer(made, tmp_path / "run")
    trainer.run()
    assert held_out_loss(made, trainer.ema)["iou_head"] < 0.7 * start


def test_a_killed_run_resumes_to_the_same_losses(parts, tmp_path):
    resumes_exactly(lambda: stage(parts, steps=5, refine=0.5), tmp_path, stop=2)


def test_saved_decoder_goes_onto_the_base_model_which_stays(parts, tmp_path):
    made = stage(parts, steps=3)
    trainer = Trainer(made, tmp_path / "run")
    trainer.run()
    base = CompactModel.from_pretrained(parts[1])
    before = state_digest(base)
    tuned = with_tuned(base, "decoder", tmp_path / "run" / "model" / "decoder")
    assert state_digest(base) == before
    assert state_digest(mask_decoder(tuned)) == state_digest(mask_decoder(trainer.ema.base))
    assert state_digest(mask_decoder(tuned)) != state_digest(mask_decoder(base))
    shared = {p.data_ptr() for p in tuned.encoder.parameters()}
    assert shared == {p.data_ptr() for p in base.encoder.parameters()}
    save_tuned(base, "decoder", tmp_path / "half", [k for k, _ in mask_decoder(base).named_parameters()], half=True)
    rounded = mask_decoder(with_tuned(base, "decoder", tmp_path / "half")).state_dict()
    for name, value in mask_decoder(base).state_dict().items():
        torch.testing.assert_close(rounded[name], value, rtol=1e-3, atol=1e-6)


def test_a_saved_encoder_goes_onto_the_base_model_and_holds_what_learnt_only(parts, tmp_path):
    trainer = Trainer(stage(parts, train=("encoder",), steps=3), tmp_path / "run")
    trainer.run()
    base = CompactModel.from_pretrained(parts[1])
    tuned = with_tuned(base, "encoder", tmp_path / "run" / "model" / "encoder")
    assert state_digest(image_encoder(tuned)) == state_digest(image_encoder(trainer.ema.base))
    assert state_digest(image_encoder(tuned)) != state_digest(image_encoder(base))
    assert {p.data_ptr() for p in mask_decoder(tuned).parameters()} == {
        p.data_ptr() for p in mask_decoder(base).parameters()
    }


def test_foreign_or_broken_decoders_are_refused(parts, tmp_path):
    base = CompactModel.from_pretrained(parts[1])
    with pytest.raises(ModelError, match="tuned decoder"):
        with_tuned(base, "decoder", parts[1])
    save_tuned(base, "decoder", tmp_path, ["iou_token.weight"])
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "tensors": ["nothing.weight"]}))
    with pytest.raises(ModelError, match=r"nothing\.weight"):
        with_tuned(base, "decoder", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "tensors": ["mask_tokens.weight"]}))
    with pytest.raises(ModelError, match="missing"):
        with_tuned(base, "decoder", tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({**config, "base": "sam2"}))
    with pytest.raises(ModelError, match="sam2"):
        with_tuned(base, "decoder", tmp_path)


def test_the_enhancer_can_learn_along_and_is_off_without_one(parts, tmp_path):
    adapters = build_enhancer(EnhancerConfig(prior=str(tiny_prior(tmp_path / "prior")), rank=2), 256, 1.0)
    adapters.save_pretrained(tmp_path / "lora")
    made = stage((parts[0], parts[1], tmp_path / "lora"), train=("enhancer", "tokens"), steps=2)
    learning = [name for name, p in made.objective.model.enhancer.named_parameters() if p.requires_grad]
    assert learning
    assert all(".lora_" in name for name in learning)
    before = digests(made)
    losses_of(made, tmp_path / "run")
    assert changed(made, before) == {"enhancer", "decoder"}
    assert (tmp_path / "run" / "model" / "enhancer" / "pytorch_lora_weights.safetensors").is_file()
    plain = stage(parts, enhancer=None)
    pixels = plain.objective.model.preprocess(np.zeros((64, 64, 3), np.uint8))[0]
    assert torch.equal(plain.objective.embed(pixels).latent, plain.objective.model.base.encode(pixels).latent)
    with pytest.raises(ConfigError, match="enhancer to train"):
        stage(parts, enhancer=None, train=("enhancer",))


def test_validation_is_per_level(data, parts, tmp_path):
    made = stage(parts, data, steps=1, val="photos", val_images=1)
    measured = Trainer(made, tmp_path / "run").run()
    assert set(measured) == {f"{p}_{q}" for p in ("points3", "box") for q in ("clear", "lq1", "lq2", "lq3")}
    assert all(0 <= value <= 1 for value in measured.values())


def test_dice_focal_against_the_papers_formula():
    rng = np.random.default_rng(0)
    logits, targets = rng.normal(0, 2, (3, 4, 6, 5)), (rng.random((3, 6, 5)) > 0.5).astype(float)
    p, t = 1 / (1 + np.exp(-logits)), np.broadcast_to(targets[:, None], logits.shape)
    dice = 1 - (2 * (p * t).sum((-2, -1)) + 1) / (p.sum((-2, -1)) + t.sum((-2, -1)) + 1)
    p_true = np.where(t == 1, p, 1 - p)
    focal = (-np.where(t == 1, 0.25, 0.75) * (1 - p_true) ** 2 * np.log(p_true)).mean((-2, -1))
    each = dice + focal
    predicted = np.full((3, 4), 0.5)
    inside = logits > 0
    iou = (inside & (t == 1)).sum((-2, -1)) / (inside | (t == 1)).sum((-2, -1))
    losses = dice_focal_losses(torch.tensor(logits), torch.tensor(predicted), torch.tensor(targets))
    assert float(losses["mask"]) == pytest.approx(each[:, 0].mean())
    candidates = 0.9 * each[:, 1:].min(axis=1).mean() + 0.1 * each[:, 1:].mean()
    assert float(losses["candidates"]) == pytest.approx(candidates)
    assert float(losses["iou_head"]) == pytest.approx(((predicted - iou) ** 2).mean())
    total = each[:, 0].mean() + 0.5 * candidates + ((predicted - iou) ** 2).mean()
    assert float(losses["loss"]) == pytest.approx(total)


def test_decode_all_gives_the_single_mask_first(parts):
    model = CompactModel.from_pretrained(parts[1])
    pixels = model.preprocess(np.random.default_rng(0).integers(0, 255, (64, 64, 3)).astype(np.uint8))[0]
    with torch.no_grad():
        embedding = model.encode(pixels)
        prompts = PromptTensors(torch.full((1, 1, 1, 2), 20.0), torch.ones(1, 1, 1, dtype=torch.long))
        whole = model.decode_all(embedding, prompts, torch.zeros(2))
        parted = PromptableModel.decode_all(model, embedding, prompts)  # in two passes, as other families do
    for a, b in zip(whole, parted, strict=True):
        torch.testing.assert_close(a, b)


def test_models_without_corner_points_are_refused(parts, monkeypatch):
    monkeypatch.setattr(CompactModel, "family", "sam")
    with pytest.raises(ConfigError, match="corner points"):
        stage(parts)


def test_embedding_keeps_its_skips(parts):
    made = stage(parts)
    pixels = made.objective.model.preprocess(np.zeros((64, 64, 3), np.uint8))[0]
    raw = made.objective.model.base.encode(pixels)
    embedding = made.objective.embed(pixels)
    assert isinstance(embedding, Embedding)
    assert not torch.equal(embedding.latent, raw.latent)
    assert all(torch.equal(a, b) for a, b in zip(embedding.skips, raw.skips, strict=True))
