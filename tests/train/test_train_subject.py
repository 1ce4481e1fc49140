"""The subject stage: images kept aside are never trained on, and the head learns what a drawn world's subject is."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from train_tiny import photo_set

from glesam.data.base import Sample
from glesam.errors import ConfigError
from glesam.train.config import SubjectConfig
from glesam.train.loop import Trainer
from glesam.train.stages.subject import KeptFeatures, SubjectObjective, SubjectStage, open_sets


class Drawn:
    """A bright square on dark, and which images were read."""

    name = "drawn"

    def __init__(self, count: int) -> None:
        self.names = [f"image_{i}" for i in range(count)]
        self.read: set[str] = set()

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        self.read.add(self.names[index])
        y, x, side = rng.integers(0, 48), rng.integers(0, 60), rng.integers(24, 48)
        mask = np.zeros((96, 128), np.int32)
        mask[y : y + side, x : x + side] = 1
        image = np.where(mask[..., None] > 0, 220, 60) + rng.integers(-20, 20, (96, 128, 3))
        return Sample(self.names[index], image.astype(np.uint8), mask)


def _backbone(pixels: Tensor) -> list[Tensor]:
    fine = torch.nn.functional.avg_pool2d(torch.cat([pixels, pixels**2 + 0.1], dim=1), 16)
    return [fine, fine, fine, torch.nn.functional.avg_pool2d(fine, 2)]


def _config(**options: object) -> SubjectConfig:
    values = {
        "side": 128,
        "photos": 40,
        "steps": 60,
        "batch_size": 8,
        "hidden": 16,
        "workers": 0,
        "warmup": 5,
        "lr": 1e-2,
    }
    return SubjectConfig.model_validate({**values, "ema": 0.9, **options})


def _aside(name: str) -> bool:
    return int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5 == 0


def test_images_kept_aside_are_not_read_for_training() -> None:
    data = Drawn(30)
    batches = SubjectStage(_config(), [data], _backbone).batches(0)
    assert data.read == {name for name in data.names if not _aside(name)}
    batch = batches[3]
    assert batch["fine"].shape == (8, 6, 8, 8)
    assert batch["mask"].shape == (8, 16, 16)
    torch.testing.assert_close(batch["mask"], batches[3]["mask"])
    # 96 of 128 rows are image.
    assert batch["valid"][:, :12].all()
    assert not batch["valid"][:, 12:].any()


def test_mirrored_views_mirror_everything_alike() -> None:
    data = Drawn(1)
    stream = KeptFeatures(_backbone, [lambda: data[0]], _config(batch_size=16))
    batch = stream[0]
    turned = (batch["mask"] != batch["mask"][0]).flatten(1).any(dim=1)
    assert turned.any()
    index = int(turned.nonzero()[0])
    torch.testing.assert_close(batch["fine"][index], batch["fine"][0].flip(-1))
    torch.testing.assert_close(batch["coarse"][index], batch["coarse"][0].flip(-1))


class _Tagged(Drawn):
    """Images of one set are wholly covered, those of another not at all."""

    def __init__(self, count: int, covered: bool) -> None:
        super().__init__(count)
        self.covered = covered

    def __getitem__(self, index: int) -> Sample:
        sample = super().__getitem__(index)
        return Sample(sample.name, sample.image, np.full_like(sample.mask, self.covered))


def _share_of_first(shares: tuple[float, float], counts: tuple[int, int] = (40, 10)) -> tuple[float, float]:
    """Share of the first set in what 60 steps see, and its share of the images to train on."""
    first, second = _Tagged(counts[0], True), _Tagged(counts[1], False)
    config = _config(data={"a": shares[0], "b": shares[1]}, batch_size=32)
    batches = SubjectStage(config, [first, second], _backbone).batches(0)
    seen = torch.cat([batches[step]["mask"].flatten(1).amax(dim=1) for step in range(60)])
    free = [sum(not _aside(name) for name in data.names) for data in (first, second)]
    return float(seen.mean()), free[0] / sum(free)


def test_sets_are_seen_by_their_shares_and_images_alike_where_these_are_equal() -> None:
    for shares in ((0.9, 0.1), (1.0, 3.0)):
        found, _ = _share_of_first(shares)
        assert abs(found - shares[0] / sum(shares)) < 4 * np.sqrt(0.25 / 1920)
    found, expected = _share_of_first((1.0, 1.0))
    assert abs(found - expected) < 4 * np.sqrt(0.25 / 1920)
    assert abs(expected - 0.5) > 0.2


def test_equal_shares_draw_what_they_always_drew() -> None:
    data = Drawn(30)
    config = _config(data={"a": 2.0, "b": 2.0})
    batches = SubjectStage(config, [data, Drawn(20)], _backbone).batches(0)
    rng = np.random.default_rng([config.seed, 0, 5])
    chosen, mirrored = rng.integers(len(batches.parts[2]), size=8), rng.random(8) < 0.5
    expected = [
        batches.parts[2][i].flip(-1) if m else batches.parts[2][i] for i, m in zip(chosen, mirrored, strict=True)
    ]
    torch.testing.assert_close(batches[5]["mask"], torch.stack(expected))


def test_a_set_with_a_share_and_no_image_is_told() -> None:
    empty = Drawn(1)
    empty.names = [next(name for name in map(str, range(99)) if _aside(name))]
    with pytest.raises(ConfigError, match="to train on in b, got none that is not kept aside; leave the set out"):
        SubjectStage(_config(data={"a": 1.0, "b": 2.0}), [Drawn(5), empty], _backbone).batches(0)


class _Frozen(torch.nn.Module):
    """The backbone as a module of one weight."""

    def __init__(self, weight: float) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.tensor(weight), requires_grad=False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        return _backbone(pixels * self.weight)


@pytest.mark.parametrize("changed", ["mask", "aside", "backbone", "before"])
def test_a_run_is_resumed_on_its_images_and_its_backbone_only(tmp_path: Path, changed: str) -> None:
    photo_set(tmp_path / "set")
    config = _config(data={str(tmp_path / "set"): 1.0}, steps=2)

    def trainer(weight: float, resume: bool) -> Trainer:
        return Trainer(SubjectStage(config, open_sets(config), _Frozen(weight)), tmp_path / "run", resume)

    trainer(1.0, False).run()
    masks = [tmp_path / "set/masks" / f"{i}.png" for i in range(6)]
    mask, aside = (next(path for path in masks if _aside(path.stem) == side) for side in (False, True))
    path = {"mask": mask, "aside": aside}.get(changed)
    if path is not None:
        Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    if changed == "before":  # a checkpoint of a time that noted neither
        state = torch.load(tmp_path / "run/last.pt", weights_only=True)
        torch.save({k: v for k, v in state.items() if k not in ("images", "models")}, tmp_path / "run/last.pt")
    said = {"mask": "expected the images and masks that the run .* got others in set;", "backbone": "frozen weights"}
    weight = 1.5 if changed in ("backbone", "before") else 1.0
    if changed in said:
        with pytest.raises(ConfigError, match=said[changed]):
            trainer(weight, True)
    else:
        assert trainer(weight, True).step == 2


def test_the_head_learns_the_drawn_subject(tmp_path) -> None:  # type: ignore[no-untyped-def]
    stage = SubjectStage(_config(val_images=10), [Drawn(60)], _backbone)
    before = stage.validate(stage.objective.model)["iou_aside"]
    trainer = Trainer(stage, tmp_path / "run")
    after = trainer.run()["iou_aside"]
    assert after == stage.validate(trainer.ema)["iou_aside"]
    assert after > 0.6
    assert after > before + 0.2
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()


class _Answers(torch.nn.Module):
    """Gives maps that are known."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__()
        self.logits = logits

    def forward(self, fine: Tensor, coarse: Tensor) -> Tensor:
        return self.logits


