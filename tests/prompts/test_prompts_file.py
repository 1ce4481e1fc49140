"""The prompts file: round trips, the documented example, and one line for every fault."""

from __future__ import annotations

import json
import re

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glesam.errors import PromptError
from glesam.prompts import file as prompts_file
from glesam.prompts.file import read_prompts_file, write_prompts_file
from glesam.prompts.prompts import Prompts

coordinate = st.floats(0, 9000, width=32)
point = st.lists(coordinate, min_size=2, max_size=2)
box = st.tuples(coordinate, coordinate, st.floats(1, 500, width=16), st.floats(1, 500, width=16)).map(
    lambda b: [b[0], b[1], b[0] + b[2], b[1] + b[3]]
)


@st.composite
def entries(draw: st.DrawFn) -> dict:
    points = draw(st.none() | st.lists(point, min_size=1, max_size=4))
    entry = {"points": points} if points else {"box": draw(box)}
    if points and draw(st.booleans()):
        entry["labels"] = [draw(st.integers(0, 1)) for _ in points]
    if points and draw(st.booleans()):
        entry["box"] = draw(box)
    return entry


def expected(objects: list[dict]) -> Prompts:
    """The same prompts by the Python interface."""
    points = [o.get("points", []) for o in objects]
    labels = [o.get("labels", [1] * len(o.get("points", []))) for o in objects]
    boxes = [o.get("box") for o in objects]
    return Prompts(points if any(points) else None, labels if any(points) else None, boxes if any(boxes) else None)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(st.dictionaries(st.text(min_size=1), st.lists(entries(), min_size=1, max_size=4), min_size=1, max_size=3))
def test_files_are_read_and_come_back_from_writing(tmp_path, content):
    path = tmp_path / "prompts.json"
    path.write_text(json.dumps(content))
    prompts = read_prompts_file(path)
    assert list(prompts) == list(content)
    for name, objects in content.items():
        assert prompts[name] == expected(objects)
    write_prompts_file(path, prompts)
    assert read_prompts_file(path) == prompts


def test_the_documented_example_is_valid(tmp_path):
    example = re.search(r"\n    \{\n.*?\n    \}\n", prompts_file.__doc__, re.DOTALL).group()
    path = tmp_path / "prompts.json"
    path.write_text(example)
    prompts = read_prompts_file(path)
    assert list(prompts) == ["cat.jpg", "sub/dog.png"]
    assert prompts["cat.jpg"].point_counts.tolist() == [2, 0, 1]
    assert prompts["cat.jpg"].has_box.tolist() == [False, True, True]
    assert prompts["cat.jpg"].labels[0].tolist() == [1, 0]


def test_numbers_are_written_short(tmp_path):
    path = tmp_path / "prompts.json"
    write_prompts_file(path, {"a.jpg": Prompts(points=[[0.1, 240]], boxes=[1, 2, 3, 4])})
    assert json.loads(path.read_text()) == {"a.jpg": [{"points": [[0.1, 240]], "labels": [1], "box": [1, 2, 3, 4]}]}


def test_mask_inputs_do_not_fit_in_a_file(tmp_path):
    with pytest.raises(PromptError, match="mask input"):
        write_prompts_file(tmp_path / "x.json", {"a.jpg": Prompts(mask_input=np.ones((4, 4)))})
    assert list(tmp_path.iterdir()) == []


def test_an_unwritable_place_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(PromptError, match=r"cannot write .*x.json"):
        write_prompts_file(tmp_path / "file" / "x.json", {"a.jpg": Prompts(points=[[1, 2]])})


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"a.jpg": [{"point": [[1, 2]]}]}', r"a.jpg, object 0, key point: unknown key; did you mean 'points'\?"),
        ('{"a.jpg": [{"boxes": [1, 2, 3, 4]}]}', "did you mean 'box'"),
        ('{"a.jpg": [{"zzz": 1}]}', "known are points, labels, box"),
        ('{"a.jpg": [{"box": [1, 2, 3]}]}', r"a.jpg, object 0, key box: .*4 items.*got \[1, 2, 3\]"),
        ('{"a.jpg": [{"points": [[1, 2], [3]]}]}', "key points, item 1"),
        ('{"a.jpg": [{"points": [["1", "2"]]}]}', "key points, item 0, item 0.*number.*'1'"),
        ('{"a.jpg": [{"points": [[1, NaN]]}]}', "NaN is no JSON number"),
        ('{"a.jpg": [{"points": []}]}', "key points"),
        ('{"a.jpg": [{"points": [[1, 2]], "labels": [2]}]}', "key labels, item 0"),
        ('{"a.jpg": [{"points": [[1, 2]], "labels": [1, 0]}]}', "a.jpg, object 0: expected one label per point"),
        ('{"a.jpg": [{"points": [[1, 2]]}, {"box": [9, 2, 3, 4]}]}', "a.jpg, object 1: expected a box.*x1 > x0"),
        ('{"a.jpg": [{"box": [1, 2, 3, 4], "labels": [1]}]}', "a.jpg, object 0: .*labels alone"),
        ('{"a.jpg": [{}]}', "a.jpg, object 0: expected points, boxes"),
        ('{"a.jpg": []}', "a.jpg"),
        ('{"a.jpg": {"box": [1, 2, 3, 4]}}', "a.jpg: .*list"),
        ('{"a.jpg": [{"points": [[1, 2]]}], "a.jpg": [{"points": [[3, 4]]}]}', "'a.jpg' comes twice"),
        ("{}", "at least one image"),
        ("[]", "whole file.*dictionary"),
        ("", "expected JSON in"),
        ("not json", "expected JSON in"),
        ("[" * 100000, "expected JSON in"),
    ],
)
def test_every_fault_is_one_line_that_names_the_place(tmp_path, content, words):
    path = tmp_path / "prompts.json"
    path.write_text(content)
    with pytest.raises(PromptError, match=words) as error:
        read_prompts_file(path)
    assert str(path) in str(error.value)
    assert "\n" not in str(error.value)


def test_unreadable_files(tmp_path):
    with pytest.raises(PromptError, match=r"none.json, cannot read it \(No such file"):
        read_prompts_file(tmp_path / "none.json")
    (tmp_path / "latin.json").write_bytes(b'{"\xff": 1}')
    with pytest.raises(PromptError, match="expected JSON in"):
        read_prompts_file(tmp_path / "latin.json")
