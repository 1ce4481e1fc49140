"""Heads learn on a frozen model of any family; what they learn from is drawn as the papers say."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from train_tiny import photo_set, resumes_exactly, tiny_model

from glesam.errors import ModelError
from glesam.heads.headed import HeadedModel
from glesam.heads.registry import load_head
from glesam.models.base import PromptTensors
from glesam.models.registry import load_model
from glesam.models.sam.sam2 import Sam2Promptable
from glesam.train.config import HeadConfig
from glesam.train.feed.large_scale import large_scale_view, noisy_mask
from glesam.train.feed.pack import pack
from glesam.train.feed.pairs import PairBatches
from glesam.train.loop import Trainer
from glesam.train.points import point_losses, uncertain_points, values_at
from glesam.train.stages.head import HeadObjective, HeadStage, robust_losses
from glesam.weights.folders import state_digest

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from models_tiny import sam2_tiny, sam_tiny
from test_models_mobile import mobile_tiny


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    root = tmp_path_factory.mktemp("photos")
    return [pack(photo_set(root), tmp_path_factory.mktemp("packs"))]


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Folders of a tiny model of each family."""
    root = tmp_path_factory.mktemp("models")
    tiny_model(root / "compact")
    sam_tiny().save_pretrained(root / "sam")
    Sam2Promptable(sam2_tiny()).save_pretrained(root / "sam2")
    mobile_tiny().save_pretrained(root / "mobile-sam")
    return root


def stage(photos, models, kind, family="compact", **changes):
    values = {"data": {"photos": 1.0}, "model": str(models / family), "kind": kind, "image_size": 64}
    values |= {
        "scale": (0.8, 1.2),
        "batch_size": 3,
        "steps": 40,
        "workers": 0,
        "warmup": 3,
        "ema": 0.8,
        "lr": 5e-3,
        "native": (1.0, 1.0),
    }
    values |= {"levels": {"clear": 1.0} if kind == "hq" else {"lq1": 1.0}, "points": 3}
    return HeadStage(HeadConfig(**{**values, **changes}), photos)


def held_out(made, model):
    objective = HeadObjective(model, made.config.prompt_kinds).eval()
    with torch.no_grad():
        torch.manual_seed(0)
        losses = [objective(made.batches(0)[9000 + i]) for i in range(3)]
    return {k: float(torch.stack([one[k] for one in losses]).mean()) for k in losses[0]}


@pytest.mark.parametrize(("kind", "family"), [("hq", "compact"), ("hq", "sam"), ("robust", "sam")])
def test_the_head_learns_and_the_base_stays(photos, models, tmp_path, kind, family):
    steps, lr = {"hqcompact": (40, 5e-3), "hqsam": (50, 1.5e-2)}.get(kind + family, (25, 5e-3))
    made = stage(photos, models, kind, family, steps=steps, lr=lr)
    base = made.objective.model.base
    before, start = state_digest(base), held_out(made, made.objective.model)
    trainer = Trainer(made, tmp_path / "run")
    trainer.run()
    after = held_out(made, made.objective.model)
    if kind == "hq":
        assert after["loss"] < 0.8 * start["loss"]
        assert after["iou"] > start["iou"] + 0.1
    else:
        # Features of degraded images come close to those of clean ones, and masks come nearer to the truth.
        assert after["features"] < 0.1 * start["features"]
        assert after["mask"] < 0.8 * start["mask"]
    assert state_digest(base) == before == state_digest(load_model(models / family))
    head = load_head(tmp_path / "run" / "model", load_model(models / family))
    assert state_digest(head) == state_digest(trainer.ema.head)
    assert HeadedModel(base, head).head.kind == kind


