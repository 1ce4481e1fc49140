"""The restorer stage: pairs lie pixel on pixel, the U-Net learns to restore, resumes exactly, and is saved for use."""

import numpy as np
import pytest
from train_tiny import losses_of, photo_set, resumes_exactly

from glesam.degrade.levels import apply, parse_level
from glesam.errors import ConfigError
from glesam.restore.quality import psnr
from glesam.restore.registry import load_restorer
from glesam.train.config import RestorerConfig, read_config
from glesam.train.feed.native import NativePairs
from glesam.train.feed.pack import pack
from glesam.train.stages.restorer import RestorerStage

SMALL = {"data": {"photos": 1.0}, "workers": 0, "warmup": 5, "ema": 0.9, "image_size": 64, "widths": (8, 16)}


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    return photo_set(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def packs(photos, tmp_path_factory):
    return [pack(photos, tmp_path_factory.mktemp("packs"))]


def stage(packs, validation=None, **changes):
    values = {"batch_size": 8, "steps": 60, "lr": 5e-3, "levels": {"lq3": 1.0}}
    return RestorerStage(RestorerConfig(**{**SMALL, **values, **changes}), packs, validation)


def test_clear_pairs_are_equal_and_degraded_ones_lie_on_each_other(packs):
    config = RestorerConfig(**{**SMALL, "levels": {"clear": 1.0}})
    batch = NativePairs(packs, [1.0], config)[0]
    assert batch["pixels"].shape == (16, 64, 64, 3)
    assert (batch["pixels"] == batch["clean"]).all()
    batch = NativePairs(packs, [1.0], config.model_copy(update={"levels": {"lq1": 1.0}}))[0]
    low, clean = (batch[name].float().mean(dim=-1).numpy() for name in ("pixels", "clean"))
    # A crop that lay a few pixels off, or was not mirrored along, would not correlate best with its own place.
    for a, b in zip(low, clean, strict=True):
        inner = b[4:-4, 4:-4]
        shifted = {d: np.corrcoef(a[4 + d : 60 + d, 4:-4].ravel(), inner.ravel())[0, 1] for d in (-4, 0, 4)}
        assert shifted[0] == max(shifted.values())
        assert shifted[0] > np.corrcoef(a[4:-4, 4:-4][:, ::-1].ravel(), inner.ravel())[0, 1]


def test_a_batch_is_a_function_of_seed_step_and_process(packs):
    config = RestorerConfig(**SMALL)
    first, again = (NativePairs(packs, [1.0], config)[3]["pixels"] for _ in range(2))
    assert (first == again).all()
    assert (first != NativePairs(packs, [1.0], config, rank=1)[3]["pixels"]).any()


def test_degraded_photos_are_mixed_where_that_is_asked_for(packs, monkeypatch):
    monkeypatch.setattr(NativePairs, "_mixed", lambda self, sample, degraded, rng: np.full_like(degraded, 9))
    plain, mixed = (NativePairs(packs, [1.0], RestorerConfig(**SMALL, mixing=share))[0] for share in (0.0, 1.0))
    assert (mixed["pixels"] == 9).all()
    assert not (mixed["clean"] == 9).all()
    assert not (plain["pixels"] == 9).all()


def test_photos_smaller_than_a_crop_are_mirrored_on(packs):
    batch = NativePairs(packs, [1.0], RestorerConfig(**{**SMALL, "image_size": 160}))[0]
    assert batch["clean"].shape == (16, 160, 160, 3)


def test_it_learns_to_restore_and_is_saved_for_use(packs, photos, tmp_path):
    noise = "robustseg:impulse_noise:3"
    learner = stage(packs, photos, levels={noise: 1.0}, steps=40, batch_size=6, lr=1e-2)
    losses = losses_of(learner, tmp_path / "run")
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])
    restorer = load_restorer(f"unet:{tmp_path / 'run' / 'model'}")
    for index in range(3):
        sample = photos[index]
        low = apply(sample, parse_level(noise), seed=100).image
        assert psnr(restorer.restore(low), sample.image) > psnr(low, sample.image) + 3


def test_validation_gives_psnr_with_and_without(packs, photos):
    """A new U-Net is the identity, so both numbers are those of the degraded images."""
    learner = stage(packs, photos, val_images=2)
    measured = learner.validate(learner.objective.model)
    levels = ("clear", "lq1", "lq2", "lq3")
    assert set(measured) == {f"{name}_{level}" for name in ("psnr", "plain") for level in levels}
    assert all(measured[f"psnr_{level}"] == measured[f"plain_{level}"] for level in levels)
    samples = [photos[0], photos[len(photos) - 1]]
    expected = [psnr(apply(s, parse_level("lq3"), 0).image, s.image) for s in samples]
    assert measured["plain_lq3"] == pytest.approx(np.mean(expected))


def test_validation_takes_place_where_the_model_is(packs, photos, monkeypatch):
    """As on a GPU; "meta" is a device that every machine has, though one that computes nothing."""
    seen = []

    class Same:
        def restore(self, image):
            return image

    monkeypatch.setattr(
        "glesam.train.stages.restorer.unet_restorer", lambda model, device="cpu": seen.append(device) or Same()
    )
    learner = stage(packs, photos, val_images=1)
    for device in ("cpu", "meta"):
        learner.validate(learner.objective.model.to(device))
    assert seen == ["cpu", "meta"]


def test_resumed_run_equals_a_whole_one(packs, tmp_path):
    resumes_exactly(lambda: stage(packs, steps=4, batch_size=4), tmp_path, stop=2)


def test_kinds_that_move_pixels_are_no_targets(packs):
    with pytest.raises(ConfigError, match="keep their place"):
        stage(packs, levels={"robustseg:elastic:3": 1.0}).batches(0)


def test_unknown_options_get_the_nearest():
    with pytest.raises(ConfigError, match="edge_weight"):
        read_config(RestorerConfig, None, {"edge_weigth": 1.0})
