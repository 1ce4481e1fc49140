"""JSON lines: what goes in comes out, a line cut short does not count, a broken one is named or passed over."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glesam.common import jsonl

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(VALUES)
def test_a_record_is_one_line_that_json_reads(record: object) -> None:
    line = jsonl.line(record)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line) == record


def test_a_line_cut_short_and_empty_lines_do_not_count(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'\n{"a":1}\n\n[2]\n{"a":')
    assert list(jsonl.records(path)) == [{"a": 1}, [2]]


def test_broken_lines_are_named_or_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'1\n{"a":\n\xff\n2\n')
    with pytest.raises(ValueError, match="line 2"):
        list(jsonl.records(path))
    assert list(jsonl.records(path, skip_broken=True)) == [1, 2]


def test_numbers_that_json_has_not_are_refused() -> None:
    with pytest.raises(ValueError, match="JSON"):
        jsonl.line({"loss": float("nan")})