@pytest.mark.parametrize("family", ["compact", "sam2", "mobile-sam"])
@pytest.mark.parametrize("kind", ["hq", "robust"])
def test_heads_of_every_family_are_trained_and_saved(photos, models, tmp_path, kind, family):
    made = stage(photos, models, kind, family, steps=2)
    start = {name: value.clone() for name, value in made.objective.model.head.state_dict().items()}
    Trainer(made, tmp_path / "run").run()
    end = made.objective.model.head.state_dict()
    assert sum(not torch.equal(end[name], value) for name, value in start.items()) > 4
    base = load_model(models / family)
    assert state_digest(made.objective.model.base) == state_digest(base)
    head = load_head(tmp_path / "run" / "model", base)
    assert HeadedModel(base, head).head_kind == kind


def test_a_killed_run_resumes_to_the_same_losses(photos, models, tmp_path):
    resumes_exactly(lambda: stage(photos, models, "robust", "sam", steps=4), tmp_path, stop=2)


def test_no_gradient_flows_through_the_teacher(photos, models):
    made = stage(photos, models, "robust", "sam")
    head = made.objective.model.head
    shared = head.pixels.out[0].weight
    torch.manual_seed(0)
    made.objective(made.batches(0)[0])["loss"].backward()
    alone = shared.grad.clone()
    # The same losses with the teacher's tensors as plain numbers.
    head.zero_grad()
    seen = {}
    answer = type(head).answer

    def watch(self, *args, **kwargs):
        found = answer(self, *args, **kwargs)
        seen[bool(kwargs.get("clear"))] = found
        return found

    type(head).answer = watch
    try:
        torch.manual_seed(0)
        made.objective(made.batches(0)[0])
    finally:
        type(head).answer = answer
    assert not seen[True].features.requires_grad
    assert not seen[True].tokens.requires_grad
    targets = made.batches(0)[0]["masks"].flatten(0, 1).float()
    head.zero_grad()
    robust_losses(seen[False], seen[True], targets)["loss"].backward()
    assert torch.allclose(shared.grad, alone, rtol=1e-4, atol=1e-6)


def test_a_changed_base_is_not_saved(photos, models, tmp_path):
    made = stage(photos, models, "hq")
    next(made.objective.model.base.parameters()).data.add_(1)
    with pytest.raises(ModelError, match="stay as it was"):
        made.save(made.objective.model, tmp_path / "head")


def test_each_step_has_one_kind_of_prompt_and_all_come(photos, models):
    made = stage(photos, models, "hq")
    kinds = set()
    for step in range(12):
        batch = made.batches(0)[step]
        prompts = made.objective.prompts(batch)
        given = [name for name in ("point_coords", "boxes", "mask_input") if getattr(prompts, name) is not None]
        assert len(given) == 1
        kinds.add(given[0])
        masks, points = batch["masks"], batch["points"].round().long()
        for b, p in np.ndindex(*masks.shape[:2]):
            assert all(masks[b, p, y, x] == 1 for x, y in points[b, p].tolist())
    assert kinds == {"point_coords", "boxes", "mask_input"}


def test_degraded_views_are_mixed_where_that_is_asked_for(photos, models, monkeypatch):
    monkeypatch.setattr(PairBatches, "_mixed", lambda self, sample, degraded, rng: np.full_like(degraded, 9))
    for mixing in (0.0, 1.0):
        batch = stage(photos, models, "robust", mixing=mixing).batches(0)[0]
        inside = (batch["pixels"] != 127).any(dim=-1)  # beside the image a view is grey
        assert bool((batch["pixels"][inside] == 9).all()) == bool(mixing)
        assert not (batch["clean"][inside] == 9).all()


def test_prompts_are_in_the_frame_of_the_model(photos, models):
    small, large = stage(photos, models, "hq", "compact"), stage(photos, models, "hq", "sam", image_size=32)
    batch = large.batches(0)[0] | {"kind": torch.tensor(1)}
    prompts = large.objective.prompts(batch)
    assert torch.allclose(prompts.boxes, batch["boxes"] * 2)
    batch = small.batches(0)[0] | {"kind": torch.tensor(2)}
    assert isinstance(small.objective.prompts(batch), PromptTensors)
    assert small.objective.prompts(batch).mask_input.shape[-2:] == (16, 16)


