"""The gate's stage: it learns the level, the threshold keeps its promise on clean photos, a killed run resumes."""

import json

import numpy as np
import pytest
import torch
from train_tiny import losses_of, photo_set, resumes_exactly, tiny_model

from glesam.enhance.gate import DegradationGate
from glesam.train.config import GateConfig
from glesam.train.feed.latents import pair_latents
from glesam.train.feed.pack import pack
from glesam.train.loop import Trainer
from glesam.train.stages.frozen import state_digest
from glesam.train.stages.gate import GateStage, clear_threshold, gate_quality, ordinal_targets

HAZE = {"real:haze:5": 1.0}  # as bad as LQ-3, and even enough for a head on a random encoder to tell


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return photo_set(tmp_path_factory.mktemp("photos"))


@pytest.fixture(scope="module")
def parts(data, tmp_path_factory):
    root = tmp_path_factory.mktemp("parts")
    return [pack(data, root / "packs")], tiny_model(root / "model"), root / "cache"


def stage(parts, validation=None, **changes):
    packs, model, cache = parts
    values = {"data": {"photos": 1.0}, "model": str(model), "image_size": 64, "batch_size": 8, "steps": 80}
    values |= {"scale": (0.12, 0.14), "levels": HAZE, "workers": 0, "warmup": 5, "ema": 0.9, "lr": 5e-3}
    values |= {"fit_batches": 6, "cached_pairs": 96, "max_false_positive": 0.05, "clear_photos": 20}
    return GateStage(GateConfig(**{**values, **changes}), packs, validation, cache)


def test_the_gate_learns_the_level_and_keeps_its_promise(parts, tmp_path):
    made = stage(parts)
    before = state_digest(made.encoder)
    losses = losses_of(made, tmp_path / "run")
    assert np.mean(losses[-8:]) < 0.6 * np.mean(losses[:3])
    assert state_digest(made.encoder) == before
    gate = DegradationGate.from_pretrained(tmp_path / "run" / "model")
    clean, degraded = (torch.cat(views) for views in zip(*(unseen(made, k) for k in range(4)), strict=True))
    right = float((gate.levels(degraded) > gate.levels(clean)).float().mean())
    assert right > 0.8
    called = [float(gate.levels(latent.float())) >= gate.threshold for latent in made._clear]
    assert np.mean(called) <= 0.05
    assert gate.threshold >= 0.5


def test_the_threshold_is_that_of_whole_photos_as_the_predictor_encodes_them(parts):
    made = stage(parts, clear_photos=3)
    with torch.inference_mode():
        whole = [made.encoder.encode(made.encoder.prepare(made.packs[0][i].image)[0]).latent for i in range(6)]
    for latent in made._clear:
        assert any(latent.shape == one.shape and torch.allclose(latent.float(), one, atol=1e-2) for one in whole)


def unseen(made, step):
    from glesam.train.feed.pairs import PairBatches

    return pair_latents(made.encoder, PairBatches(made.packs, [1.0], made.config)[5000 + step])


def test_a_killed_run_resumes_to_the_same_losses(parts, tmp_path):
    resumes_exactly(lambda: stage(parts, steps=6), tmp_path / "cached", stop=2)
    live = {"steps": 3, "cached_pairs": 0, "fit_batches": 1, "batch_size": 2}
    resumes_exactly(lambda: stage(parts, **live), tmp_path / "live", stop=1)


def test_the_threshold_rises_until_clean_photos_pass(parts):
    made = stage(parts, max_false_positive=0.25)
    gate = made.objective.model
    values = torch.linspace(0.1, 2.0, len(made._clear))
    answers = iter(values)
    gate.levels = lambda latent: next(answers)[None]
    calibrated = made._calibrated(gate)
    assert float((values >= calibrated.threshold).float().mean()) <= 0.25
    assert float((values >= calibrated.threshold - 0.11).float().mean()) >= 0.25
    gate.levels = lambda latent: torch.zeros(1)
    assert made._calibrated(gate).threshold == 0.5


@pytest.mark.parametrize("count", [1, 7, 50, 256])
@pytest.mark.parametrize("allowed", [0.0, 0.02, 0.25, 0.9])
def test_the_threshold_is_the_lowest_under_which_few_enough_clear_photos_count(count, allowed):
    """By brute force, with levels that many photos share: as low as a level and a little, and no lower."""
    rng = np.random.default_rng(count)
    for _ in range(20):
        values = rng.integers(0, int(rng.integers(2, 200)), count) / 100
        found = clear_threshold(torch.tensor(values, dtype=torch.float32), 0.3, allowed)
        candidates = sorted({0.3, *(values + 1e-3)})
        fits = [t for t in candidates if t >= 0.3 and np.mean(values >= t) <= allowed]
        assert found == pytest.approx(fits[0], abs=1e-6)
        assert np.mean(values >= found) <= allowed
        assert np.mean(values.astype(np.float32) >= np.float32(found)) <= allowed


def test_the_default_bound_holds_for_the_default_number_of_photos():
    levels = torch.cat([torch.full((246,), 0.1), torch.linspace(0.6, 2, 10)])
    threshold = clear_threshold(levels, 0.5, 0.02)
    assert int((levels >= threshold).sum()) == 5  # of 256: 1.95 %; six would be 2.34


def test_quality_counts_by_hand(data, parts):
    made = stage(parts, fit_batches=1)

    class Known(DegradationGate):
        """Calls the four levels of a photo 0.4, 0.7, 2.2 and 2.9."""

        def levels(self, latent):
            return torch.tensor([0.4, 0.7, 2.2, 2.9])

    measured = gate_quality(Known(threshold=0.8), made.encoder, data, 2, 0)
    assert measured == {"accuracy": 1.0, "false_positive": 0.0, "missed_lq1": 1.0, "missed_lq2": 0.0, "missed_lq3": 0.0}
    assert gate_quality(Known(threshold=0.3), made.encoder, data, 2, 0)["false_positive"] == 1.0


def test_validation_is_logged(data, parts, tmp_path):
    made = stage(parts, data, steps=2, val="photos", val_images=1)
    Trainer(made, tmp_path / "run").run()
    last = json.loads((tmp_path / "run" / "log.jsonl").read_text().splitlines()[-1])
    assert {"val/accuracy", "val/false_positive", "val/missed_lq3"} <= set(last)


def test_targets_answer_three_questions():
    targets = ordinal_targets(torch.tensor([0.0, 1.0, 2.4, 3.0]))
    torch.testing.assert_close(
        targets, torch.tensor([[0.0, 0, 0], [1, 0, 0], [1, 1, 0.4], [1, 1, 1]]), rtol=0, atol=1e-6
    )


def test_a_quarter_of_the_loss_is_clean(parts):
    made = stage(parts, fit_batches=1, cached_pairs=0, batch_size=4)
    batch = made.batches(0)[0]
    clean, degraded = pair_latents(made.encoder, batch)
    gate = made.objective.model
    with torch.no_grad():
        p = [gate.odds(x).sigmoid().double().numpy() for x in (clean, degraded)]
    truth = [np.zeros_like(p[0]), np.ones_like(p[1])]  # as bad as LQ-3: yes to all three
    each = [-(t * np.log(q) + (1 - t) * np.log(1 - q)).mean() for t, q in zip(truth, p, strict=True)]
    assert made.objective(batch)["loss"].item() == pytest.approx(0.25 * each[0] + 0.75 * each[1], rel=1e-4)
