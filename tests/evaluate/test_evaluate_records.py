from __future__ import annotations

import json
from pathlib import Path

import pytest
from evaluate_helpers import make_row
from hypothesis import given
from hypothesis import strategies as st

from glesam.errors import ConfigError, DataError
from glesam.evaluate.measure import records
from glesam.evaluate.measure.records import COLUMNS, PartStore, Row, from_csv, to_csv

STAMP = {"seed": 0, "prompts": ["points:3"], "model": "a"}
_NAME = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0\r\n"), max_size=20)


@given(_NAME, st.floats(0, 1), st.floats(0, 1e6))
def test_rows_come_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, name: str, iou: float, sharp: float
) -> None:
    rows = [make_row(image=name, iou=iou, sharpness=sharp, object_id=7), make_row(prompt="noisy-box:0.2")]
    path = tmp_path_factory.mktemp("rows") / "rows.csv"
    path.write_text(to_csv(rows), encoding="utf-8", newline="")
    assert from_csv(path) == rows


@pytest.mark.parametrize(
    "text", ["", "a,b\n1,2\n", ",".join(COLUMNS) + "\n1,2\n", ",".join(COLUMNS) + "\n" + "x," * 14 + "x\n"]
)
def test_damaged_files_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(text)
    with pytest.raises(DataError, match="delete it and run again"):
        from_csv(path)


def _finished(out: Path) -> PartStore:
    store = PartStore(out)
    store.write("m/x", "ecssd", "robustseg:fog:3", STAMP, [make_row()], {"p9": "unreadable"})
    return store


def test_a_part_is_done_once_its_stamp_is_there(tmp_path: Path) -> None:
    assert not PartStore(tmp_path).is_done("m/x", "ecssd", "robustseg:fog:3", STAMP)
    store = _finished(tmp_path)
    assert store.is_done("m/x", "ecssd", "robustseg:fog:3", STAMP)
    assert not store.is_done("m/x", "ecssd", "robustseg:fog:4", STAMP)
    rows, failed = store.read("m/x", "ecssd", "robustseg:fog:3")
    assert rows == [make_row()]
    assert isinstance(rows[0], Row)
    assert failed == {"p9": "unreadable"}
    next(tmp_path.rglob("*.csv")).unlink()
    assert not store.is_done("m/x", "ecssd", "robustseg:fog:3", STAMP)


@pytest.mark.parametrize(
    ("changed", "key"), [({"seed": 1}, "seed=1"), ({"prompts": ["box"]}, "prompts="), ({"new": 1}, "new=1")]
)
def test_parts_of_another_configuration_are_refused_with_the_cure(
    tmp_path: Path, changed: dict[str, object], key: str
) -> None:
    store = _finished(tmp_path)
    with pytest.raises(ConfigError, match="another --out, or --overwrite") as caught:
        store.is_done("m/x", "ecssd", "robustseg:fog:3", {**STAMP, **changed})
    assert key in str(caught.value)
    assert not PartStore(tmp_path, overwrite=True).is_done("m/x", "ecssd", "robustseg:fog:3", {**STAMP, **changed})


@pytest.mark.parametrize("text", ["", "[]", "{}", json.dumps({"stamp": 1, "failed": {}})])
def test_damaged_stamps_are_refused(tmp_path: Path, text: str) -> None:
    store = _finished(tmp_path)
    next(tmp_path.rglob("*.json")).write_text(text)
    with pytest.raises(DataError, match="delete it and run again"):
        store.is_done("m/x", "ecssd", "robustseg:fog:3", STAMP)


def test_files_of_0_1_have_no_psnr(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_text(to_csv([make_row(psnr=None)]).replace(",psnr\n", "\n").replace(",\n", "\n"))
    assert "psnr" not in path.read_text()
    assert from_csv(path) == [make_row()]
    path.write_text(to_csv([make_row(psnr=31.25), make_row(psnr=float("inf"))]))
    assert [row.psnr for row in from_csv(path)] == [31.25, float("inf")]


def test_corrected_files_alone_make_a_part_out_of_date_and_nothing_else_is_refused(tmp_path):
    store = PartStore(tmp_path)
    store.write("m", "s", "clear", {"seed": 0, "files": "one"}, [], {})
    assert store.is_done("m", "s", "clear", {"seed": 0, "files": "one"})
    assert not store.is_done("m", "s", "clear", {"seed": 0, "files": "two"})
    with pytest.raises(ConfigError, match="seed=1"):
        store.is_done("m", "s", "clear", {"seed": 1, "files": "two"})


def test_a_stop_between_rows_and_stamp_leaves_no_stamp(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = _finished(tmp_path)
    write = records.write_text

    def stopped(path: Path, text: str) -> None:
        write(path, text)
        raise KeyboardInterrupt

    monkeypatch.setattr(records, "write_text", stopped)
    with pytest.raises(KeyboardInterrupt):
        store.write("m/x", "ecssd", "robustseg:fog:3", {**STAMP, "seed": 1}, [], {})
    assert not PartStore(tmp_path).is_done("m/x", "ecssd", "robustseg:fog:3", STAMP)
