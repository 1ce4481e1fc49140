"""Stage 1: every variant learns something, frozen weights stay frozen by hash, a killed run resumes exactly."""

import numpy as np
import pytest
import torch
from train_tiny import losses_of, photo_set, resumes_exactly, tiny_model, tiny_prior

from glesam.enhance.gle import LatentEnhancer
from glesam.enhance.lora import adapted_layers, lora_settings
from glesam.enhance.registry import load_enhancer
from glesam.enhance.residual import ResidualEnhancer
from glesam.errors import ConfigError, ModelError
from glesam.train.config import EnhancerConfig
from glesam.train.feed.latents import pair_latents
from glesam.train.feed.pack import pack
from glesam.train.loop import Trainer
from glesam.train.stages.enhancer import EnhancerStage, alignment_scale, build_enhancer, enhancement
from glesam.train.stages.frozen import state_digest

HAZE = {"real:haze:5": 1.0}  # a strong and even degradation: one that a few steps on a random encoder can learn


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return photo_set(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def parts(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    return [pack(data, root / "packs")], tiny_model(root / "model"), tiny_prior(root / "prior")


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("latents")


def stage(parts, validation=None, cache=None, **changes):
    packs, model, prior = parts
    values = {"data": {"photos": 1.0}, "model": str(model), "prior": str(prior), "image_size": 64, "batch_size": 4}
    values |= {"steps": 40, "scale": (0.12, 0.14), "levels": HAZE, "workers": 0, "warmup": 5, "ema": 0.9, "lr": 2e-2}
    return EnhancerStage(EnhancerConfig(**{**values, "measured_photos": 4, **changes}), packs, validation, cache)


def held_out_ratio(of, model):
    """Error on pairs that training has not seen, relative to leaving latents as they are."""
    clean, degraded = pair_latents(of.encoder, of._pairs(0)[10_000])
    with torch.no_grad():
        return float((model(degraded) - clean).square().mean() / (degraded - clean).square().mean())


def frozen_digest(model):
    """Digest of the weights that are not to learn."""
    holder = torch.nn.ParameterList(p for p in model.parameters() if not p.requires_grad)
    return state_digest(holder)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"head": "new"},
        {"adapt": "full", "lr": 1e-2},
        {"kind": "residual-cnn", "width": 16, "blocks": 2, "lr": 1e-2},
    ],
    ids=["lora", "new-head", "full", "residual-cnn"],
)
def test_the_enhancer_learns_and_what_is_frozen_stays(parts, cache, tmp_path, changes):
    made = stage(parts, cache=cache, cached_pairs=64, **changes)
    start, encoder, base = (
        held_out_ratio(made, made.objective.model),
        state_digest(made.encoder),
        frozen_digest(made.objective.model),
    )
    trainer = Trainer(made, tmp_path / "run")
    trainer.run()
    after = held_out_ratio(made, trainer.ema)
    assert 0.99 < start < 1.05
    assert after < 0.95 * start
    assert state_digest(made.encoder) == encoder
    assert frozen_digest(made.objective.model) == base
    again = load_enhancer(tmp_path / "run" / "model")
    assert held_out_ratio(made, again) == pytest.approx(after, abs=1e-5)


def test_checkpoints_hold_what_learns_only(parts, tmp_path):
    made = stage(parts, steps=2)
    trainer = Trainer(made, tmp_path / "run")
    trainer.run()
    stored = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    learning = {name for name, p in made.objective.model.named_parameters() if p.requires_grad}
    assert learning
    assert all(".lora_" in name for name in learning)
    assert set(stored["model"]) == set(stored["ema"]) == learning | {"text_embedding"}
    shared = {id(p) for p in made.objective.model.parameters()} & {id(p) for p in trainer.ema.parameters()}
    assert len(shared) == len(trainer.frozen) > 0


def test_a_checkpoint_of_another_model_is_refused(parts, tmp_path):
    losses_of(stage(parts, steps=2), tmp_path / "run", stop=1)
    stored = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    stored["model"].pop(next(k for k in stored["model"] if "lora_A" in k))
    torch.save(stored, tmp_path / "run" / "last.pt")
    with pytest.raises(ConfigError, match="1 keys that do not fit"):
        Trainer(stage(parts, steps=2), tmp_path / "run", resume=True)


def test_a_killed_run_resumes_to_the_same_losses(parts, tmp_path):
    resumes_exactly(lambda: stage(parts, steps=5), tmp_path / "live", stop=2)
    cached = {"steps": 5, "cached_pairs": 8, "cache": tmp_path / "cache"}
    resumes_exactly(lambda: stage(parts, **cached), tmp_path / "cached", stop=3)


def test_validation_measures_each_level(data, parts, tmp_path):
    made = stage(parts, data, steps=2, val="photos", val_images=2)

    class Perfect(torch.nn.Module):
        """Gives each batch of levels its clear latent."""

        def forward(self, latents):
            return latents[:1].expand_as(latents)

    encoder = made.encoder
    nothing = enhancement(torch.nn.Identity(), encoder, data, 2, 0)
    assert nothing == pytest.approx({"mse_ratio_lq1": 1, "mse_ratio_lq2": 1, "mse_ratio_lq3": 1, "drift_clear": 0})
    assert set(enhancement(Perfect(), encoder, data, 2, 0).values()) == {0.0}
    measured = Trainer(made, tmp_path / "run").run()
    assert measured.keys() == nothing.keys()
    assert measured["drift_clear"] > 0


