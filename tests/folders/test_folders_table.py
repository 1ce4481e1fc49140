"""The table of results, its journal, and rows read back from outputs."""

from __future__ import annotations

import csv
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glesam.errors import DataError
from glesam.folders.parts import PARTS, ResultsJournal
from glesam.folders.recover import rows_from_outputs
from glesam.folders.table import COLUMNS, RESULTS, ObjectRow, read_csv, read_csv_text, rows_of, to_csv, write_csv
from glesam.masks.masks import Masks

MASKS = np.zeros((2, 20, 30), bool)
MASKS[0, 2:7, 4:10] = True
MASKS[1, 15, 29] = True
RESULT = Masks(MASKS, np.array([0.75, 0.5], np.float32), name="a.jpg", info={"enhanced": True, "model": "m"})
WANT = [ObjectRow("a.jpg", 1, 0.75, 4, 2, 6, 5, 30, 1.5, True), ObjectRow("a.jpg", 2, 0.5, 29, 15, 1, 1, 1, 1.5, True)]
names = st.text(st.characters(blacklist_categories=("Cs", "Cc")), min_size=1)
finite = st.floats(0, 1e6, allow_nan=False)


def test_rows_by_hand() -> None:
    assert rows_of(RESULT, "a.jpg", 1.5) == WANT


def test_csv_as_python_reads_it(tmp_path: Path) -> None:
    write_csv(tmp_path / "x.csv", WANT)
    with (tmp_path / "x.csv").open(newline="") as stream:
        lines = list(csv.DictReader(stream))
    assert tuple(lines[0]) == COLUMNS[:-1]  # no object has a class name
    assert lines[1] == {
        "file": "a.jpg", "object": "2", "score": "0.5", "bbox_x": "29", "bbox_y": "15", "bbox_width": "1",
        "bbox_height": "1", "area": "1", "seconds": "1.5", "enhanced": "true",
    }  # fmt: skip


@given(st.lists(st.builds(ObjectRow, names, *[st.integers(1, 9)], finite, *[st.integers(0, 9999)] * 5,
                          st.none() | finite, st.none() | st.booleans())))  # fmt: skip
def test_whatever_is_written_is_read_back(rows: list[ObjectRow]) -> None:
    assert read_csv_text(to_csv(rows), "x") == rows


@pytest.mark.parametrize("text", ["", "a,b\n1,2\n", ",".join(COLUMNS) + "\na.jpg,one,1,1,1,1,1,1,,\n"])
def test_what_is_no_table_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "x.csv").write_text(text)
    with pytest.raises(DataError, match=r"x\.csv"):
        read_csv(tmp_path / "x.csv")


def test_merge_takes_parts_of_all_ranks_and_the_former_table(tmp_path: Path) -> None:
    row = WANT[0]
    write_csv(
        tmp_path / RESULTS, [ObjectRow("old.jpg", 1, 0.1, 0, 0, 1, 1, 1), ObjectRow("a.jpg", 1, 0.1, 0, 0, 1, 1, 1)]
    )
    ResultsJournal(tmp_path, 0).add("a.jpg", [row])
    second = ResultsJournal(tmp_path, 1)
    second.add("nothing.jpg", [])
    part = next((tmp_path / PARTS).glob("*-1-*.jsonl"))
    with part.open("a") as stream:
        stream.write('{"file": "cut.jpg", "ro')  # as a kill leaves it
    second.add("b.jpg", [ObjectRow("b.jpg", 1, 0.2, 0, 0, 1, 1, 1)])
    asked: list[str] = []

    def recover(name: str) -> list[ObjectRow]:
        asked.append(name)
        return [ObjectRow(name, 1, 0.3, 0, 0, 1, 1, 1)]

    merged = ResultsJournal(tmp_path).merge(["b.jpg", "nothing.jpg", "a.jpg", "cut.jpg"], recover)
    assert [(r.file, r.score) for r in merged] == [("b.jpg", 0.2), ("a.jpg", 0.75), ("cut.jpg", 0.3), ("old.jpg", 0.1)]
    assert asked == ["cut.jpg"]
    assert read_csv(tmp_path / RESULTS) == merged
    assert [path.name for path in tmp_path.iterdir()] == [RESULTS]


def test_the_newest_run_counts_whatever_the_clock_says(tmp_path: Path) -> None:
    scores = [0.1, 0.2, 0.3]
    for number, score in enumerate(scores):
        ResultsJournal(tmp_path).add("a.jpg", [ObjectRow("a.jpg", 1, score, 0, 0, 1, 1, 1)])
        (part,) = (tmp_path / PARTS).glob(f"{number + 1}-0-*.jsonl")
        os.utime(part, (1e9 - number, 1e9 - number))  # each run's clock is behind that of the one before
    assert [row.score for row in ResultsJournal(tmp_path).read()["a.jpg"]] == [0.3]


@pytest.mark.parametrize("suffix", ["png", "json"])
def test_rows_from_outputs_alone(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    RESULT.save(path)
    got = rows_from_outputs("a.jpg", {suffix: path})
    assert [(r.bbox_x, r.bbox_y, r.area, r.score, r.seconds) for r in got] == [
        (4, 2, 30, 0.75, None),
        (29, 15, 1, 0.5, None),
    ]


def test_outputs_that_cannot_be_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no image")
    with pytest.raises(DataError, match="delete that file"):
        rows_from_outputs("a.jpg", {"png": tmp_path / "a.png"})
    with pytest.raises(DataError, match="--overwrite"):
        rows_from_outputs("a.jpg", {"npz": tmp_path / "a.npz"})
