"""Pairs: a function of (seed, step, rank), one warp for both sides, levels as asked for, caches equal to live ones."""

import cv2
import numpy as np
import pytest
import torch
from train_tiny import photo_set, tiny_model

from glesam.data.base import Sample
from glesam.data.readers.folder import FolderDataset
from glesam.degrade.levels import apply, parse_level
from glesam.enhance.pipeline import EnhancedModel
from glesam.errors import ConfigError, DataError
from glesam.train.config import BaseConfig, PairConfig
from glesam.train.feed.augment import ViewConfig, random_view
from glesam.train.feed.latents import cache_latents, latent_statistics, pair_latents, pair_stream
from glesam.train.feed.pack import pack
from glesam.train.feed.pairs import PairBatches, level_table, severity
from glesam.train.feed.views import TrainingBatches, view_pixels
from glesam.train.stages.frozen import FrozenPartsObjective, decay_groups, open_frozen, state_digest
from glesam.train.validation import LEVELS, DegradedSet, level_latents


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return photo_set(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def packs(data, tmp_path_factory):
    return [pack(data, tmp_path_factory.mktemp("packs"))]


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return open_frozen(str(tiny_model(tmp_path_factory.mktemp("model"))))


def config(**changes):
    values = {"data": {"photos": 1.0}, "image_size": 64, "batch_size": 4, "steps": 5, "scale": (0.12, 0.14)}
    return PairConfig(**{**values, "workers": 0, **changes})


class Moving(PairConfig):
    takes_moved = True


class Moved(PairBatches):
    pass


def test_a_batch_depends_on_seed_step_and_rank_only(packs):
    batches = PairBatches(packs, [1.0], config(prompts=2))
    first, again = batches[3], PairBatches(packs, [1.0], config(prompts=2))[3]
    assert first.keys() == again.keys() >= {"pixels", "clean", "levels", "points", "labels", "targets", "origin"}
    assert all(torch.equal(first[k], again[k]) for k in first)
    others = (batches[2], PairBatches(packs, [1.0], config(prompts=2), rank=1)[3])
    others += (PairBatches(packs, [1.0], config(prompts=2, seed=1))[3],)
    assert all(not torch.equal(first["clean"], other["clean"]) for other in others)
    assert len(batches) == 5


def test_clear_pairs_are_equal_and_degraded_ones_are_the_same_view_of_a_worse_photo(packs):
    clear = PairBatches(packs, [1.0], config(levels={"clear": 1.0}))[0]
    assert torch.equal(clear["pixels"], clear["clean"])
    assert clear["levels"].tolist() == [0.0] * 4
    low = PairBatches(packs, [1.0], config(levels={"lq3": 1.0}, batch_size=16))[0]
    assert low["levels"].tolist() == [3.0] * 16
    assert not torch.equal(low["pixels"], low["clean"])
    for one, other in zip(low["pixels"].float(), low["clean"].float(), strict=True):
        # Blurred by block means, both are the same scene; two warps would not agree.
        a, b = (v.view(8, 8, 8, 8, 3).mean(dim=(1, 3, 4)).flatten() for v in (one, other))
        assert np.corrcoef(a, b)[0, 1] > 0.8


def test_the_photo_is_degraded_before_it_is_cut(packs):
    """With one fixed size and no change of colours, a whole-photo view is the degraded photo itself, resized."""
    options = config(levels={"lq2": 1.0}, native=(1.0, 1.0), paste=0.0)
    batches = PairBatches(packs, [1.0], options)
    scenes = []
    original = batches._scene
    batches._scene = lambda rng: scenes.append(original(rng)) or scenes[-1]
    seeds = []

    class Spy(np.random.Generator):
        def integers(self, *args, **kwargs):
            seeds.append(super().integers(*args, **kwargs))
            return seeds[-1]

    item = batches._pair(Spy(np.random.PCG64(0)))
    photo, mask = scenes[0]
    degraded = apply(Sample("pair", photo, mask), parse_level("lq2"), int(seeds[-2]), "train").image
    view, _ = random_view(degraded, mask, 64, ViewConfig(scale=options.scale), np.random.default_rng(int(seeds[-1])))
    assert np.array_equal(item["pixels"], view)


def test_levels_are_drawn_by_their_shares(packs):
    options = config(levels={"clear": 1.0, "lq1": 3.0}, batch_size=200, image_size=32)
    share = float((PairBatches(packs, [1.0], options)[0]["levels"] == 1).float().mean())
    assert share == pytest.approx(0.75, abs=4 * np.sqrt(0.75 * 0.25 / 200))


def test_level_table_expands_kinds_and_leaves_moving_ones_out():
    levels, shares = level_table({"clear": 1.0, "real:all:4": 1.0})
    names = [str(level) for level in levels]
    assert "real:haze:4" in names
    assert not any("rolling_motion" in name for name in names)
    assert shares[0] == pytest.approx(0.5)
    assert shares.sum() == pytest.approx(1.0)
    assert [severity(parse_level(t)) for t in ("clear", "lq2", "real:haze:5")] == [0.0, 2.0, 3.0]


def test_stages_that_need_no_common_pixels_take_moving_kinds_too():
    names = [str(level) for level in level_table({"real:all:4": 1.0}, takes_moved=True)[0]]
    assert "real:rolling_motion:4" in names
    assert [str(level) for level in level_table({"real:rolling_motion:3": 1.0}, takes_moved=True)[0]] == [
        "real:rolling_motion:3"
    ]


def test_a_kind_that_counts_as_clear_must_exist(packs):
    with pytest.raises(ConfigError, match="did you mean"):
        PairBatches(packs, [1.0], config(as_clear=["real:hase"]))


def test_data_whose_objects_are_too_small_are_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("glesam.train.feed.views._MOST_DRAWS", 5)
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
        picture = np.zeros((400, 400), np.uint8)
        picture[200:202, 200:202] = 1
        cv2.imwrite(str(tmp_path / part / "a.png"), picture)
    packs = [pack(FolderDataset(tmp_path), tmp_path / "packs")]
    options = config(prompts=2, paste=0.0, scale=(0.4, 0.5))
    with pytest.raises(DataError, match="at least 100 pixels, got none in 5"):
        PairBatches(packs, [1.0], options)[0]
    assert PairBatches(packs, [1.0], config(paste=0.0))[0]["clean"].shape == (4, 64, 64, 3)  # needs no object
    with pytest.raises(DataError, match="larger objects"):
        TrainingBatches(packs, [1.0], BaseConfig(paste=0.0, phases=options.phases))[0]


def test_all_leaves_out_what_is_left_out():
    names = [str(level) for level in level_table({"real:all:4": 1.0}, leave_out=["real:haze"])[0]]
    assert "real:defocus:4" in names
    assert "real:haze:4" not in names
    with pytest.raises(ConfigError, match=r"without real:haze.*got real:haze:2"):
        level_table({"real:haze:2": 1.0}, leave_out=["real:haze"])
    with pytest.raises(ConfigError, match="did you mean"):
        level_table({"lq1": 1.0}, leave_out=["real:hase"])


def test_kinds_that_need_no_restoring_count_as_clear(packs):
    assert [severity(parse_level(t), ["real:haze"]) for t in ("real:haze:4", "real:defocus:5", "lq2")] == [
        0.0,
        3.0,
        2.0,
    ]
    options = config(levels={"real:haze:4": 1.0}, as_clear=["real:haze"], batch_size=4, image_size=32)
    batch = PairBatches(packs, [1.0], options)[0]
    assert batch["levels"].tolist() == [0.0] * 4
    assert not torch.equal(batch["clean"], batch["pixels"])


@pytest.mark.parametrize(
    ("shares", "words"),
    [
        ({"real:rolling_motion:3": 1.0}, "moved"),
        ({"lq7": 1.0}, "lq7"),
        ({"lq1": 0.0}, "positive sum"),
        ({"lq1": float("nan"), "lq2": 1.0}, "positive sum"),
        ({"lq1": float("inf")}, "positive sum"),
        ({"lq1": 1.0, "lq2": -0.5}, "at least 0"),
        ({}, "positive sum"),
    ],
)
def test_impossible_levels_are_refused(shares, words):
    with pytest.raises(ConfigError, match=words):
        level_table(shares)


def test_pasted_objects_become_new_ids_in_photos_of_any_shape(packs):
    from glesam.train.feed.pairs import _paste

    sample = packs[0][0]
    wide = np.ascontiguousarray(sample.image[:60]), np.ascontiguousarray(sample.mask[:60])
    tall = np.ascontiguousarray(sample.image[:, :60]), np.ascontiguousarray(sample.mask[:, :60])
    for photo, mask in (wide, tall):
        before = photo.copy(), mask.copy()
        fresh = mask.max() + 1
        seen = 0
        for seed in range(8):
            image, ids = _paste(photo, mask, sample.image, sample.mask, np.random.default_rng(seed))
            assert image.shape == photo.shape
            changed = ids != mask
            assert set(ids[changed]) <= {fresh}
            seen += bool(changed.any())
        assert seen >= 4
        assert np.array_equal(photo, before[0])
        assert np.array_equal(mask, before[1])


def test_cached_latents_are_those_of_the_views_and_are_found_again(packs, model, tmp_path):
    options = config(cached_pairs=10)
    pairs = PairBatches(packs, [1.0], options)
    calls = []
    folder = cache_latents(model, pairs, tmp_path, lambda done, total: calls.append((done, total)))
    assert calls == [(1, 3), (2, 3), (3, 3)]
    live = [pair_latents(model, pairs[step]) for step in range(3)]
    clean, degraded = (torch.cat([pair[i] for pair in live]) for i in (0, 1))
    stored = np.memmap(folder / "clean.bin", np.float16, "r").reshape(clean.shape)
    np.testing.assert_allclose(stored, clean.numpy(), atol=4e-3)
    stored = np.memmap(folder / "degraded.bin", np.float16, "r").reshape(degraded.shape)
    np.testing.assert_allclose(stored, degraded.numpy(), atol=4e-3)
    assert cache_latents(model, pairs, tmp_path, lambda done, total: pytest.fail("encoded again")) == folder
    assert cache_latents(model, PairBatches(packs, [1.0], config(cached_pairs=10, seed=5)), tmp_path) != folder
    stream = pair_stream(model, pairs, tmp_path)
    assert cache_latents(model, Moved(packs, [1.0], Moving(**options.model_dump())), tmp_path) != folder
    batch, again = stream[2], pair_stream(model, pairs, tmp_path)[2]
    assert all(torch.equal(batch[k], again[k]) for k in batch)
    assert not torch.equal(batch["clean_latent"], stream[3]["clean_latent"])
    assert len(stream) == 5
    row = int(np.flatnonzero((clean.half() == batch["clean_latent"][0]).flatten(1).all(dim=1).numpy())[0])
    assert torch.equal(degraded[row].half(), batch["degraded_latent"][0])
    assert pair_stream(model, PairBatches(packs, [1.0], config()), tmp_path).__class__ is PairBatches


def test_sets_named_alike_do_not_share_latents(model, tmp_path):
    folders = []
    for number in range(2):
        data = photo_set(tmp_path / str(number) / "photos")
        first = sorted((data.root / "masks").iterdir())[0]
        if number:
            mask = cv2.imread(str(first), cv2.IMREAD_UNCHANGED)
            cv2.imwrite(str(first), np.roll(mask, 3, axis=0))
        packs = [pack(data, tmp_path / "packs")]
        folders.append(cache_latents(model, PairBatches(packs, [1.0], config(cached_pairs=4)), tmp_path / "cache"))
    assert folders[0] != folders[1]


def test_latent_statistics_are_those_of_numpy(packs, model):
    pairs = PairBatches(packs, [1.0], config())
    measured = latent_statistics(model, pairs, 7)
    views = torch.cat([pairs[0]["clean"], pairs[1]["clean"]])
    with torch.no_grad():
        latent = model.encode(view_pixels(model, views)).latent.numpy()
    assert measured["channels"] == 256
    assert measured["std"] == pytest.approx(latent.std(ddof=1), rel=1e-5)
    summed = sum(latent[:, 4 * k : 4 * k + 4] for k in range(64))
    assert measured["sum_std"] == pytest.approx(summed.std(ddof=1), rel=1e-5)


def test_validation_levels_share_photos_and_masks(data, model):
    low = DegradedSet(data, LEVELS[3], 0)
    assert (len(low), low.names) == (len(data), data.names)
    assert np.array_equal(low[1].mask, data[1].mask)
    assert np.array_equal(low[1].image, DegradedSet(data, LEVELS[3], 0)[1].image)
    assert not np.array_equal(low[1].image, data[1].image)
    found = list(level_latents(model, data, 2, 0))
    assert len(found) == 2
    levels, latents = found[0]
    assert [str(level) for level in levels] == ["clear", "lq1", "lq2", "lq3"]
    torch.testing.assert_close(latents[:1], model.encode(model.preprocess(data[0].image)[0]).latent)
    assert all(not torch.equal(latents[0], other) for other in latents[1:])


def test_enhanced_model_enhances_the_latent_alone(data, model):
    pixels, _ = model.preprocess(data[0].image)
    doubled = EnhancedModel(model, torch.nn.Conv2d(256, 256, 1, groups=256, bias=False))
    torch.nn.init.constant_(doubled.enhancer.weight, 2.0)
    plain, enhanced = EnhancedModel(model).encode(pixels), doubled.encode(pixels)
    torch.testing.assert_close(enhanced.latent, 2 * plain.latent)
    assert all(torch.equal(a, b) for a, b in zip(plain.skips, enhanced.skips, strict=True))


def test_frozen_parts_stay_in_evaluation_mode_and_out_of_the_optimiser():
    learner = torch.nn.Sequential(torch.nn.Linear(2, 2), torch.nn.LayerNorm(2), torch.nn.Embedding(3, 2))
    objective = FrozenPartsObjective(learner, part=torch.nn.Linear(2, 2))
    objective.train()
    assert learner.training
    assert not objective.frozen["part"].training
    groups = decay_groups([objective, learner], 0.1, 0.5)
    assert [(len(g["params"]), g["weight_decay"]) for g in groups] == [(1, 0.5), (4, 0.0)]


def test_state_digest_tells_weights_apart():
    first = torch.nn.Linear(3, 3)
    second = torch.nn.Linear(3, 3)
    second.load_state_dict(first.state_dict())
    assert state_digest(first) == state_digest(second)
    second.bias.data[1] += 1e-7
    assert state_digest(first) != state_digest(second)
