"""Shapes that are taken, shapes that are refused, and padding against a plain loop."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glesam.errors import PromptError
from glesam.models import base
from glesam.prompts.arrays import PADDING_LABEL, box_rows, label_lists, mask_stack, pad, point_lists

coordinate = st.floats(0, 4096, width=32)
objects = st.lists(st.lists(st.tuples(coordinate, coordinate), max_size=5), min_size=1, max_size=5)


def test_padding_is_the_models_padding():
    assert PADDING_LABEL == base.PADDING_LABEL


@settings(max_examples=40, deadline=None)
@given(objects.filter(lambda o: any(o)))
def test_ragged_lists_are_padded_as_a_loop_would(given_points):
    lists, single = point_lists(given_points)
    coords, labels = pad(lists, label_lists(None, lists, single))
    assert coords.shape == (len(given_points), max(map(len, given_points)), 2)
    for i, row in enumerate(given_points):
        for k in range(coords.shape[1]):
            real = k < len(row)
            assert labels[i, k] == (1 if real else PADDING_LABEL)
            assert tuple(coords[i, k]) == (row[k] if real else (0, 0))


@pytest.mark.parametrize(
    ("points", "shapes", "single"),
    [
        ([[1, 2]], [(1, 2)], True),
        ([(1, 2), (3, 4)], [(2, 2)], True),
        (np.ones((3, 2)), [(3, 2)], True),
        (torch.ones(3, 2, dtype=torch.bfloat16), [(3, 2)], True),
        (np.ones((2, 3, 2), np.int32), [(3, 2), (3, 2)], False),
        ([[[1, 2]], [[3, 4], [5, 6]]], [(1, 2), (2, 2)], False),
        ([[[1, 2]], []], [(1, 2), (0, 2)], False),
        ([[[1, 2]], None], [(1, 2), (0, 2)], False),
        ([[], []], [(0, 2), (0, 2)], False),
        ([np.ones((2, 2)), np.ones((1, 2))], [(2, 2), (1, 2)], False),
    ],
)
def test_layouts_of_points(points, shapes, single):
    lists, was_single = point_lists(points)
    assert [each.shape for each in lists] == shapes
    assert was_single is single


@pytest.mark.parametrize(
    ("points", "words"),
    [
        ([1, 2], r"\(K, 2\).*got \(2,\)"),
        ([[1, 2, 3]], r"got \(1, 3\)"),
        (np.ones((1, 1, 1, 2)), r"got \(1, 1, 1, 2\)"),
        ([[[1, 2]], [[3, 4], [5]]], "object 1, got lists of different lengths"),
        ([[[1, 2]], [3, 4]], r"object 1, got shape \(2,\)"),
        ([], "at least one of points"),
        (np.zeros((0, 2)), "at least one of points"),
        ([["1", "2"]], "numbers for points"),
        ("1,2", "numbers for points"),
        ([[1, None]], "numbers for points"),
        ([[1, float("nan")]], "finite.*nan"),
        ([[float("inf"), 1]], "finite.*inf"),
        ([[1e300, 1]], "finite.*inf"),
        ([[-1, 5]], r"inside the image, got \(-1, 5\)"),
        (7, r"got \(\)"),
        ([[True, False]], "numbers"),
    ],
)
def test_points_that_are_refused(points, words):
    with pytest.raises(PromptError, match=words) as error:
        point_lists(points)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("points", "labels", "expected"),
    [
        ([[1, 2], [3, 4]], [1, 0], [[1, 0]]),
        ([[1, 2], [3, 4]], [[1, 0]], [[1, 0]]),
        ([[1, 2], [3, 4]], np.array([True, False]), [[1, 0]]),
        ([[1, 2], [3, 4]], [1.0, 0.0], [[1, 0]]),
        ([[[1, 2]], [[3, 4], [5, 6]]], [[0], [1, 0]], [[0], [1, 0]]),
        ([[[1, 2]], [[3, 4], [5, 6]]], [None, [1, 0]], [[1], [1, 0]]),
        ([[[1, 2], [0, 0]], [[3, 4], [5, 6]]], np.array([[0, -1], [1, 0]]), [[0, -1], [1, 0]]),
    ],
)
def test_layouts_of_labels(points, labels, expected):
    lists, single = point_lists(points)
    assert [each.tolist() for each in label_lists(labels, lists, single)] == expected


@pytest.mark.parametrize(
    ("points", "labels", "words"),
    [
        ([[1, 2], [3, 4]], [1], r"one label per point, 2 in all, got \[1\]"),
        ([[1, 2]], [1, 0], "1 in all"),
        ([[1, 2]], 1, "1 in all, got 1"),
        ([[[1, 2]], [[3, 4]]], [1, 0], r"\[1, 1\] for 2 objects"),
        ([[[1, 2]], [[3, 4], [5, 6]]], [[1], [1]], r"\[1, 2\] for 2 objects"),
        ([[[1, 2]], [[3, 4]]], [[1]], r"\[1, 1\] for 2 objects"),
        ([[1, 2]], np.ones((3, 1)), r"got shape \(3, 1\)"),
        ([[1, 2]], [2], "foreground.*got 2"),
        ([[1, 2]], [0.5], "foreground.*got 0.5"),
        ([[1, 2]], [float("nan")], "foreground.*got nan"),
        ([[1, 2]], ["1"], "numbers for labels"),
        ([[[1, 2]], [[3, 4]]], "11", "list or an array of labels"),
    ],
)
def test_labels_that_are_refused(points, labels, words):
    lists, single = point_lists(points)
    with pytest.raises(PromptError, match=words) as error:
        label_lists(labels, lists, single)
    assert "\n" not in str(error.value)


def test_boxes():
    assert box_rows([1, 2, 3, 4]).tolist() == [[1, 2, 3, 4]]
    assert box_rows(np.array([[1, 2, 3, 4], [-5, 0, 9, 9]])).shape == (2, 4)
    mixed = box_rows([[1, 2, 3, 4], None])
    assert mixed[0].tolist() == [1, 2, 3, 4]
    assert np.isnan(mixed[1]).all()


@pytest.mark.parametrize(
    ("boxes", "words"),
    [
        ([1, 2, 3], r"got shape \(3,\)"),
        ([], r"got shape \(0,\)"),
        (np.ones((1, 1, 4)), r"got shape \(1, 1, 4\)"),
        ([[1, 2, 3, 4], [1, 2]], r"\(4,\) or \(N, 4\)"),
        ([5, 2, 3, 4], r"x1 > x0.*got \(5, 2, 3, 4\)"),
        ([1, 4, 3, 4], "y1 > y0"),
        ([1, float("nan"), 3, 4], "finite.*nan"),
        ([1, 2, float("inf"), 4], "finite.*inf"),
        ("1,2,3,4", "numbers for boxes"),
        ([None, [[1, 2, 3, 4], [1, 2, 3, 4]]], "flatten"),
    ],
)
def test_boxes_that_are_refused(boxes, words):
    with pytest.raises(PromptError, match=words) as error:
        box_rows(boxes)
    assert "\n" not in str(error.value)


def test_mask_inputs():
    assert mask_stack(np.ones((4, 5), np.float64)).shape == (1, 4, 5)
    assert mask_stack(torch.ones(2, 4, 5)).dtype == np.float32


@pytest.mark.parametrize(
    ("mask", "words"),
    [
        (np.ones((4, 5), bool), "float logits, got bool"),
        (np.ones((4, 5), np.uint8), "float logits, got uint8"),
        (np.ones(4), r"got shape \(4,\)"),
        (np.ones((1, 1, 4, 5)), r"got shape \(1, 1, 4, 5\)"),
        (np.zeros((2, 0, 0), np.float32), r"got shape \(2, 0, 0\)"),
        (np.full((2, 2), np.nan), "finite"),
    ],
)
def test_mask_inputs_that_are_refused(mask, words):
    with pytest.raises(PromptError, match=words):
        mask_stack(mask)
