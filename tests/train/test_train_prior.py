"""The prior: its autoencoder and its U-Net learn, resume exactly, and end as a folder that an enhancer starts from."""

import numpy as np
import pytest
import torch
from train_tiny import losses_of, photo_set, resumes_exactly

from glesam.common.files import sha256
from glesam.enhance.gle import LatentEnhancer
from glesam.enhance.priors import load_prior, load_schedule
from glesam.enhance.schedule import NoiseSchedule
from glesam.errors import ConfigError
from glesam.train.config import AutoencoderConfig, PriorConfig
from glesam.train.feed.crops import ImageCrops, to_signed, to_tiles
from glesam.train.feed.pack import pack
from glesam.train.stages.autoencoder import AutoencoderStage, edge_loss
from glesam.train.stages.frozen import state_digest
from glesam.train.stages.prior import TEXT_FILE, PriorObjective, PriorStage, build_unet, make_scheduler

SHARED = {"data": {"photos": 1.0}, "workers": 0, "warmup": 5, "ema": 0.9}


@pytest.fixture(scope="module")
def packs(tmp_path_factory):
    return [pack(photo_set(tmp_path_factory.mktemp("photos")), tmp_path_factory.mktemp("packs"))]


def autoencoder_stage(packs, **changes):
    values = {"image_size": 32, "batch_size": 4, "steps": 60, "channels": (8, 8, 16, 16), "lr": 5e-3}
    return AutoencoderStage(AutoencoderConfig(**{**SHARED, **values, **changes}), packs)


@pytest.fixture(scope="module")
def autoencoder(packs, tmp_path_factory):
    """A trained autoencoder: run folder and losses."""
    out = tmp_path_factory.mktemp("autoencoder")
    return out, losses_of(autoencoder_stage(packs), out)


def prior_stage(packs, autoencoder, **changes):
    values = {"image_size": 64, "batch_size": 4, "steps": 40, "channels": (16, 32), "attention": (False, True)}
    values |= {"heads": 2, "embedding": 8, "samples": 2, "sample_steps": 4, "lr": 5e-3}
    return PriorStage(PriorConfig(**{**SHARED, **values, **changes}), packs, autoencoder[0] / "model")


def test_autoencoder_learns_to_reconstruct(packs, autoencoder):
    out, losses = autoencoder
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    from diffusers import AutoencoderKL

    trained, fresh = AutoencoderKL.from_pretrained(out / "model"), autoencoder_stage(packs).objective.model
    pictures = to_signed(ImageCrops(packs, [1.0], 32, 6, 1, seed=99)[0]["pixels"])
    with torch.no_grad():
        errors = [
            float((m.decode(m.encode(pictures).latent_dist.mean).sample - pictures).abs().mean())
            for m in (trained.eval(), fresh.eval())
        ]
    assert errors[0] < 0.75 * errors[1]
    assert (out / "reconstructions.png").stat().st_size > 1000
    assert trained.encode(torch.zeros(1, 3, 256, 256)).latent_dist.mean.shape == (1, 4, 32, 32)


def test_prior_learns_to_predict_noise_and_leaves_the_autoencoder_alone(packs, autoencoder, tmp_path):
    stage = prior_stage(packs, autoencoder)
    before = state_digest(stage.objective.frozen["vae"])
    losses = losses_of(stage, tmp_path)
    assert np.mean(losses[:3]) > 0.9
    assert np.mean(losses[-8:]) < 0.85 * np.mean(losses[:3])
    assert state_digest(stage.objective.frozen["vae"]) == before
    assert (tmp_path / "samples.png").stat().st_size > 1000
    folder = tmp_path / "model"
    assert load_schedule(folder) == NoiseSchedule()
    assert load_prior(folder).config.in_channels == 4
    from glesam.enhance.priors import read_text_embedding

    text = read_text_embedding(folder / TEXT_FILE)
    enhancer = LatentEnhancer.from_prior(folder, timestep=1, alignment_scale=1.0, text_embedding=text)
    assert enhancer(torch.randn(2, 256, 4, 4)).shape == (2, 256, 4, 4)


