"""Run masks against plain arrays and pycocotools."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco

from glesam.masks.rle import runs_to_text
from glesam.masks.runs import RunMask, union

Bool = npt.NDArray[np.bool_]


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[Bool, Bool]:
    height, width = draw(st.integers(1, 9)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    shares = draw(st.tuples(st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]), st.sampled_from([0.0, 0.3, 0.8, 1.0])))
    first, second = (rng.random((height, width)) < share for share in shares)
    return first, second


@settings(max_examples=150, deadline=None)
@given(mask_pairs())
def test_everything_that_a_run_mask_tells_is_what_the_pixels_tell(pair: tuple[Bool, Bool]) -> None:
    first, second = pair
    a, b = RunMask.from_array(first), RunMask.from_array(second)
    assert np.array_equal(a.to_array(), first)
    assert a.area == first.sum()
    assert a.intersection(b) == (first & second).sum()
    either = (first | second).sum()
    assert a.iou(b) == pytest.approx((first & second).sum() / either if either else 0.0)
    assert np.array_equal(union([a, b]).to_array(), first | second)


@settings(max_examples=150, deadline=None)
@given(mask_pairs(), st.integers(0, 8), st.integers(0, 8), st.integers(1, 9), st.integers(1, 9))
def test_windows_and_gaps(pair: tuple[Bool, Bool], x0: int, y0: int, width: int, height: int) -> None:
    mask, runs = pair[0], RunMask.from_array(pair[0])
    x1, y1 = min(x0 + width, mask.shape[1]), min(y0 + height, mask.shape[0])
    if x0 < x1 and y0 < y1:
        window = np.zeros_like(mask)
        window[y0:y1, x0:x1] = mask[y0:y1, x0:x1]
        assert np.array_equal(runs.clip((x0, y0, x1, y1)).to_array(), window)
        assert np.array_equal(runs.to_array((x0, y0, x1, y1)), mask[y0:y1, x0:x1])
        placed = RunMask.from_array(mask[y0:y1, x0:x1], mask.shape, x0, y0)
        assert np.array_equal(placed.to_array(), window)
    left, top, right, bottom = runs.box
    gaps = np.zeros_like(mask)
    gaps[top:bottom, left:right] = ~mask[top:bottom, left:right]
    assert np.array_equal(runs.gaps().to_array(), gaps)


@settings(max_examples=150, deadline=None)
@given(mask_pairs())
def test_run_length_text_is_that_of_pycocotools(pair: tuple[Bool, Bool]) -> None:
    mask = pair[0]
    encoded = coco.encode(np.asfortranarray(mask.astype(np.uint8)))
    runs = RunMask.from_array(mask)
    assert runs_to_text(runs.to_rle()) == encoded["counts"].decode()
    if mask.any():
        x, y, width, height = coco.toBbox(encoded).tolist()
        assert runs.box == (x, y, x + width, y + height)


def test_an_empty_mask_is_empty_everywhere() -> None:
    empty, full = (RunMask.from_array(np.full((3, 4), value)) for value in (False, True))
    assert (empty.area, empty.box, empty.intersection(full), empty.iou(empty)) == (0, (0, 0, 0, 0), 0, 0.0)
    assert union([empty, empty]).area == 0
    assert not empty.to_array().any()
