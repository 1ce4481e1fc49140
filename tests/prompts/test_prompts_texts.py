"""Points and boxes of the command line: written and read back, and every slip refused on one line."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glesam.errors import PromptError
from glesam.prompts.prompts import parse_box, parse_point

number = st.floats(0, 30000, width=32)


@given(number, number, st.none() | st.integers(0, 1))
def test_points_come_back(x, y, label):
    text = f"{x},{y}" if label is None else f"{x}, {y},{label}"
    assert parse_point(text) == (x, y, 1 if label is None else label)


@given(st.lists(st.floats(-1000, 30000, width=32), min_size=4, max_size=4))
def test_boxes_come_back_or_are_empty(values):
    text = ",".join(map(str, values))
    if values[2] > values[0] and values[3] > values[1]:
        assert parse_box(text) == tuple(values)
    else:
        with pytest.raises(PromptError, match="x1 > x0"):
            parse_box(text)


@given(st.text())
def test_any_text_is_read_or_refused_on_one_line(text):
    for parse in (parse_point, parse_box):
        message = ""
        try:
            parse(text)
        except PromptError as error:
            message = str(error)
        assert "\n" not in message


@pytest.mark.parametrize(
    "text", ["", "3", "3,", "3,x", "3;4", "1,2,3,4", "1,2,2", "1,2,0.5", "1,2,-1", "nan,1", "1,inf"]
)
def test_points_that_are_refused(text):
    with pytest.raises(PromptError, match=r"x,y or x,y,0 or x,y,1, got .*; write for example 320,240"):
        parse_point(text)


def test_negative_points_are_refused():
    with pytest.raises(PromptError, match=r"inside the image, got \(-1, 5\)"):
        parse_point("-1,5")


@pytest.mark.parametrize("text", ["", "1,2,3", "1,2,3,4,5", "1,2,3,x", "1,2,3,nan", "a"])
def test_boxes_that_are_refused(text):
    with pytest.raises(PromptError, match="expected a box x0,y0,x1,y1, got"):
        parse_box(text)
