"""`Masks`: validation, geometry against brute force, and which object shows where masks overlap."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

import glesam
from glesam.errors import DataError
from glesam.masks.masks import Masks

stacks = st.integers(0, 4).flatmap(lambda n: arrays(bool, (n, 6, 9)))


def simple(masks: np.ndarray, **fields: object) -> Masks:
    return Masks(masks, np.linspace(0.9, 0.1, len(masks), dtype=np.float32), **fields)


def test_the_public_name():
    assert glesam.Masks is Masks


def test_fields_are_brought_to_their_types():
    masks = Masks(np.zeros((2, 4, 5), bool), np.array([0.5, 0.25]), np.zeros((2, 3, 3), np.float16))
    assert masks.scores.dtype == np.float32
    assert masks.logits.dtype == np.float32
    assert len(masks) == 2
    assert masks.size == (4, 5)
    assert masks.info == {}
    assert simple(masks.masks).logits.shape == (2, 0, 0)


def test_a_name_is_given_by_replace():
    named = dataclasses.replace(simple(np.zeros((2, 4, 5), bool)), name="a.jpg", info={"seed": 1})
    assert (named.name, named.info, len(named)) == ("a.jpg", {"seed": 1}, 2)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"masks": np.zeros((4, 5), bool)}, r"masks of shape \(\*, \*, \*\) and dtype bool, got \(4, 5\) bool"),
        ({"masks": np.zeros((2, 4, 5), np.uint8)}, r"dtype bool, got \(2, 4, 5\) uint8; .*astype\(bool\)"),
        ({"masks": np.zeros((2, 0, 5), bool)}, "with pixels"),
        ({"masks": [[[True]]]}, "numpy array.*got list"),
        ({"scores": np.zeros(3, np.float32)}, r"scores of shape \(2,\) .*got \(3,\)"),
        ({"scores": np.zeros(2, np.int64)}, "int64"),
        ({"scores": np.array([0.5, np.nan])}, "finite scores"),
        ({"logits": np.ones((3, 4, 4))}, r"logits of shape \(2, \*, \*\)"),
        ({"logits": np.ones((2, 4), np.float32)}, r"logits.*got \(2, 4\)"),
        ({"candidates": np.zeros((2, 3, 4, 5), bool)}, "together"),
        ({"candidate_scores": np.zeros((2, 3), np.float32)}, "together"),
        (
            {"candidates": np.zeros((2, 3, 4, 6), bool), "candidate_scores": np.zeros((2, 3))},
            r"candidates of shape \(2, \*, 4, 5\)",
        ),
        (
            {"candidates": np.zeros((2, 3, 4, 5), bool), "candidate_scores": np.zeros((2, 2))},
            r"candidate_scores of shape \(2, 3\)",
        ),
    ],
)
def test_what_does_not_fit_names_the_shapes(fields, words):
    with pytest.raises(DataError, match=words) as error:
        Masks(**{"masks": np.zeros((2, 4, 5), bool), "scores": np.zeros(2, np.float32), **fields})
    assert "\n" not in str(error.value)


@settings(max_examples=50, deadline=None)
@given(stacks)
def test_areas_and_boxes_equal_pycocotools(stack):
    masks = simple(stack)
    codes = coco.encode(np.asfortranarray(stack.transpose(1, 2, 0).astype(np.uint8))) if len(stack) else []
    assert masks.areas.tolist() == [int(coco.area(code)) for code in codes]
    for (x0, y0, x1, y1), code in zip(masks.boxes.tolist(), codes, strict=True):
        assert [x0, y0, x1 - x0, y1 - y0] == coco.toBbox(code).tolist()


@settings(max_examples=50, deadline=None)
@given(stacks)
def test_the_smallest_mask_has_the_pixel(stack):
    """Pixel by pixel: of the masks that cover it the one of least area, of these the last."""
    labels = simple(stack).to_labels()
    assert labels.dtype == np.int32
    for y, x in np.ndindex(6, 9):
        covering = [i for i in range(len(stack)) if stack[i, y, x]]
        expected = 1 + min(covering, key=lambda i: (stack[i].sum(), -i)) if covering else 0
        assert labels[y, x] == expected


def test_a_part_is_not_hidden_by_its_whole():
    stack = np.zeros((2, 8, 8), bool)
    stack[0, 3:5, 3:5] = True
    stack[1] = True
    for order in ([0, 1], [1, 0]):
        part = order.index(0) + 1
        assert (simple(stack[order]).to_labels()[3:5, 3:5] == part).all()


def test_polygons_come_per_mask():
    stack = np.zeros((3, 8, 9), bool)
    stack[0, 2:4, 3:7] = True
    stack[2, :2, :2] = stack[2, 5:, 5:] = True
    assert [len(rings) for rings in simple(stack).to_polygons()] == [1, 0, 2]
    assert simple(stack).to_polygons(0)[0][0].min(axis=0).tolist() == [3, 2]
