"""Corrections of clips from JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from glesam.errors import PromptError
from glesam.prompts.corrections import read_corrections_file


def test_frames_objects_and_prompts_are_read(tmp_path: Path) -> None:
    content = {
        "30": [{"object": 2, "box": [10, 20, 30, 40]}],
        "7": [{"object": 1, "points": [[3, 4], [5, 6]], "labels": [1, 0]}, {"object": 3, "points": [[7, 8]]}],
    }
    (tmp_path / "c.json").write_text(json.dumps(content))
    found = read_corrections_file(tmp_path / "c.json")
    assert {number: each.objects for number, each in found.items()} == {30: (1,), 7: (0, 2)}
    np.testing.assert_array_equal(found[30].prompts.boxes, [[10, 20, 30, 40]])
    assert found[7].prompts.points is not None
    np.testing.assert_array_equal(found[7].prompts.points[0], [[3, 4], [5, 6]])
    assert found[7].prompts.point_counts.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"first": [{"object": 1, "box": [1, 2, 3, 4]}]}, "numbers of frames"),
        ({"3": [{"box": [1, 2, 3, 4]}]}, "3, object 0, key object: Field required"),
        ({"3": [{"object": 0, "box": [1, 2, 3, 4]}]}, "greater than or equal to 1"),
        ({"3": [{"objekt": 1, "object": 1}]}, "did you mean 'object'"),
        ({"3": [{"object": 1}]}, "frame 3, object 0"),
        ({"3": []}, "at least 1 item"),
        ({"7": [{"object": 1, "box": [1, 2, 3, 4]}], "07": [{"object": 2, "box": [1, 2, 3, 4]}]}, "frame 7 twice"),
        ([], "dict"),
    ],
)
def test_what_is_none_is_one_line(tmp_path: Path, content: Any, said: str) -> None:
    (tmp_path / "c.json").write_text(json.dumps(content))
    with pytest.raises(PromptError) as caught:
        read_corrections_file(tmp_path / "c.json")
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)