def test_dice_is_the_mean_of_each_images_own() -> None:
    """One large and one small thing: pooled over the batch, the small one would hardly count."""
    rng = np.random.default_rng(0)
    logits, mask, valid = rng.normal(size=(2, 8, 8)), np.zeros((2, 8, 8)), np.ones((2, 8, 8))
    mask[0, :7, :6], mask[1, 1, 1] = 1, 1
    valid[1, 6:] = 0
    batch = {"fine": np.zeros(1), "coarse": np.zeros(1), "mask": mask, "valid": valid}
    found = SubjectObjective(_Answers(torch.from_numpy(logits)))({k: torch.from_numpy(v) for k, v in batch.items()})  # type: ignore[arg-type]
    expected = []
    for one, truth, inside in zip(logits, mask, valid, strict=True):
        p = np.where(inside > 0, 1 / (1 + np.exp(-one)), 0)
        expected.append(1 - (2 * (p * truth).sum() + 1) / (p.sum() + truth.sum() + 1))
    np.testing.assert_allclose(found["dice"].item(), np.mean(expected), rtol=1e-6)
    entropy = np.logaddexp(0, logits) - logits * mask
    np.testing.assert_allclose(found["bce"].item(), (entropy * valid).sum() / valid.sum(), rtol=1e-6)
