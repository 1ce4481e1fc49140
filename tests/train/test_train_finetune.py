"""Fine-tuning: lengths and defaults, the mean with the start, what is saved, what is said, and the base's enhancer."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from huggingface_hub import ModelCard
from safetensors.torch import load_file
from train_tiny import photo_set
from typer.testing import CliRunner

from glesam import Predictor, load_model
from glesam.cli import app
from glesam.errors import ConfigError, ModelError
from glesam.models.compact.model import CompactConfig, CompactModel
from glesam.models.registry import bundled_enhancer
from glesam.train.config import FINE_TUNING, LORA_TUNING, BaseConfig, Phase, read_config
from glesam.train.loop import Trainer
from glesam.train.stages.base import BaseStage

PHASES = [{"image_size": 96, "batch_size": 2, "steps": 5}]


@pytest.fixture(scope="module")
def start(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A saved compact model of one block each, with a head for fine masks."""
    folder = tmp_path_factory.mktemp("start")
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        CompactModel(
            CompactConfig("lite0", 128, attention_blocks=1, conv_blocks=1, prompt_maps=True, fine=True)
        ).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tune") / "mine"
    photo_set(folder)
    return folder


def run(*words: object) -> str:
    result = CliRunner().invoke(app, ["train", "base", *map(str, words)])
    assert result.exit_code == 0, result.output
    return result.stderr


@pytest.mark.parametrize(("lengths", "total", "expected"), [((300,), 40, [40]), ((250, 120, 30), 40, [25, 12, 3])])
def test_steps_stretch_the_phases(lengths: tuple[int, ...], total: int, expected: list[int]) -> None:
    phases = tuple(Phase(image_size=96, batch_size=2, steps=n) for n in lengths)
    config = BaseConfig(phases=phases, steps=total)
    assert [phase.steps for phase in config.phases] == expected
    again = BaseConfig.model_validate_json(config.model_dump_json())
    assert again == config


def test_what_cannot_be_is_refused() -> None:
    with pytest.raises(ConfigError, match="too few for 2 phases"):
        read_config(BaseConfig, None, {"steps": 1})
    for option in ({"average": 0.5}, {"lora": 4}):
        with pytest.raises(ConfigError, match="weights that init names, and there are none"):
            read_config(BaseConfig, None, option)


def test_the_command_tunes_from_a_model(start: Path, data: Path, tmp_path: Path) -> None:
    config = tmp_path / "c.json"
    config.write_text(json.dumps({**FINE_TUNING, "phases": PHASES}))
    words = [
        "--init",
        start,
        "--data",
        data,
        "--config",
        config,
        "--steps",
        2,
        "--workers",
        0,
        "--cache",
        tmp_path / "c",
    ]
    run(*words, "--out", tmp_path / "half", "--average", 0.25)
    run(*words, "--out", tmp_path / "whole", "--average", 0)
    made = [
        load_file(folder / "model.safetensors") for folder in (start, tmp_path / "half/model", tmp_path / "whole/model")
    ]
    changed = 0
    for name, before in made[0].items():
        expected = 0.25 * before.float() + 0.75 * made[2][name].float()
        torch.testing.assert_close(made[1][name].float(), expected, atol=2e-3, rtol=2e-3)
        changed += int(not torch.equal(before.half(), made[2][name]))
    assert changed > 10
    assert not any(
        k.startswith("fine.") and torch.equal(made[0][k].half(), v) for k, v in made[2].items() if "weight" in k
    )
    meta = ModelCard.load(tmp_path / "half" / "model" / "README.md")
    assert meta.data.library_name == "glesam"
    assert "mine: 100% of the views" in meta.text
    assert "2 steps" in meta.text


def test_a_start_alone_brings_the_options_of_fine_tuning(
    start: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[BaseConfig] = []
    monkeypatch.setattr(Trainer, "run", lambda self: seen.append(self.stage.config) or {})
    run("--init", start, "--data", data, "--steps", 7, "--out", tmp_path / "a", "--cache", tmp_path / "c")
    assert seen[0].average == FINE_TUNING["average"]
    assert seen[0].lr == FINE_TUNING["lr"]
    assert [phase.steps for phase in seen[0].phases] == [7]
    assert seen[0].fine, "the model's head for fine masks learns too"
    run("--init", start, "--lora", 4, "--data", data, "--out", tmp_path / "l", "--cache", tmp_path / "c")
    expected = BaseConfig(**{**FINE_TUNING, **LORA_TUNING, "init": str(start), "lora": 4, "fine": True})
    assert seen.pop().model_dump(exclude={"data"}) == expected.model_dump(exclude={"data"})
    run("--data", data, "--backbone", "lite0", "--out", tmp_path / "b", "--cache", tmp_path / "c", "--no-pretrained")
    assert seen[1].average == 0
    assert seen[1].lr == BaseConfig().lr


def test_a_name_is_a_start_too_and_another_family_is_none(start: Path, tmp_path: Path) -> None:
    stage = BaseStage(BaseConfig(init="compact", phases=tuple(Phase(**p) for p in PHASES)), [])
    expected = load_model("compact").state_dict()
    assert all(torch.equal(stage.objective.model.state_dict()[name], value) for name, value in expected.items())


def test_an_interrupt_names_the_way_on(
    start: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    step = Trainer._train_step

    def interrupted(self: Trainer, batch: dict) -> dict:
        done = step(self, batch)
        if self.step == 2:
            signal.raise_signal(signal.SIGINT)
        return done

    monkeypatch.setattr(Trainer, "_train_step", interrupted)
    config = tmp_path / "c.json"
    config.write_text(json.dumps({"phases": PHASES}))
    words = ["train", "base", "--init", start, "--data", data, "--config", config, "--out", tmp_path / "run"]
    result = CliRunner().invoke(app, [*map(str, words), "--workers", "0", "--cache", str(tmp_path / "c")])
    assert result.exit_code == 130
    assert "at step 2 of 5; the same command with --resume continues" in result.stderr


def test_validation_is_announced(start: Path, data: Path, tmp_path: Path) -> None:
    from glesam.data.readers.folder import FolderDataset
    from glesam.train.feed.pack import pack

    said: list[str] = []
    config = BaseConfig(
        init=str(start), data={str(data): 1.0}, val=str(data), workers=0, val_images=1, steps=1, phases=PHASES
    )
    dataset = FolderDataset(data)
    stage = BaseStage(config, [pack(dataset, tmp_path / "c")], dataset)
    measured = Trainer(stage, tmp_path / "run", on_validate=lambda: said.append("validating")).run()
    assert said == ["validating"]
    assert set(measured) == {"points3", "box"}


def test_the_enhancer_of_the_base_is_for_a_tuned_base_too_with_a_word(tmp_path: Path) -> None:
    model = load_model("compact")
    with torch.no_grad():
        for parameter in model.mask_decoder.parameters():
            parameter.mul_(1.001)
    model.save_pretrained(tmp_path / "tuned")
    bundle = bundled_enhancer("compact")
    with pytest.raises(ModelError, match="enhancer='compact'"):
        Predictor.from_pretrained(tmp_path / "tuned", enhancer=bundle)
    with pytest.warns(UserWarning, match="without what this model learned"):
        predictor = Predictor.from_pretrained(tmp_path / "tuned", enhance="on", enhancer="compact")
    rng = np.random.default_rng(0)
    predictor.set_image(rng.integers(0, 255, (96, 128, 3), dtype=np.uint8))
    assert predictor.predict(points=[[60, 40]]).info["enhanced"]
