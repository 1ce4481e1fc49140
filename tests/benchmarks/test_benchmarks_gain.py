"""The table of what an enhancer wins, against sums made by hand."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

import gain
from glesam.evaluate.measure.records import Row, to_csv

FILE = Path(__file__).parents[2] / "benchmarks" / "gain.py"


def rows(model: str, ious: dict[str, list[float]]) -> list[Row]:
    """One object in each of the photos; its boundary IoU is half of its IoU."""
    return [
        Row(model, "set", level, "box", f"{i}.png", 1, 0.1, 9, iou, 0, 0, iou / 2, 0, 0, 0, 0)
        for level, values in ious.items()
        for i, iou in enumerate(values)
    ]


BASE = rows("compact@enhance=off", {"clear": [0.9, 0.8, 0.7, 0.8], "lq3": [0.6, 0.5, 0.4, 0.5]})
AUTO = rows("compact@enhance=auto", {"clear": [0.9, 0.8, 0.7, 0.8], "lq3": [0.8, 0.75, 0.3, 0.52]})


def test_a_line_holds_means_difference_gap_and_where_it_hurts() -> None:
    cells = [
        text.strip() for text in gain.line(gain.cells(BASE), gain.cells(AUTO), ("set", "box", "lq3")).split("|")[1:-1]
    ]
    # (0.5925 - 0.5) / (0.8 - 0.5) = 30.8 %; two of four photos gain 0.05 or more, one loses as much.
    assert cells[:4] == ["set", "box", "lq3", "0.500"]
    assert float(cells[4]) == pytest.approx(0.5925, abs=6e-4)
    assert float(cells[5].split()[0]) == pytest.approx(0.0925, abs=6e-4)
    assert cells[6:] == ["31%", "0.250", "0.296", "50%", "25%"]


def test_sizes_are_told_apart_and_objects_of_a_photo_are_one_mean() -> None:
    def sized(model: str, values: list[tuple[str, int, float, float]]) -> list[Row]:
        return [Row(model, "set", "clear", "box", *each[:2], each[2], 9, each[3], *[0] * 7) for each in values]

    small, large = [("a.png", 1, 0.0005), ("a.png", 2, 0.0005), ("b.png", 1, 0.0005)], [("a.png", 3, 0.3)]
    base = sized("off", [(*o, iou) for o, iou in zip(small + large, (0.2, 0.4, 0.5, 0.9), strict=True)])
    auto = sized("auto", [(*o, iou) for o, iou in zip(small + large, (0.4, 0.4, 0.7, 0.8), strict=True)])
    lines = gain.by_size(gain.cells(base), gain.cells(auto)).splitlines()[2:]
    # Photo a has (.2 + .4) / 2 and (.4 + .4) / 2, photo b .5 and .7.
    assert lines[0].startswith("| box | clear | 0 to 0.1 | 2 | 0.400 | 0.550 | +0.150 [")
    assert lines[1].startswith("| box | clear | 10 to 100 | 1 | 0.900 | 0.800 | -0.100 [")
    assert len(lines) == 2


def test_the_table_has_the_cells_that_both_were_measured_on() -> None:
    degraded = [row for row in AUTO if row.level != "clear"]
    lines = gain.table(gain.cells(BASE), gain.cells(degraded)).splitlines()
    assert len(lines) == 3
    assert lines[2].startswith("| set | box | lq3 |")
    clear = gain.table(gain.cells(BASE), gain.cells(AUTO)).splitlines()[2]
    assert clear.startswith("| set | box | clear | 0.800 | 0.800 | +0.000")
    assert "| – |" in clear


def test_the_worst_photos_come_first() -> None:
    lines = gain.hurt(gain.cells(BASE), gain.cells(AUTO), 1).splitlines()
    assert lines[2:] == ["| set | box | lq3 | 2.png | -0.100 |"]


def test_nothing_lost_or_nothing_shared_has_no_gap() -> None:
    assert gain.gap_closed({"x": 0.5}, {"x": 0.6}, {"x": 0.4}) is None
    assert gain.gap_closed({"x": 0.5}, {"y": 0.6}, {"x": 0.7}) is None
    assert gain.gap_closed({"x": 0.4}, {"x": 0.3}, {"x": 0.6}) == pytest.approx(-0.5)


def test_the_command_prints_and_draws(tmp_path: Path, monkeypatch: Any, capsys: Any) -> None:
    (tmp_path / "per_object.csv").write_text(to_csv([*BASE, *AUTO]))
    monkeypatch.setattr(sys, "argv", ["gain.py", str(tmp_path), "--figure", str(tmp_path / "gain.png"), "--worst", "1"])
    gain.main()
    assert gain.table(gain.cells(BASE), gain.cells(AUTO)) in capsys.readouterr().out
    with Image.open(tmp_path / "gain.png") as picture:
        assert min(picture.size) > 200
    monkeypatch.setattr(sys, "argv", ["gain.py", str(tmp_path), "--model", "sam"])
    with pytest.raises(SystemExit):
        gain.main()
    assert "expected rows of sam" in capsys.readouterr().err