def test_loss_is_the_squared_distance_and_scales_with_the_alignment(parts):
    made = stage(parts, alignment_scale=3.0, scaled_loss=True)
    batch = made.batches(0)[0]
    losses = made.objective(batch)
    clean, degraded = pair_latents(made.encoder, batch)
    with torch.no_grad():
        expected = np.square((made.objective.model(degraded) - clean).double().numpy()).mean()
    assert float(losses["mse"]) == pytest.approx(expected, rel=1e-5)
    assert losses["loss"].item() == pytest.approx(9 * expected, rel=1e-5)
    # In the official code the distance is taken between scaled latents.
    scaled = np.square((3 * made.objective.model(degraded) - 3 * clean).detach().double().numpy()).mean()
    assert losses["loss"].item() == pytest.approx(scaled, rel=1e-5)


def test_alignment_scale_brings_the_deviation_to_one(parts):
    statistics = {"std": 0.4, "sum_std": 5.0}
    assert alignment_scale(EnhancerConfig(alignment_scale="measured"), statistics) * 0.4 == pytest.approx(1.0)
    assert alignment_scale(EnhancerConfig(alignment_scale="measured-sum"), statistics) * 5 == pytest.approx(1.0)
    assert alignment_scale(EnhancerConfig(alignment_scale=5), statistics) == 5
    made = stage(parts, alignment_scale="measured-sum")
    clean, _ = pair_latents(made.encoder, made._pairs(0)[0])
    summed = sum(clean[:, 4 * k : 4 * k + 4] for k in range(64))
    assert made.objective.model.alignment_scale * float(summed.std()) == pytest.approx(1.0, rel=0.01)


def test_options_reach_the_enhancer(parts):
    model = stage(parts, rank=4, lora_alpha=2, targets="attention", timestep=999).objective.model
    settings = lora_settings(model.unet)
    assert (settings["r"], settings["lora_alpha"], model.timestep) == (4, 2, 999)
    assert all(path.split(".")[-1] in ("to_q", "to_k", "to_v", "0") for path in settings["target_modules"])
    new = stage(parts, head="new").objective.model
    assert not {"conv_in", "conv_out"} & {path.split(".")[-1] for path in adapted_layers(new.unet)}
    assert new.unet.conv_in.weight.requires_grad
    assert not torch.equal(new.unet.conv_in.weight[:, :4], new.unet.conv_in.weight[:, 4:8])
    repeated = stage(parts).objective.model.unet.conv_in.base_layer.weight
    assert torch.equal(repeated[:, :4], repeated[:, 4:8])


def test_a_random_prior_comes_from_the_seed(parts):
    config = EnhancerConfig(prior="random", seed=3)
    torch.manual_seed(0)
    first = build_enhancer(config, 256, 1.0)
    torch.manual_seed(1)
    assert isinstance(first, LatentEnhancer)
    assert state_digest(build_enhancer(config, 256, 1.0)) == state_digest(first)
    assert state_digest(build_enhancer(EnhancerConfig(prior="random", seed=4), 256, 1.0)) != state_digest(first)


def test_full_size_models_work_by_the_same_path(data, tmp_path):
    """A tiny SAM, whose views are brought to its own size and whose latent has 32 channels."""
    from transformers import SamConfig, SamModel

    from glesam.models.sam.sam import SamPromptable

    prompt = {"hidden_size": 32, "image_size": 64, "patch_size": 16}
    vision = {"hidden_size": 24, "output_channels": 32, "num_hidden_layers": 1, "num_attention_heads": 3}
    vision |= {"image_size": 64, "patch_size": 16, "global_attn_indexes": [0], "num_pos_feats": 16, "mlp_dim": 32}
    decoder = {"hidden_size": 32, "mlp_dim": 48, "num_attention_heads": 8, "iou_head_hidden_dim": 40}
    torch.manual_seed(0)
    sam = SamModel(SamConfig(vision_config=vision, prompt_encoder_config=prompt, mask_decoder_config=decoder))
    SamPromptable(sam).save_pretrained(tmp_path / "sam")
    made = stage(([pack(data, tmp_path / "packs")], tmp_path / "sam", tiny_prior(tmp_path / "prior")), steps=2)
    assert made.objective.model.channels == 32
    assert len(losses_of(made, tmp_path / "run")) == 2


def test_residual_network_starts_as_identity_and_refuses_what_does_not_fit(tmp_path):
    network = ResidualEnhancer(8, 16, 2)
    latent = torch.randn(2, 8, 5, 7)
    assert torch.equal(network(latent), latent)
    torch.nn.init.normal_(network.tail.weight)
    network.save_pretrained(tmp_path)
    assert torch.equal(load_enhancer(tmp_path)(latent), network.eval()(latent))
    with pytest.raises(ModelError, match="8"):
        network(torch.randn(1, 4, 5, 5))
    config = (tmp_path / "config.json").read_text()
    (tmp_path / "config.json").write_text(config.replace('"blocks": 2', '"blocks": 3'))
    with pytest.raises(ModelError, match="missing"):
        load_enhancer(tmp_path)
    (tmp_path / "config.json").write_text(config.replace("residual-enhancer", "compact"))
    with pytest.raises(ModelError, match="compact"):
        load_enhancer(tmp_path)


def test_unknown_parts_are_refused(parts, tmp_path):
    with pytest.raises(ModelError):
        stage(parts, model=str(tmp_path / "nothing"))
    with pytest.raises(ModelError):
        stage(parts, prior=str(tmp_path))
