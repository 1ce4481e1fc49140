"""`glesam segment --everything` and `--tile`, with a tiny random model: the path, not the masks."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from glesam.cli import app

Make = Callable[..., Path]


def test_everything_writes_labels_overlay_and_coco(tiny_model: Path, photo: Make, tmp_path: Path) -> None:
    path, out = photo("a.png", width=90, height=70), tmp_path / "out"
    words = ["segment", str(path), "--everything", "--points-per-side", "4", "--model", str(tiny_model)]
    result = CliRunner().invoke(app, [*words, "--json", "--overlay", "--device", "cpu", "-o", str(out)])
    assert result.exit_code == 0, result.output
    labels = np.asarray(Image.open(out / "a.mask.png"))
    document = json.loads((out / "a.mask.json").read_text())
    assert labels.shape == (70, 90)
    assert document["info"]["everything"]["points_per_side"] == 4
    assert labels.max() <= len(document["annotations"])
    assert Image.open(out / "a.overlay.png").size == (90, 70)


def test_the_official_generator_is_asked_for_by_its_name(tiny_model: Path, photo: Make, tmp_path: Path) -> None:
    words = ["segment", str(photo("a.png", width=90, height=70)), "--everything", "--model", str(tiny_model), "--json"]
    more = ["--everything-like", "segment-anything", "--points-per-side", "2", "-o", str(tmp_path)]
    result = CliRunner().invoke(app, [*words, *more, "--device", "cpu"])
    assert result.exit_code == 0, result.output
    settings = json.loads((tmp_path / "a.mask.json").read_text())["info"]["everything"]
    assert (settings["like"], settings["points_per_side"], settings["mask_nms_thresh"]) == ("segment-anything", 2, 1.0)


def test_prompts_on_a_big_image_use_windows(tiny_model: Path, photo: Make, tmp_path: Path) -> None:
    path, out = photo("b.png", width=300, height=200), tmp_path / "out"
    words = ["segment", str(path), "--point", "150,100", "--tile", "64", "--model", str(tiny_model), "--json"]
    result = CliRunner().invoke(app, [*words, "--device", "cpu", "-o", str(out)])
    assert result.exit_code == 0, result.output
    document = json.loads((out / "b.mask.json").read_text())
    assert document["info"]["tile"] == 64
    assert len(document["annotations"][0]["crop_box"]) == 4


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--everything", "--point", "3,4"], "expected --everything or prompts, got both"),
        (["--point", "3,4", "--points-per-side", "4"], "expected --everything with --points-per-side"),
        (["--point", "3,4", "--everything-like", "segment-anything"], "expected --everything with --everything-like"),
        (["--everything", "--everything-like", "sam"], "segment-anything"),
        (["--everything", "--points-per-side", "0"], "greater than or equal to 1"),
        (["--everything", "--tile", "9"], "at least 64 pixels"),
        (["--point", "3,4", "--tile", "9"], "at least 64 pixels"),
    ],
)
def test_wrong_use_is_told_before_any_work(words: list[str], message: str, photo: Make) -> None:
    result = CliRunner().invoke(app, ["segment", str(photo("c.png")), *words])
    assert result.exit_code == 2
    assert message in result.output
    assert "Traceback" not in result.output
