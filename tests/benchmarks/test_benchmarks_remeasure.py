"""Measuring anew: a step is one command of the harness, and the table is the mean of what was measured."""

import json
import re

import cv2
import numpy as np
import pytest

import remeasure


def draw(folder, names, size):
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for name in names:
        mask = np.zeros((40, 60), np.uint8)
        mask[8 : 8 + size, 10 : 10 + size] = 1
        image = rng.integers(0, 90, (40, 60, 3)) + 120 * mask[..., None]
        cv2.imwrite(str(folder / "images" / f"{name}.png"), image.astype(np.uint8))
        cv2.imwrite(str(folder / "masks" / f"{name}.png"), mask)


def test_a_step_is_measured_once_and_its_rows_are_the_reports(tmp_path, capsys):
    draw(tmp_path / "val" / "real_smoke", ("a", "b"), 24)
    draw(tmp_path / "val" / "real_dusk", ("c",), 18)
    call = [str(tmp_path), "--out", str(tmp_path / "out"), "--only", "real", "--jobs", "1"]
    assert remeasure.main(call) == 0
    first = capsys.readouterr()
    assert first.err == "real: done\n"
    rows = first.out.splitlines()[2:]
    assert len(rows) == 2 * 2 * 3  # sets, prompts, modes
    report = (tmp_path / "out" / "real" / "report.md").read_text()
    for row in rows:
        _, _, name, prompt, model, cell, _ = (part.strip() for part in row.split("|"))
        line = next(line for line in report.splitlines() if line.startswith(f"| {name} | {prompt} | clear"))
        columns = [model.strip() for model in next(x for x in report.splitlines() if "| level |" in x).split("|")]
        iou, _, boundary = line.split("|")[columns.index(model)].split("/")
        assert cell == f"clear {iou.split('[')[0].strip()} / {boundary.strip()}"
    assert remeasure.main(call) == 0
    again = capsys.readouterr()
    assert again.err == "real: done before\n"
    assert again.out == first.out


def test_numbers_of_other_data_or_steps_are_not_printed_as_done(tmp_path, capsys, monkeypatch):
    for data, size in (("one", 24), ("two", 12)):
        draw(tmp_path / data / "val" / "real_smoke", ("a", "b"), size)
        draw(tmp_path / data / "val" / "real_dusk", ("c",), size)
    call = ["--out", str(tmp_path / "out"), "--only", "real", "--jobs", "1"]
    assert remeasure.main([str(tmp_path / "one"), *call]) == 0
    kept = capsys.readouterr().out
    assert remeasure.main([str(tmp_path / "two"), *call]) == 1
    refused = capsys.readouterr()
    assert refused.err.startswith("real: failed with 2, see ")
    assert "| real |" not in refused.out
    assert "another --out" in (tmp_path / "out" / "real.log").read_text()
    assert remeasure.main([str(tmp_path / "one"), *call]) == 0
    assert capsys.readouterr().out == kept
    known = remeasure.steps
    monkeypatch.setattr(remeasure, "WHOLE", ["--prompts", "box"])
    assert known(tmp_path, "m")["real"][-1] == "box"
    assert remeasure.main([str(tmp_path / "one"), *call]) == 1
    assert "| real |" not in capsys.readouterr().out


def test_many_sets_are_one_row_of_their_means(tmp_path):
    rng = np.random.default_rng(0)
    values = rng.random((6, 2))
    records = [
        {"set": f"s{i}", "prompt": "box", "model": "m", "level": "clear", "iou": iou, "boundary_iou": edge}
        for i, (iou, edge) in enumerate(values.tolist())
    ]
    (tmp_path / "summary.json").write_text(json.dumps({"config": {"average": "images"}, "summary": records}))
    (row,) = remeasure.rows(tmp_path)
    assert "| mean of 6 sets | box | m |" in row
    assert [float(x) for x in re.findall(r"0\.\d+", row)] == pytest.approx(values.mean(axis=0).tolist(), abs=6e-4)


def test_a_step_that_fails_is_named_with_its_log(tmp_path, capsys):
    assert remeasure.main([str(tmp_path), "--out", str(tmp_path / "out"), "--only", "tight"]) == 1
    assert re.search(r"tight: failed with \d, see .*tight\.log", capsys.readouterr().err)
    assert "coco_mini" in (tmp_path / "out" / "tight.log").read_text()