def test_both_resume_to_the_same_losses(packs, autoencoder, tmp_path):
    resumes_exactly(lambda: autoencoder_stage(packs, steps=5), tmp_path / "a", stop=2)
    resumes_exactly(lambda: prior_stage(packs, autoencoder, steps=5, samples=0), tmp_path / "b", stop=3)


def test_latents_have_unit_variance_and_samples_come_from_the_seed(packs, autoencoder, tmp_path):
    stage = prior_stage(packs, autoencoder)
    vae = stage.objective.frozen["vae"]
    with torch.no_grad():
        latents = vae.encode(to_signed(stage.batches(0)[0]["pixels"])).latent_dist.mean * vae.config.scaling_factor
    assert 0.5 < float(latents.std()) < 2
    for name in ("one", "two"):
        stage.save(stage.objective.model, tmp_path / name / "model")
    assert sha256(tmp_path / "one" / "samples.png") == sha256(tmp_path / "two" / "samples.png")


def test_the_noised_latent_and_the_target_are_those_of_the_paper(packs, autoencoder):
    """A U-Net that answers its own input shows what it was given: sqrt(a) x + sqrt(1 - a) noise."""
    stage = prior_stage(packs, autoencoder)
    seen = {}

    class Echo(torch.nn.Module):
        config = stage.objective.model.config

        def forward(self, sample, steps, encoder_hidden_states):
            seen.update(sample=sample, steps=steps, text=encoder_hidden_states)
            return type("Answer", (), {"sample": torch.zeros_like(sample)})

    objective = PriorObjective(Echo(), stage.objective.frozen["vae"])
    batch = stage.batches(0)[0]
    torch.manual_seed(7)
    loss = objective(batch)["loss"]
    torch.manual_seed(7)
    vae = stage.objective.frozen["vae"]
    latents = vae.encode(to_signed(batch["pixels"])).latent_dist.sample() * vae.config.scaling_factor
    noise = torch.randn(latents.shape)
    assert float(loss) == pytest.approx(float(noise.square().mean()), rel=1e-6)
    diffusers_form = make_scheduler().add_noise(latents, noise, seen["steps"])
    torch.testing.assert_close(seen["sample"], diffusers_form, rtol=1e-5, atol=1e-5)
    assert seen["text"].shape == (4, 1, 8)


def test_default_unet_has_the_size_that_the_documentation_gives():
    count = sum(p.numel() for p in build_unet(PriorConfig()).parameters())
    assert count == pytest.approx(7.2e6, rel=0.01)


def test_wrong_input_is_refused(packs, tmp_path):
    with pytest.raises(ConfigError, match="train it first"):
        PriorStage(PriorConfig(data={"photos": 1.0}), packs, tmp_path)
    with pytest.raises(ConfigError, match="attention"):
        build_unet(PriorConfig(channels=(16, 32), attention=(True,)))


def test_crops_have_no_padding_and_follow_the_seed(packs):
    stream = ImageCrops(packs, [1.0], 24, 5, 3, seed=1)
    assert torch.equal(stream[2]["pixels"], ImageCrops(packs, [1.0], 24, 5, 3, seed=1)[2]["pixels"])
    assert not torch.equal(stream[2]["pixels"], stream[1]["pixels"])
    assert not torch.equal(stream[2]["pixels"], ImageCrops(packs, [1.0], 24, 5, 3, seed=1, rank=1)[2]["pixels"])
    assert stream[0]["pixels"].shape == (5, 24, 24, 3)
    assert len(stream) == 3


def test_edges_and_tiles_by_hand():
    a = torch.tensor([[[[0.0, 1.0], [0.0, 0.0]]]])
    # Differences along x: 1 and 0 (mean of |.| 0.5); along y: 0 and -1 (0.5).
    assert float(edge_loss(a, torch.zeros_like(a))) == pytest.approx(1.0)
    tiles = to_tiles(torch.stack([torch.full((3, 2, 2), v) for v in (-1.0, 0.0, 1.0)]), 2)
    assert tiles.shape == (4, 4, 3)
    assert [tiles[0, 0, 0], tiles[0, 2, 0], tiles[2, 0, 0], tiles[2, 2, 0]] == [0, 128, 255, 255]
