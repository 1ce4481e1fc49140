"""The study's plan and table: commands that exist, nothing trained twice, numbers against hand-made rows."""

from __future__ import annotations

import dataclasses
import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from glesam.cli import load_verb
from glesam.enhance.bundle import read_rules
from glesam.evaluate.measure.records import Row, to_csv
from glesam.train.config import (
    AutoencoderConfig,
    DecoderConfig,
    EnhancerConfig,
    GateConfig,
    HeadConfig,
    PriorConfig,
    RestorerConfig,
    read_config,
)

ROOT = Path(__file__).parents[2]
KINDS = {
    "autoencoder": AutoencoderConfig,
    "prior": PriorConfig,
    "enhancer": EnhancerConfig,
    "decoder": DecoderConfig,
    "gate": GateConfig,
}


@pytest.fixture(scope="module")
def study() -> Any:
    sys.path.insert(0, str(ROOT / "benchmarks"))
    try:
        spec = importlib.util.spec_from_file_location("study", ROOT / "benchmarks" / "study.py")
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
    finally:
        sys.path.remove(str(ROOT / "benchmarks"))
    return module


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("folder", ["configs/study/{}.json", "configs/compact-{}.json"])
def test_configurations_are_valid_and_train_on_the_same_sets(name: str, folder: str) -> None:
    config = read_config(KINDS[name], ROOT / folder.format(name), {})
    runs = ("compact-base-continued.json", "compact-base-rounds.json")
    known = {name for run in runs for name in json.loads((ROOT / "configs" / run).read_text())["data"]}
    assert set(config.data) <= known


@pytest.mark.parametrize(("name", "kind"), [("hq", HeadConfig), ("robust", HeadConfig), ("restorer", RestorerConfig)])
def test_other_ways_see_as_many_views_as_both_stages_of_an_enhancer(name: str, kind: type[Any]) -> None:
    config = read_config(kind, ROOT / "configs" / "study" / f"{name}.json", {})
    stages = [
        read_config(KINDS[each], ROOT / "configs" / "study" / f"{each}.json", {}) for each in ("enhancer", "decoder")
    ]
    assert config.steps * config.batch_size == sum(each.steps * each.batch_size for each in stages)
    assert (config.data, config.kept_aside) == (stages[1].data, stages[1].kept_aside)
    if name != "hq":  # which learns from clear images
        assert config.levels == stages[1].levels


def flags_of(command: tuple[str, ...]) -> set[str]:
    return {word for word in command if word.startswith("--")}


@pytest.mark.parametrize("quick", [False, True])
def test_every_command_has_the_flags_that_it_is_given(study: Any, tmp_path: Path, quick: bool) -> None:
    plan = study.Plan(tmp_path, ROOT / "configs" / "study", data=("x=y",), limit=3, quick=quick)
    train, evaluate = load_verb("train"), load_verb("evaluate")
    options = {name: {o for p in verb.params for o in p.opts} for name, verb in train.commands.items()}
    known = options | {"evaluate": {o for p in evaluate.params for o in (*p.opts, *p.secondary_opts)}}
    for variant in study.VARIANTS:
        for task in plan.tasks(variant):
            name = task.command[1] if task.command[0] == "train" else "evaluate"
            assert flags_of(task.command) <= known[name], task.name


def test_each_part_comes_before_what_uses_it_and_is_made_once(study: Any, tmp_path: Path) -> None:
    plan = study.Plan(tmp_path, ROOT / "configs" / "study")
    assert len({variant.key for variant in study.VARIANTS}) == len(study.VARIANTS)
    assert {variant.key[0] for variant in study.VARIANTS} >= set("abcdefghijkl")
    commands: dict[str, tuple[str, ...]] = {}
    for variant in study.VARIANTS:
        made: set[str] = set()
        for task in plan.tasks(variant):
            used = [word for word in task.command if word.startswith(str(tmp_path)) and "--out" not in word]
            own = task.command[task.command.index("--out") + 1]
            for path in used:
                if path != own and "rules" not in path:
                    assert any(path.startswith(each) for each in made), (task.name, path)
            made.add(own)
            assert commands.setdefault(task.name, task.command) == task.command
    trainings = [name for name, command in commands.items() if command[0] == "train" and command[1] != "bundle"]
    assert len(trainings) == len(set(trainings))
    for variant in study.VARIANTS:
        if variant.rules:
            study.prepare(plan, variant)
            assert read_rules(tmp_path / "rules" / f"{variant.key}.json")


