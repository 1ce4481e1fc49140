"""The amodal stage: what is hidden is known, and the network learns to complete drawn discs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from glesam.amodal.network import AmodalNetwork
from glesam.data.base import Sample
from glesam.errors import ConfigError
from glesam.train.config import AmodalConfig
from glesam.train.feed.occluded import LEAST, MOST, CutOut, OccludedBatches, compressed, cut_out, faulty, occlude
from glesam.train.loop import Trainer
from glesam.train.stages.amodal import AmodalObjective, AmodalStage

DISC = np.hypot(*(np.mgrid[:128, :128] - 63.5)) < 36


class Discs:
    """A bright disc on grey in each image, of some size and place."""

    name, key = "discs", "discs"

    def __init__(self, count: int = 12) -> None:
        self.names = [str(i) for i in range(count)]

    def __len__(self) -> int:
        return len(self.names)

    def __getitem__(self, index: int) -> Sample:
        rng = np.random.default_rng(index)
        x, y = rng.integers(44, 84, 2)
        mask = np.hypot(*(np.mgrid[:128, :128] - np.array([y, x])[:, None, None])) < rng.integers(20, 40)
        image = np.where(mask[..., None], np.uint8(210), np.uint8(90)) + rng.integers(0, 20, (128, 128, 3), np.uint8)
        return Sample(str(index), image.astype(np.uint8), mask.astype(np.int32))


def _backbone(pixels: Tensor) -> list[Tensor]:
    light = pixels.mean(dim=1, keepdim=True)
    both = torch.cat([light, 1 - light], dim=1)
    return [torch.nn.functional.avg_pool2d(both, stride) for stride in (4, 8, 16, 32)]


def _config(**options: object) -> AmodalConfig:
    values = {"side": 64, "hidden": 16, "batch_size": 8, "steps": 60, "warmup": 5, "workers": 0, "ema": 0.9}
    return AmodalConfig.model_validate({**values, "lr": 5e-3, "data": {"discs": 1.0}, **options})


@pytest.mark.parametrize("seed", range(5))
def test_what_lies_over_an_object_hides_it(seed: int) -> None:
    rng = np.random.default_rng(seed)
    image = np.full((128, 128, 3), 10, np.uint8)
    bar = CutOut(np.full((12, 40, 3), 250, np.uint8), np.ones((12, 40), bool))
    scene = next(s for _ in range(99) if (s := occlude(image, DISC, bar, rng)) is not None)
    np.testing.assert_array_equal(scene.whole, DISC)
    hidden = scene.whole & ~scene.visible
    assert LEAST <= hidden.sum() / DISC.sum() <= MOST
    # The bar's pixels, less its softened edge, are exactly what is hidden.
    painted = scene.image[..., 0] > 130
    assert np.count_nonzero((painted & DISC) ^ hidden) <= 0.1 * hidden.sum() + 8
    assert (image == 10).all()


def test_what_lies_behind_hides_nothing() -> None:
    rng = np.random.default_rng(0)
    image = np.full((128, 128, 3), 10, np.uint8)
    bar = CutOut(np.full((12, 60, 3), 250, np.uint8), np.ones((12, 60), bool))
    scene = next(s for _ in range(99) if (s := occlude(image, DISC, bar, rng, behind=True)) is not None)
    np.testing.assert_array_equal(scene.visible, DISC)
    inner = np.hypot(*(np.mgrid[:128, :128] - 63.5)) < 34
    assert (scene.image[inner] == 10).all()
    assert (scene.image > 200).any()


def test_cut_outs_hold_their_object() -> None:
    part = cut_out(np.dstack([DISC.astype(np.uint8)] * 3), DISC)
    assert part.mask.shape == (72, 72)
    np.testing.assert_array_equal(part.pixels[..., 0] > 0, part.mask)


def test_batches_depend_on_seed_and_step_alone() -> None:
    stream = OccludedBatches([Discs()], [1.0], _config())  # type: ignore[list-item]
    batch, again = stream[3], stream[3]
    assert set(batch) == {"pixels", "visible", "whole", "inside"}
    assert batch["pixels"].shape == (8, 64, 64, 3)
    for name in batch:
        torch.testing.assert_close(batch[name], again[name])
    assert not torch.equal(batch["pixels"], stream[4]["pixels"])
    other = OccludedBatches([Discs()], [1.0], _config(seed=1))  # type: ignore[list-item]
    assert not torch.equal(batch["pixels"], other[3]["pixels"])
    for name in ("visible", "whole", "inside"):
        assert batch[name].shape == (8, 16, 16)
        assert (batch[name] >= 0).all()
        assert (batch[name] <= 1).all()
    assert ((batch["whole"] - batch["visible"]) > 0.5).any()


def test_shares_of_scenes_are_heeded() -> None:
    alone = OccludedBatches([Discs()], [1.0], _config(alone=1.0, behind=0.0))[0]  # type: ignore[list-item]
    assert (alone["whole"] - alone["visible"]).flatten(1).sum(dim=1).abs().max() < 20  # faults of the edge alone
    over = OccludedBatches([Discs()], [1.0], _config(alone=0.0, behind=0.0))[0]  # type: ignore[list-item]
    assert (over["whole"].sum(dim=(1, 2)) - over["visible"].sum(dim=(1, 2))).mean() > 5


def test_faulty_masks_are_near_the_true_ones() -> None:
    rng = np.random.default_rng(0)
    scores = []
    for _ in range(30):
        found = faulty(DISC, rng)
        scores.append(np.count_nonzero(found & DISC) / np.count_nonzero(found | DISC))
    assert 0.85 < min(scores) < 0.98
    image = np.random.default_rng(1).integers(0, 256, (32, 32, 3), np.uint8)
    assert compressed(image, rng).shape == image.shape


def test_the_network_learns_what_a_disc_is() -> None:
    stage = AmodalStage(_config(), [Discs()], _backbone)  # type: ignore[list-item]
    before = float(stage.objective(stage.batches(1)[0])["hidden"])
    optimiser = torch.optim.AdamW(stage.parameter_groups())
    batches = stage.batches(0)
    for step in range(60):
        optimiser.zero_grad()
        stage.objective(batches[step])["loss"].backward()
        optimiser.step()
    scores = [float(stage.objective(stage.batches(1)[step])["hidden"]) for step in range(5)]
    assert np.mean(scores) > before + 0.25


def test_losses_are_those_of_the_formula() -> None:
    stage = AmodalStage(_config(), [Discs()], _backbone)  # type: ignore[list-item]
    batch = stage.batches(0)[0]
    model = stage.objective.model
    maps = _backbone((batch["pixels"].permute(0, 3, 1, 2).float() - 127) / 128)[1:]
    share = model(maps, batch["visible"], batch["inside"]).sigmoid()
    whole = batch["whole"]
    each = -(whole * share.log() + (1 - whole) * (1 - share).log())
    weight = batch["inside"] * (1 - 0.8 * batch["visible"])
    found = AmodalObjective(model, _backbone)(batch)
    torch.testing.assert_close(found["bce"], ((each * weight).sum() / weight.sum()).detach(), rtol=1e-4, atol=1e-5)


class Light(torch.nn.Module):
    """The drawn backbone as a module with a weight."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = torch.nn.Parameter(torch.tensor(scale), requires_grad=False)

    def forward(self, pixels: Tensor) -> list[Tensor]:
        return _backbone(pixels * self.scale)


def test_a_run_is_not_resumed_on_another_backbone(tmp_path: Path) -> None:
    packs: list[Any] = [Discs()]
    Trainer(AmodalStage(_config(steps=2), packs, Light(1.0)), tmp_path).run()
    Trainer(AmodalStage(_config(steps=2), packs, Light(1.0)), tmp_path, resume=True)
    with pytest.raises(ConfigError, match="frozen weights"):
        Trainer(AmodalStage(_config(steps=2), packs, Light(2.0)), tmp_path, resume=True)


def test_a_run_saves_what_can_be_loaded(tmp_path: Path) -> None:
    stage = AmodalStage(_config(steps=2), [Discs()], _backbone)  # type: ignore[list-item]
    Trainer(stage, tmp_path).run()
    assert AmodalNetwork.from_pretrained(tmp_path / "model").options == {
        "channels": [2, 2, 2],
        "hidden": 16,
        "side": 64,
    }
