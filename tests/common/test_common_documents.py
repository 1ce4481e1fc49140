"""The one JSON decoder and the one check of settings: every bad input is one of our errors, on one line."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from pydantic import BaseModel, ConfigDict

from glesam.common.documents import checked, expect_objects, parse_json, read_json
from glesam.common.messages import one_line, shown
from glesam.errors import ConfigError, DataError, PromptError

BAD = {
    "cut": b'{"a": [1, 2',
    "deep": b"[" * 3000 + b"]" * 3000,
    "deep objects": b'{"a":' * 100_000,
    "infinity": b'{"a": Infinity}',
    "nan": b"[NaN]",
    "beyond double": b"[1e999]",
    "no utf-8": b'{"a": "\xff"}',
    "long number": b"[" + b"9" * 5000 + b"]",
    "empty": b"",
    "nul": b"\0\0\0\0",
}


@pytest.mark.parametrize("content", BAD.values(), ids=BAD.keys())
def test_whatever_is_no_json_is_one_line_of_ours(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    path.write_bytes(content)
    with pytest.raises(PromptError) as caught:
        read_json(path, PromptError)
    assert "\n" not in str(caught.value)
    assert "x.json" in str(caught.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32-le"])
def test_encodings_of_json_are_read(encoding: str) -> None:
    assert parse_json('{"é": [1, 2.5, "ü"]}'.encode(encoding), "here") == {"é": [1, 2.5, "ü"]}


def test_missing_file_and_folder_are_ours(tmp_path: Path) -> None:
    for path in (tmp_path / "none.json", tmp_path, "a\0b"):
        with pytest.raises(DataError, match="cannot read it"):
            read_json(path)


def test_doubled_key_is_refused_where_that_loses_data() -> None:
    assert parse_json('{"a": 1, "a": 2}', "here") == {"a": 2}
    with pytest.raises(DataError, match="'a' comes twice"):
        parse_json('{"a": 1, "a": 2}', "here", unique=True)


class _Settings(BaseModel):
    model_config = ConfigDict(extra="forbid")
    steps: int = 1
    name: str = "x"


@pytest.mark.parametrize(
    ("values", "told"),
    [
        ([], "a JSON object in run.json, got a list"),
        (None, "got nothing"),
        ({"stepz": 3}, "did you mean 'steps'"),
        ({"steps": "many"}, "valid steps in run.json, got 'many'"),
        ({"steps": {"a": [1] * 100}}, "..."),
    ],
)
def test_settings_that_do_not_fit_are_told_by_key(values: object, told: str) -> None:
    with pytest.raises(ConfigError) as caught:
        checked(_Settings, values, "run.json", ConfigError)
    assert told in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 250


@dataclasses.dataclass(frozen=True)
class _Row:
    name: str
    sizes: tuple[int, ...]
    share: float = 0.0


def test_records_are_dataclasses_by_key() -> None:
    assert checked(_Row, {"name": "a", "sizes": [1, 2]}, "x", DataError) == _Row("a", (1, 2))
    bad: dict[str, object] = {
        "expected sizes in x, found none": {"name": "a"},
        "did you mean 'share'": {"name": "a", "sizes": [], "shere": 1},
        "expected a valid sizes.1 in x, got 'b'": {"name": "a", "sizes": [1, "b"]},
        "a JSON object in x, got a list": [],
    }
    for told, values in bad.items():
        with pytest.raises(DataError, match=told):
            checked(_Row, values, "x", DataError)


@pytest.mark.parametrize(
    ("fail", "words"),
    [
        (lambda: {}["frame"], "no 'frame'"),
        (lambda: None.items(), "a value of another type"),
        (lambda: [][0], "a list that is too short"),
        (lambda: _Row(colour=1), "an unknown key 'colour'"),
        (lambda: _Row("a"), "no 'sizes'"),
        (lambda: int("x1"), "no number but 'x1'"),
        (lambda: float("x1"), "no number but 'x1'"),
        (lambda: dict([(1, 2, 3)]), "dictionary update sequence element #0 has length 3; 2 is required"),
        (lambda: 1 // 0, "a size of 0"),
        (lambda: b"\xff".decode(), "bytes that are no utf-8"),
        (lambda: struct.unpack_from("<I", b"x"), "an end that comes too soon"),
        (lambda: torch.save({"a": torch.zeros(9999)}, "/dev/full"), "a write that failed"),
        (lambda: Path("/none/of\x1b").read_bytes(), "No such file or directory"),
    ],
)
def test_what_python_says_of_its_objects_is_put_into_words(fail: Callable[[], object], words: str) -> None:
    with pytest.raises(Exception) as caught:  # noqa: PT011
        fail()
    assert one_line(caught.value) == words


def test_lists_of_other_things_are_told_by_item() -> None:
    assert expect_objects([{"a": 1}], "images") == [{"a": 1}]
    with pytest.raises(DataError, match="item 1 is a list"):
        expect_objects([{}, []], "images")


def test_names_are_shown_without_what_a_terminal_acts_on() -> None:
    assert shown("a\x1b]0;owned\x07b") == "a\\x1b]0;owned\\x07b"
    assert shown(Path("bad\udcff.jpg")) == "bad\\xff.jpg"
    assert shown("two\nlines\u202e") == "two\\nlines\\u202e"
    assert shown("grüße 猫.jpg") == "grüße 猫.jpg"
