"""Fine-tuning's measurement: a trial keeps to itself, and its numbers are those that were asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from evaluate_helpers import make_row

import finetune
from glesam.evaluate.measure.records import to_csv


def test_a_trial_is_told_from_others_by_the_place_of_its_images_and_the_base(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = finetune.trial(tmp_path / "a" / "parts", 60, 80, 0, [])
    assert finetune.trial(tmp_path / "a" / "x" / ".." / "parts", 60, 80, 0, []) == first
    others = [
        finetune.trial(tmp_path / "b" / "parts", 60, 80, 0, []),
        finetune.trial(tmp_path / "a" / "parts", 60, 80, 0, ["--lora=8"]),
        finetune.trial(tmp_path / "a" / "parts", 60, 80, 1, []),
    ]
    monkeypatch.setattr(finetune, "fingerprint", lambda spec: "other weights")
    others.append(finetune.trial(tmp_path / "a" / "parts", 60, 80, 0, []))
    assert len({first, *others}) == 5
    assert first.startswith("parts-60-80-0-")


def test_what_was_measured_before_is_left_to_the_command_to_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tuned, asked = tmp_path / "model", []

    def pretend(*words: object) -> float:
        asked.append([str(word) for word in words])
        iou = {"5": 0.5, "9": 0.9}[asked[-1][asked[-1].index("--limit") + 1]]
        models = (finetune.BASE, f"{tuned}@enhance=off")
        rows = [make_row(model=model, image=f"p{i}", iou=iou) for model in models for i in range(3)]
        (tmp_path / "per_object.csv").write_text(to_csv(rows))
        (tmp_path / "report.md").touch()
        return 0.0

    monkeypatch.setattr(finetune, "glesam", pretend)
    for limit in (5, 9):
        finetune.measure(tmp_path / "data", tuned, tmp_path, limit, "--kept-aside")
        assert f"| s | points:3 | 3 | 0.{limit}00 | 0.{limit}00 |" in capsys.readouterr().out
    assert [words[0] for words in asked] == ["evaluate", "evaluate"]
    assert all({"--overwrite", "--kept-aside"} <= set(words) for words in asked)
