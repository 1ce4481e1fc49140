"""Stage 2 with skips that learn, stage 1 with a timestep for each level: they learn, are saved, and resume exactly."""

import pytest
import torch
from train_tiny import losses_of, photo_set, resumes_exactly, tiny_model, tiny_prior

from glesam.enhance.bundle import Parts, load_bundle, write_bundle
from glesam.enhance.gate import DegradationGate
from glesam.enhance.residual import ResidualEnhancer
from glesam.enhance.skips import SkipAdapter
from glesam.errors import ConfigError, ModelError
from glesam.models.compact.model import CompactModel
from glesam.train.config import DecoderConfig, EnhancerConfig
from glesam.train.feed.pack import pack
from glesam.train.stages.decoder import DecoderStage
from glesam.train.stages.enhancer import EnhancerStage, enhance
from glesam.weights.folders import state_digest


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """Packed photos, and folders of a model whose skips act, an enhancer, a prior and a gate."""
    root = tmp_path_factory.mktemp("parts")
    packs = [pack(photo_set(root / "photos"), root / "packs")]
    model = tiny_model(root / "model")
    network = ResidualEnhancer(256, 8, 1)
    network.save_pretrained(root / "enhancer")
    torch.manual_seed(0)
    DegradationGate(256, hidden=4).save_pretrained(root / "gate")
    return packs, root, model


def decoder_stage(parts, **changes):
    packs, root, model = parts
    values = {"data": {"photos": 1.0}, "model": str(model), "enhancer": str(root / "enhancer"), "image_size": 64}
    values |= {"batch_size": 3, "steps": 12, "scale": (0.12, 0.14), "workers": 0, "warmup": 2, "ema": 0.5}
    values |= {"levels": {"lq3": 1.0}, "prompts": 2, "lr": 1e-2, "paste": 0.0, "refine": 0.0, "train": ("skips",)}
    return DecoderStage(DecoderConfig(**{**values, **changes}), packs)


@pytest.mark.parametrize("kind", ["branch", "attenuate"])
def test_skips_learn_alone_and_come_back_in_a_bundle(parts, tmp_path, kind):
    _, root, model = parts
    stage = decoder_stage(parts, skips=kind, gate=str(root / "gate"))
    base = stage.objective.model.base
    before, fresh = state_digest(base), state_digest(stage.objective.model.skips)
    losses = losses_of(stage, tmp_path / "run")
    assert sum(losses[-3:]) < sum(losses[:3])
    assert state_digest(base) == before
    assert state_digest(stage.objective.model.skips) != fresh
    saved = tmp_path / "run" / "model" / "skips"
    loaded = CompactModel.from_pretrained(model)
    gate = root / "gate" if kind == "attenuate" else None
    folder = write_bundle(tmp_path / "bundle", loaded, Parts(root / "enhancer", gate=gate, skips=saved))
    restored = load_bundle(folder, loaded).skips
    assert state_digest(restored) == state_digest(SkipAdapter.from_pretrained(saved))


def test_skips_resume_exactly(parts, tmp_path):
    resumes_exactly(lambda: decoder_stage(parts, skips="branch", steps=4, train=("tokens", "skips")), tmp_path, stop=2)


def test_what_cannot_be_is_refused(parts):
    with pytest.raises(ConfigError, match="raw ones"):
        decoder_stage(parts)
    with pytest.raises(ConfigError, match="gate"):
        decoder_stage(parts, skips="attenuate")


def enhancer_stage(parts, tmp_path, **changes):
    packs, root, model = parts
    values = {"data": {"photos": 1.0}, "model": str(model), "prior": str(tiny_prior(root / "prior")), "rank": 2}
    values |= {"image_size": 64, "batch_size": 4, "steps": 40, "scale": (0.12, 0.14), "workers": 0, "warmup": 2}
    values |= {"levels": {"lq1": 0.5, "lq3": 0.5}, "paste": 0.0, "measured_photos": 8, "lr": 2e-2, "ema": 0.5}
    values |= {"level_timesteps": (1, 100, 300, 500), "cached_pairs": 24}
    return EnhancerStage(EnhancerConfig(**{**values, **changes}), packs, cache=tmp_path / "cache")


def test_levels_choose_the_timestep_in_training(parts, tmp_path):
    stage = enhancer_stage(parts, tmp_path)
    model, latents = stage.objective.model, torch.randn(3, 256, 4, 4, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        got = enhance(model, latents, torch.tensor([0.2, 1.0, 2.8]), stage.config.level_timesteps)
        for index, timestep in enumerate((1, 100, 500)):
            torch.testing.assert_close(got[index, None], model.at(timestep)(latents[index, None]))
    losses = losses_of(stage, tmp_path / "run")
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])


@pytest.mark.parametrize("wrong", [-1, 1000])
def test_timesteps_that_are_not_on_the_schedule_are_refused(parts, tmp_path, wrong):
    with pytest.raises(ModelError, match=rf"timestep index in 0\.\.999, got {wrong}"):
        enhancer_stage(parts, tmp_path, level_timesteps=(1, 100, wrong, 999))
    enhancer_stage(parts, tmp_path, level_timesteps=(0, 100, 300, 999))


def test_a_plain_network_has_no_timesteps(parts, tmp_path):
    with pytest.raises(ConfigError, match="level_timesteps"):
        enhancer_stage(parts, tmp_path, kind="residual-cnn")
