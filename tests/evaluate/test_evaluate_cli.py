from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from evaluate_helpers import FakeLoader, make_folder
from typer.testing import CliRunner, Result

from glesam.cli import app
from glesam.draw import figures as drawing


@pytest.fixture
def loader(monkeypatch: pytest.MonkeyPatch) -> FakeLoader:
    """Fake models in the place of real ones."""
    load = FakeLoader()
    monkeypatch.setattr("glesam.evaluate.measure.model_specs.predictor_loader", lambda device: load)
    return load


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "ecssd")


@pytest.fixture(autouse=True)
def _coarse_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pixels: drawing is what takes time here."""
    monkeypatch.setattr(drawing, "DPI", 30)


def _run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["evaluate", *map(str, arguments)])


def _error(result: Result, status: int, *parts: str) -> None:
    assert result.exit_code == status, result.output
    lines = result.stderr.strip().splitlines()
    assert len(lines) == 1
    assert lines[0].startswith("glesam: error: expected")
    for part in parts:
        assert part in lines[0]


def test_a_run_writes_its_report(tmp_path: Path, data: Path, loader: FakeLoader) -> None:
    out = tmp_path / "out"
    models = "m60@enhance=off,m10"
    result = _run(
        "--data", data, "--levels", "clear,lq1", "--models", models, "--prompts", "points:1..2,box", "-o", out
    )
    assert result.exit_code == 0, result.output
    assert "points:2" in result.stdout
    assert {p.name for p in out.iterdir()} == {
        "parts",
        "report.md",
        "per_object.csv",
        "summary.csv",
        "summary.json",
        "iou_against_level.png",
        "iou_against_clicks.png",
        "gallery_best.png",
        "gallery_worst.png",
    } | ({"iou_against_sharpness.png"} if (out / "iou_against_sharpness.png").exists() else set())
    assert "gallery_best.png" in (out / "report.md").read_text()
    assert set(loader.loaded) == {"m60@enhance=off", "m10"}


def test_defaults_and_resume(tmp_path: Path, data: Path, loader: FakeLoader, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert _run("--data", data, "--no-figures").exit_code == 0
    text = (tmp_path / "evaluation" / "report.md").read_text()
    assert "Levels: clear" in text
    assert "Prompts: points:3, box" in text
    loader.loaded.clear()
    assert _run("--data", data, "--no-figures").exit_code == 0
    assert loader.loaded == {}
    _error(_run("--data", data, "--no-figures", "--seed", 5), 2, "seed=5", "--overwrite")
    assert _run("--data", data, "--no-figures", "--seed", 5, "--overwrite").exit_code == 0


def test_names_that_are_no_utf8_are_measured(tmp_path: Path, data: Path, loader: FakeLoader) -> None:
    for part in ("images", "masks"):
        (data / part / "p00.png").rename(data / part / os.fsdecode(b"p\xff\x1b]0;x.png"))
    arguments = ("--data", data, "--no-figures", "--out", tmp_path / "out")
    for _ in range(2):
        result = _run(*arguments)
        assert result.exit_code == 0, result.output
        assert "\x1b]" not in result.output
    assert b"p\xff\x1b]0;x" in (tmp_path / "out" / "per_object.csv").read_bytes()


def test_preset_sets_levels_and_prompts(tmp_path: Path, data: Path, loader: FakeLoader) -> None:
    result = _run("--data", data, "--preset", "table13", "--no-figures", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    text = (tmp_path / "out" / "report.md").read_text()
    assert "Levels: lq3, lq2, lq1" in text
    assert "Prompts: box, noisy-box:0.2" in text
    assert "> Set-up of table13" in text
    assert "| GleSAM | paper, table 13 | 0.7718 / 0.8575 |" in text


def test_options_win_over_the_preset(tmp_path: Path, data: Path, loader: FakeLoader) -> None:
    result = _run(
        "--data", data, "--preset", "table2", "--partial", "--levels", "clear", "--no-figures", "-o", tmp_path / "o"
    )
    assert result.exit_code == 0, result.output
    assert "Levels: clear;" in (tmp_path / "o" / "report.md").read_text()


def test_a_built_set_keeps_its_recipe_and_says_so(tmp_path: Path, data: Path, loader: FakeLoader) -> None:
    built = tmp_path / "built"
    command = ["data", "build", str(data), "-o", str(built), "--recipe", "train", "--seed", "4", "--workers", "1"]
    result = CliRunner().invoke(app, command)
    assert result.exit_code == 0, result.output
    words = ("--data", built, "--levels", "lq1", "--no-figures", "-o", tmp_path / "out")
    _error(_run(*words, "--recipe", "test"), 2, "the recipe train that built was built with", "leave --recipe out")
    for given in ([], ["--recipe", "train", "--overwrite"]):
        assert _run(*words, *given).exit_code == 0
        assert "* Levels: lq1; LQ levels of built as built, recipe train, seed 4\n" in (
            (tmp_path / "out" / "report.md").read_text()
        )
    content = json.loads((tmp_path / "out" / "summary.json").read_text())
    assert content["config"]["stored_levels"] == {"built": {"recipe": "train", "seed": 4}}


def test_a_report_is_there_when_drawing_fails(
    tmp_path: Path, data: Path, loader: FakeLoader, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*arguments: object) -> list[Path]:
        raise MemoryError

    monkeypatch.setattr("glesam.evaluate.report.gallery.draw_gallery", fail)
    assert _run("--data", data, "-o", tmp_path / "out").exit_code != 0
    assert "## All metrics" in (tmp_path / "out" / "report.md").read_text()
    assert (tmp_path / "out" / "summary.json").is_file()


def test_preset_without_numbers_says_so(tmp_path: Path, data: Path, loader: FakeLoader) -> None:
    result = _run(
        "--data", data, "--preset", "table3", "--levels", "robustseg:fog:3", "--no-figures", "-o", tmp_path / "out"
    )
    assert "No number of the paper is stored for table3" in result.stdout


def test_broken_images_are_named_and_the_rest_is_done(tmp_path: Path, data: Path, loader: FakeLoader) -> None:
    (data / "images" / "p02.png").write_bytes(b"no image")
    result = _run("--data", data, "--no-figures", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "left out ecssd/p02 at clear" in result.stderr
    assert "(3 images, 6 objects)" in (tmp_path / "out" / "report.md").read_text()


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["--levels", "lq9"], ["did you mean 'lq"]),
        (["--levels", "real:hase:3"], ["did you mean 'haze"]),
        (["--levels", "robustseg:fog:9"], ["severity of 1 to 5"]),
        (["--prompts", "pionts:3"], ["did you mean 'points"]),
        (["--prompts", "noisy-box:9"], ["0 < R <= 1"]),
        (["--preset", "table4"], ["did you mean 'table"]),
        (["--preset", "table2"], ["coco=DIR", "--partial"]),
        (["--models", "compact@enhance=onn"], ["did you mean 'on"]),
        (["--enhance", "maybe"], ["on, off or auto"]),
        (["--recipe", "tset"], ["did you mean 'test"]),
        (["--min-share", "2"], ["such as 0.005"]),
        (["--min-share", "ecsd=0.1"], ["did you mean 'ecssd"]),
        (["--min-share", "x=y"], ["such as 0.005"]),
    ],
)
def test_wrong_use_is_one_line(
    tmp_path: Path, data: Path, loader: FakeLoader, arguments: list[str], parts: list[str]
) -> None:
    _error(_run("--data", data, "-o", tmp_path / "out", "--no-figures", *arguments), 2, *parts)
    assert loader.loaded == {}


def test_wrong_data_is_one_line(tmp_path: Path, data: Path, loader: FakeLoader) -> None:
    _error(_run(), 2, "--data DIR", "images/NAME.jpg")
    _error(_run("--preset", "table1"), 2, "thinobject5k=DIR", "lvis=DIR")
    _error(_run("--data", tmp_path / "nothing"), 1, "images/NAME.jpg")
    _error(_run("--data", data, "--data", f"ecssd={data}"), 2, "different names")
    _error(_run("--data", data, "--min-share", 0.9, "-o", tmp_path / "o", "--no-figures"), 1, "lower --min-share")


def test_an_output_that_cannot_be_written_is_found_before_measuring(
    tmp_path: Path, data: Path, loader: FakeLoader
) -> None:
    (tmp_path / "file").write_text("x")
    _error(_run("--data", data, "-o", tmp_path / "file" / "out", "--no-figures"), 2, "give another")
    if os.geteuid() != 0:
        (tmp_path / "closed").mkdir(mode=0o500)
        _error(_run("--data", data, "-o", tmp_path / "closed" / "out", "--no-figures"), 2, "give another")
    assert loader.loaded == {}


def test_an_unknown_model_is_named_with_near_ones(tmp_path: Path, data: Path) -> None:
    result = _run("--data", data, "--models", "compct", "-o", tmp_path / "o", "--no-figures")
    _error(result, 2, "did you mean 'compact")