def test_values_are_those_of_scipy():
    maps = torch.randn(2, 9, 13, generator=torch.Generator().manual_seed(0))
    places = 0.1 + 0.8 * torch.rand(2, 50, 2, generator=torch.Generator().manual_seed(1))
    for m in range(2):
        x, y = places[m, :, 0].numpy() * 13 - 0.5, places[m, :, 1].numpy() * 9 - 0.5
        wanted = map_coordinates(maps[m].numpy(), [y, x], order=1)
        assert np.allclose(values_at(maps, places)[m], wanted, atol=1e-5)


def test_three_quarters_of_the_points_are_the_most_uncertain():
    column = torch.linspace(-10, 10, 64)
    logits = column.expand(1, 64, 64)
    torch.manual_seed(3)
    places = uncertain_points(logits, 400)
    assert places.shape == (1, 400, 2)
    # Of 1200 uniform draws the 300 nearest to the edge at x = .5 lie within an eighth of the width.
    assert float((places[0, :300, 0] - 0.5).abs().max()) < 0.15
    assert float(((places[0, 300:, 0] - 0.5).abs() > 0.15).float().mean()) > 0.3


def test_point_losses_are_those_of_the_formula():
    logits = torch.full((2, 8, 8), 2.0)
    targets = torch.ones(2, 32, 32)
    torch.manual_seed(0)
    entropy, dice = point_losses(logits, targets, 200)
    torch.manual_seed(0)
    places = uncertain_points(logits, 200)
    seen, truth = values_at(logits, places).numpy(), values_at(targets, places).numpy()
    p = 1 / (1 + np.exp(-seen))
    assert float(entropy) == pytest.approx(-(truth * np.log(p) + (1 - truth) * np.log(1 - p)).mean(), rel=1e-4)
    overlap = 1 - (2 * (p * truth).sum(1) + 1) / (p.sum(1) + truth.sum(1) + 1)
    assert float(dice) == pytest.approx(overlap.mean(), rel=1e-4)
    flat = torch.zeros(1, 8, 8)
    entropy, _ = point_losses(flat, torch.zeros(1, 8, 8), 100)
    assert float(entropy) == pytest.approx(np.log(2), abs=1e-5)


def test_noise_comes_where_masks_are_fine_only():
    mask = torch.zeros(1, 1, 64, 64)
    mask[..., 16:48, 16:48] = 1
    torch.manual_seed(0)
    noisy = noisy_mask(mask)
    changed = (noisy != mask)[0, 0].numpy()
    assert 0.02 < changed.mean() < 0.2
    ys, xs = np.nonzero(changed)
    edge = np.minimum(np.minimum(abs(ys - 15.5), abs(ys - 47.5)), np.minimum(abs(xs - 15.5), abs(xs - 47.5)))
    assert edge.max() < 8
    assert set(noisy.unique().tolist()) == {0.0, 1.0}


def test_large_scale_views_crop_what_is_large_and_pad_what_is_small():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 255, (40, 40, 3)).astype(np.uint8)
    mask = np.zeros((40, 40), np.int32)
    mask[:20] = 3
    same, ids = large_scale_view(image, mask, 40, (1.0, 1.0), rng)
    assert np.array_equal(same, image) or np.array_equal(same, image[:, ::-1])
    assert np.array_equal(ids, mask)
    small, ids = large_scale_view(image, mask, 40, (0.5, 0.5), rng)
    assert (small[20:] == 127).all()
    assert (small[:, 20:] == 127).all()
    assert (ids[:10, :20] == 3).all()
    assert (ids > 0).sum() == 200
    large, ids = large_scale_view(image, mask, 40, (2.0, 2.0), rng)
    assert large.shape == (40, 40, 3)
    assert not (large == 127).all(axis=-1).any()
    one, two = (large_scale_view(image, mask, 24, (0.1, 2.0), np.random.default_rng(5)) for _ in range(2))
    assert np.array_equal(one[0], two[0])