@pytest.fixture
def ran(study: Any, monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Commands that a study has run; they only make their folders."""
    found: list[list[str]] = []

    def pretend(arguments: list[str], check: bool) -> None:
        found.append(arguments[3:])
        Path(arguments[arguments.index("--out") + 1]).mkdir(parents=True, exist_ok=True)

    monkeypatch.setattr(study.subprocess, "run", pretend)
    return found


def test_a_finished_training_is_not_run_again_and_an_evaluation_sees_for_itself(
    study: Any, tmp_path: Path, ran: list[list[str]]
) -> None:
    plan = study.Plan(tmp_path, ROOT / "configs" / "study")
    variant = next(v for v in study.VARIANTS if v.key == "e-full")
    study.run(plan, [variant])
    commands = [list(task.command) for task in plan.tasks(variant)]
    assert ran == commands
    study.run(plan, [variant])
    assert ran[len(commands) :] == commands[-1:]
    assert commands[-1][0] == "evaluate"
    assert "--overwrite" in commands[-1]
    study.run(dataclasses.replace(plan, limit=7), [variant])
    assert [command[0] for command in ran[len(commands) + 1 :]] == ["evaluate"]
    assert ran[-1][-2:] == ["--limit", "7"]


@pytest.mark.parametrize("change", [{"quick": True}, {"prior": Path("another")}, {"model": "runs/base"}])
def test_trainings_of_another_set_up_are_refused(
    study: Any, tmp_path: Path, ran: list[list[str]], change: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    plan = study.Plan(tmp_path, ROOT / "configs" / "study", prior=Path("a"))
    variant = next(v for v in study.VARIANTS if v.key == "d")
    study.run(plan, [variant])
    study.report(plan, [variant])
    assert capsys.readouterr().out.endswith("d: measured\n")
    count, other = len(ran), dataclasses.replace(plan, **change)
    with pytest.raises(SystemExit, match="choose another --out"):
        study.run(other, [variant])
    assert len(ran) == count
    study.report(other, [variant])
    assert "steps missing" in capsys.readouterr().out


def test_other_weights_under_the_same_name_are_another_set_up(study: Any, tmp_path: Path, ran: list[list[str]]) -> None:
    base = tmp_path / "base"
    base.mkdir()
    plan = study.Plan(tmp_path / "out", ROOT / "configs" / "study", prior=Path("a"), model=str(base))
    for weights in (b"first", b"second"):
        (base / "model.safetensors").write_bytes(weights)
        study.base_digest.cache_clear()
        if weights == b"first":
            study.run(plan, [study.VARIANTS[0], next(v for v in study.VARIANTS if v.key == "d")])
    with pytest.raises(SystemExit, match="choose another --out"):
        study.run(plan, [next(v for v in study.VARIANTS if v.key == "d")])
    measured = [v for v in study.VARIANTS if v.key in "ad"]
    for variant in measured:
        plan.rows(variant).write_text(to_csv(rows(variant.key, {"clear": [0.9, 0.8], "lq3": [0.7, 0.6]})))
    assert "| d |" in study.write_table(plan, measured).read_text()
    study.run(plan, measured[:1])  # the base anew, with the second weights
    assert "| d |" not in study.write_table(plan, measured).read_text()


def rows(model: str, ious: dict[str, list[float]]) -> list[Row]:
    return [
        Row(model, "set", level, "box", f"{i}.png", 1, 0.1, 9, iou, 0, 0, 0, 0, 0, 0, 0)
        for level, values in ious.items()
        for i, iou in enumerate(values)
    ]


def test_table_gives_means_differences_and_the_gap_closed(study: Any) -> None:
    base = rows("a", {"clear": [0.9, 0.8, 0.7], "lq3": [0.6, 0.5, 0.4]})
    better = rows("b", {"clear": [0.9, 0.8, 0.7], "lq3": [0.8, 0.7, 0.55]})
    grouped = {"a": study.cells(base), "e": study.cells(better)}
    text = study.table(grouped, {"a": "base", "e": "enhanced"})
    assert "| a | base | 0.800 | 0.500 | 0 % |" in text
    # (0.6833 - 0.5) / (0.8 - 0.5) = 61 %
    line = next(line for line in text.splitlines() if line.startswith("| e |"))
    assert "0.800 | 0.683 (+0.183 [+0.150, +0.200])" in line
    assert line.endswith("| 61 % |")


def test_what_was_measured_on_other_images_and_levels_is_compared_on_those_that_are_shared(
    study: Any, tmp_path: Path
) -> None:
    """A base of three images and two levels, a variant of two images, one of another level alone."""
    plan = study.Plan(tmp_path, ROOT / "configs" / "study", levels="clear,lq3")
    base, second, third = study.VARIANTS[:3]
    measured = {
        base: {"clear": [0.9, 0.8, 0.1], "lq3": [0.7, 0.6, 0.2]},
        second: {"clear": [0.8, 0.8], "lq3": [0.5, 0.5], "lq2": [0.4]},
        third: {"lq2": [0.3, 0.3]},
    }
    for variant, values in measured.items():
        plan.rows(variant).parent.mkdir(parents=True)
        plan.rows(variant).write_text(to_csv(rows(variant.key, values)))
    text = study.write_table(plan, list(measured)).read_text()
    assert f"| {base.key} | {base.title} | 0.850 | 0.650 | 0 % |" in text  # without the third image
    line = next(line for line in text.splitlines() if line.startswith(f"| {second.key} |"))
    assert "| 0.800 (-0.050 [-0.100, +0.000]) | 0.500 (-0.150 [-0.200, -0.100]) | -75 % |" in line
    assert f"| {third.key} | {third.title} | – | – | – |" in text
    assert (tmp_path / "table.png").is_file()
    plan.rows(second).write_text(to_csv([*rows(second.key, {"clear": [0.4, 0.3]}), *others(second.key)]))
    text = study.write_table(plan, [base, second]).read_text()
    line = next(line for line in text.splitlines() if line.startswith(f"| {second.key} |"))
    assert line.endswith("| 0.350 (-0.500 [-0.500, -0.500]) | – | – |")  # no image at lq3 is shared
    assert (tmp_path / "table.png").is_file()


def others(model: str) -> list[Row]:
    return [dataclasses.replace(row, image=f"other-{row.image}") for row in rows(model, {"lq3": [0.5, 0.5]})]


def test_table_is_written_from_what_is_there(study: Any, tmp_path: Path) -> None:
    plan = study.Plan(tmp_path, ROOT / "configs" / "study", levels="clear,lq1")
    base, second = study.VARIANTS[:2]
    assert study.write_table(plan, [base, second]) is None
    for variant in (base, second):
        plan.rows(variant).parent.mkdir(parents=True)
        plan.rows(variant).write_text(to_csv(rows(variant.key, {"clear": [0.9, 0.8], "lq1": [0.7, 0.6]})))
    text = study.write_table(plan, [base, second, study.VARIANTS[2]]).read_text()
    with Image.open(tmp_path / "table.png") as picture:
        assert np.asarray(picture.convert("L")).std() > 10
    assert f"| {second.key} | {second.title} | 0.850 | 0.650 | 0 % |" in text


def test_options(study: Any, capsys: pytest.CaptureFixture[str]) -> None:
    options, plan, chosen = study.parse(["--quick", "--run", "d"])
    assert [variant.key for variant in chosen] == ["a", "d"]
    assert (plan.limit, plan.quick, plan.out) == (2, True, Path("runs/study-quick"))
    assert options.run == ["d"]
    with pytest.raises(SystemExit):
        study.parse(["--run", "zz"])
    assert "expected variants of a, " in capsys.readouterr().err
