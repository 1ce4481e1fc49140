"""Run-length codes against pycocotools, character by character."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as reference

from glesam.errors import DataError
from glesam.masks import rle

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=40))


def theirs(mask: np.ndarray) -> dict:
    code = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    return {"size": list(code["size"]), "counts": code["counts"].decode("ascii")}


@settings(max_examples=60, deadline=None)
@given(masks)
def test_codes_equal_pycocotools_both_ways(mask):
    assert rle.encode(mask) == theirs(mask)
    np.testing.assert_array_equal(rle.decode(theirs(mask)), mask)
    np.testing.assert_array_equal(reference.decode(rle.encode(mask)).astype(bool), mask)


@settings(max_examples=60, deadline=None)
@given(st.lists(st.integers(0, 2**31), min_size=1, max_size=50))
def test_any_runs_survive_the_text(runs):
    given_runs = np.array(runs, np.int64)
    np.testing.assert_array_equal(rle.text_to_runs(rle.runs_to_text(given_runs)), given_runs)


@pytest.mark.parametrize("mask", [np.zeros((7, 9), bool), np.ones((7, 9), bool), np.eye(64, dtype=bool)])
def test_special_masks(mask):
    assert rle.encode(mask) == theirs(mask)
    np.testing.assert_array_equal(rle.decode(rle.encode(mask)), mask)


@pytest.mark.parametrize("seed", range(3))
def test_large_masks_with_long_runs(seed):
    """Runs above 2^15 take four groups of bits, differences of both signs."""
    edges = np.sort(np.random.default_rng(seed).integers(0, 700 * 500, 60))
    mask = (np.searchsorted(edges, np.arange(700 * 500)) % 2 == 1).reshape(700, 500)
    assert rle.encode(mask) == theirs(mask)
    np.testing.assert_array_equal(rle.decode(theirs(mask)), mask)


def test_counts_as_bytes_and_as_a_list():
    mask = np.arange(35).reshape(5, 7) % 3 == 0
    code = rle.encode(mask)
    np.testing.assert_array_equal(rle.decode({**code, "counts": code["counts"].encode()}), mask)
    np.testing.assert_array_equal(rle.decode({**code, "counts": rle.mask_to_runs(mask).tolist()}), mask)


def test_large_masks_are_fast():
    """A round trip of 2000 x 2000 pixels; the bound is far above the 0.1 s measured, for busy machines."""
    y, x = np.mgrid[:2000, :2000]
    mask = (x - 1000) ** 2 + (y - 900) ** 2 < 700**2
    best = float("inf")
    for _ in range(3):
        start = time.perf_counter()
        back = rle.decode(rle.encode(mask))
        best = min(best, time.perf_counter() - start)
    np.testing.assert_array_equal(back, mask)
    assert best < 1.0


@pytest.mark.parametrize(
    ("code", "words"),
    [
        (None, "size and counts"),
        ([[1, 2, 3, 4, 5, 6]], "size and counts"),
        ({"size": [2, 2]}, "size and counts"),
        ({"size": [2], "counts": "4"}, r"\[H, W\]"),
        ({"size": [2, 0], "counts": "0"}, r"\[H, W\]"),
        ({"size": [2, "2"], "counts": "4"}, r"\[H, W\]"),
        ({"size": [2, 2], "counts": ""}, "run-length text"),
        ({"size": [2, 2], "counts": " "}, "run-length text"),
        ({"size": [2, 2], "counts": "4ä"}, "run-length text"),
        ({"size": [2, 2], "counts": "T"}, "run-length text"),
        ({"size": [2, 2], "counts": "o" * 9 + "0"}, "35 bits"),
        ({"size": [2, 2], "counts": "5"}, "fill 2x2 pixels, got 5"),
        ({"size": [2, 2], "counts": "O5"}, "fill 2x2"),
        ({"size": [2, 2], "counts": [-1, 5]}, "fill 2x2"),
        ({"size": [2, 2], "counts": [1.5, 2.5]}, "list of integers"),
        ({"size": [2, 2], "counts": [[4]]}, "list of integers"),
        ({"size": [2, 2], "counts": 4}, "list of integers"),
    ],
)
def test_damaged_codes_are_refused(code, words):
    with pytest.raises(DataError, match=words) as error:
        rle.decode(code)
    assert "\n" not in str(error.value)


@settings(max_examples=100, deadline=None)
@given(st.text(st.characters(min_codepoint=32, max_codepoint=126)), st.integers(1, 9), st.integers(1, 9))
def test_any_text_is_decoded_or_refused(text, height, width):
    try:
        shape = rle.decode({"size": [height, width], "counts": text}).shape
    except DataError:
        shape = (height, width)
    assert shape == (height, width)
