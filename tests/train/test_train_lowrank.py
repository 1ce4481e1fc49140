"""Low-rank adapters: against peft's, frozen weights that stay, learning on drawn shapes, a plain model in the end."""

from __future__ import annotations

import copy
from pathlib import Path

import peft
import pytest
import torch
from torch import nn
from train_tiny import photo_set

from glesam import load_model
from glesam.data.readers.folder import FolderDataset
from glesam.models.base import PromptTensors
from glesam.models.compact.model import CompactConfig, CompactModel
from glesam.train.config import BaseConfig, Phase
from glesam.train.feed.pack import pack
from glesam.train.loop import Trainer
from glesam.train.lowrank import attach, merged
from glesam.train.stages.base import BaseStage, build_model
from glesam.weights.folders import state_digest

PHASE = Phase(image_size=64, batch_size=2, steps=3, scale=(0.5, 0.7))


def drawn(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def fill_adapters(model: nn.Module) -> None:
    """Make them do something."""
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if name.endswith(".up"):
            parameter.data.normal_(std=0.1, generator=generator)


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved compact model of one block each, with a head for fine masks."""
    folder = tmp_path_factory.mktemp("start")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = CompactModel(CompactConfig("lite0", 64, attention_blocks=1, conv_blocks=1, prompt_maps=True, fine=True))
        for layer in model.encoder.modules():  # as in train_tiny: so that the image gets through
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                nn.init.zeros_(layer.bias) if layer.bias is not None else None
        model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> FolderDataset:
    return photo_set(tmp_path_factory.mktemp("lora") / "mine")


def options(start: Path, data: FolderDataset, **changes: object) -> BaseConfig:
    values = {"init": str(start), "data": {str(data.root): 1.0}, "lora": 4, "lr": 5e-3, "backbone_lr": 1.0, "warmup": 3}
    values |= {"ema": 0.5, "prompts": 2, "paste": 0.0, "refine": 0.0, "workers": 0, "phases": (PHASE,)}
    return BaseConfig(**{**values, **changes})


def test_answers_and_gradients_are_pefts() -> None:
    plain = nn.Sequential(nn.Linear(6, 5), nn.Unflatten(1, (5, 1, 1)), nn.Conv2d(5, 7, 3, padding=1), nn.Flatten())
    ours, theirs = copy.deepcopy(plain), copy.deepcopy(plain)
    attach(ours, ours, rank=2, seed=0)
    fill_adapters(ours)
    config = peft.LoraConfig(r=2, lora_alpha=2, target_modules=["0", "2"])
    theirs = peft.inject_adapter_in_model(config, theirs)
    for index in (0, 2):
        adapter = ours[index].parametrizations.weight[0]
        down, up = theirs[index].lora_A["default"].weight, theirs[index].lora_B["default"].weight
        down.data, up.data = adapter.down.detach().view_as(down).clone(), adapter.up.detach().view_as(up).clone()
    inputs = drawn(3, 6)
    for model in (ours, theirs):
        model(inputs).square().sum().backward()
    torch.testing.assert_close(ours(inputs), theirs(inputs))
    assert not torch.allclose(ours(inputs), plain(inputs), atol=1e-2)
    for index in (0, 2):
        adapter = ours[index].parametrizations.weight[0]
        theirs_up = theirs[index].lora_B["default"].weight.grad
        torch.testing.assert_close(adapter.up.grad, theirs_up.view_as(adapter.up.grad))
    torch.testing.assert_close(merged(ours)(inputs), ours(inputs))
    assert merged(plain) is plain


def test_groups_and_prompts_get_no_adapter_and_nothing_changes_at_first(start: Path, data: FolderDataset) -> None:
    model = build_model(options(start, data))
    learning = [name for name, parameter in model.named_parameters() if parameter.requires_grad]
    assert learning
    assert all(name.endswith((".up", ".down")) for name in learning)
    assert not [name for name in learning if "prompt" in name or "depthwise" in name]
    assert [part for part in ("encoder.backbone.", "encoder.neck.", "mask_decoder.", "fine.") if part in str(learning)]
    before = load_model(str(start)).state_dict()
    assert all(torch.equal(before[name], weight) for name, weight in merged(model).state_dict().items())


def test_both_ways_of_the_decoder_see_the_adapters(start: Path, data: FolderDataset) -> None:
    model = build_model(options(start, data)).eval()
    fill_adapters(model)
    pixels = drawn(1, 3, 96, 96)
    prompts = PromptTensors(torch.tensor([[[[30.0, 40.0]]]]), torch.ones(1, 1, 1, dtype=torch.long))
    answers = []
    for each, wanted in ((model, True), (model, False), (merged(model), False)):
        with torch.set_grad_enabled(wanted):
            answers.append(each.decode_all(each.encode(pixels), prompts)[0].detach())
    scale = answers[0].abs().max()
    assert ((answers[1] - answers[0]).abs().max() / scale) < 1e-3
    assert ((answers[2] - answers[1]).abs().max() / scale) < 1e-3


def test_it_learns(start: Path, data: FolderDataset, tmp_path: Path) -> None:
    stage = BaseStage(options(start, data), [pack(data, tmp_path / "c")])
    optimizer = torch.optim.AdamW(stage.parameter_groups(), lr=5e-3)
    batch, losses = stage.batches(0)[0], []
    for _ in range(12):
        loss = stage.objective(batch)["loss"]
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert min(losses[-2:]) < 0.8 * losses[0]


def test_weights_beside_the_adapters_stay_and_a_plain_model_is_saved(
    start: Path, data: FolderDataset, tmp_path: Path
) -> None:
    before = load_model(str(start))
    stage = BaseStage(options(start, data), [pack(data, tmp_path / "c")])
    trainer = Trainer(stage, tmp_path / "run")
    trainer.run()
    expected = {name: weight.clone() for name, weight in merged(trainer.ema).state_dict().items()}
    saved = load_model(str(tmp_path / "run" / "model"))
    for name, weight in saved.state_dict().items():
        torch.testing.assert_close(weight, expected[name].half().float())
    assert state_digest(saved) != state_digest(before)
    assert "low-rank adapters of rank 4" in (tmp_path / "run" / "model" / "README.md").read_text()
    kept = torch.load(tmp_path / "run" / "last.pt", weights_only=True)
    assert sum(each.numel() for each in kept["model"].values()) < 0.2 * sum(p.numel() for p in before.parameters())
    again = build_model(options(tmp_path / "run", data, lora=0))
    assert all(torch.equal(weight, expected[name]) for name, weight in again.state_dict().items())
    for model in (stage.objective.model, trainer.ema):
        for name, parameter in model.named_parameters():
            if name.endswith(".up"):
                parameter.data.zero_()
        assert state_digest(merged(model)) == state_digest(before), "what was frozen has changed"
