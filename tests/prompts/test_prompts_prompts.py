"""`Prompts`: what fits together, what does not, grouping, and the way into a model's frame."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from glesam.errors import PromptError
from glesam.models.base import ImageGeometry
from glesam.prompts.prompts import PADDING_LABEL, Prompts

point = st.tuples(st.floats(0, 99, width=32), st.floats(0, 79, width=32))
box = st.builds(
    lambda x, y, w, h: [x, y, x + w, y + h],
    st.integers(0, 50),
    st.integers(0, 40),
    st.integers(1, 49),
    st.integers(1, 39),
)


@st.composite
def prompts(draw: st.DrawFn) -> Prompts:
    """Some objects, each with points, a box, or both."""
    objects = draw(st.lists(st.tuples(st.lists(point, max_size=4), st.none() | box), min_size=1, max_size=6))
    assume(all(p or b for p, b in objects))
    points, boxes = [p for p, _ in objects], [b for _, b in objects]
    labels = [[draw(st.integers(0, 1)) for _ in p] for p in points]
    return Prompts(points if any(points) else None, labels if any(points) else None, boxes if any(boxes) else None)


def test_one_object_from_points():
    one = Prompts(points=[[320, 240], [10, 20]], labels=[1, 0])
    assert len(one) == 1
    assert one.points.shape == (1, 2, 2)
    assert one.points.dtype == np.float32
    assert one.labels.tolist() == [[1, 0]]
    assert one.labels.dtype == np.int64
    assert one.boxes is None
    assert one.mask_input is None


def test_one_object_from_points_and_a_box():
    assert Prompts(points=[[3, 4]], boxes=[1, 2, 9, 9]) == Prompts(points=[[[3, 4]]], boxes=[[1, 2, 9, 9]])


def test_objects_from_boxes():
    many = Prompts(boxes=[[10, 20, 300, 400], [50, 60, 90, 99]])
    assert len(many) == 2
    assert many.boxes.dtype == np.float32
    assert many.has_box.tolist() == [True, True]
    assert many.point_counts.tolist() == [0, 0]


def test_mixed_objects():
    mixed = Prompts(points=[[[1, 2]], [], [[3, 4], [5, 6]]], boxes=[None, [1, 2, 3, 4], [5, 6, 7, 8]])
    assert mixed.point_counts.tolist() == [1, 0, 2]
    assert mixed.has_box.tolist() == [False, True, True]
    assert mixed.labels[1].tolist() == [PADDING_LABEL] * 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({}, "got none"),
        ({"labels": [1]}, "labels alone"),
        ({"points": [[1, 2], [3, 4]], "boxes": [[1, 2, 3, 4]] * 2}, r"points \(1, 2, 2\), boxes \(2, 4\).*N lists"),
        ({"boxes": [[1, 2, 3, 4]], "mask_input": np.ones((2, 8, 8))}, r"boxes \(1, 4\), mask_input \(2, 8, 8\)"),
        ({"points": [[[1, 2]], []]}, "none for object 1"),
        ({"points": [[1, 2]], "labels": [-1]}, "got none"),
        ({"boxes": [None, None]}, "none for object 0"),
        ({"points": [[1, 2]], "labels": [1, 1]}, "one label per point"),
        ({"points": [[1, float("nan")]]}, "finite"),
        ({"boxes": [5, 5, 1, 9]}, "x1 > x0"),
    ],
)
def test_what_does_not_fit_together(arguments, words):
    with pytest.raises(PromptError, match=words) as error:
        Prompts(**arguments)
    assert "\n" not in str(error.value)


def test_prompts_cannot_be_changed():
    one = Prompts(points=[[1, 2]])
    with pytest.raises(dataclasses.FrozenInstanceError):
        one.points = None
    with pytest.raises(ValueError, match="read-only"):
        one.points[0] = 7


def test_the_callers_arrays_stay_his_own():
    points, boxes, mask = np.ones((1, 2), np.float32), np.array([[1, 2, 3, 4]], np.float32), np.ones((4, 4), np.float32)
    Prompts(points, None, boxes, mask)
    assert points.flags.writeable
    assert boxes.flags.writeable
    assert mask.flags.writeable


def test_equality_looks_at_every_field():
    one = Prompts(points=[[1, 2]], boxes=[1, 2, 3, 4])
    assert one == Prompts(points=[[1, 2]], boxes=[1, 2, 3, 4])
    assert one != Prompts(points=[[1, 2]])
    assert one != Prompts(points=[[1, 2]], labels=[0], boxes=[1, 2, 3, 4])
    assert one != "one"


def test_points_outside_the_image():
    Prompts(points=[[99, 79.5]]).check((80, 100))
    for x, y in ((100, 5), (5, 80)):
        with pytest.raises(PromptError, match=rf"100x80 pixels, got \({x}, {y}\); give x below 100 and y below 80"):
            Prompts(points=[[1, 1], [x, y]]).check((80, 100))


def test_padding_is_not_outside():
    padded = Prompts(points=[[[1, 1]], [[2, 2], [3, 3]]])
    assert padded.check((4, 4)) is padded


def test_boxes_over_the_edge_are_cut():
    over = Prompts(boxes=[[-5, -6, 50, 40], [90, 70, 200, 300], [1, 2, 3, 4]])
    assert over.check((80, 100)).boxes.tolist() == [[0, 0, 50, 40], [90, 70, 100, 80], [1, 2, 3, 4]]
    assert over.boxes[0, 0] == -5
    inside = Prompts(boxes=[0, 0, 100, 80])
    assert inside.check((80, 100)) is inside


def test_cutting_keeps_everything_else():
    mixed = Prompts([[[1, 2]], [[3, 4], [5, 6]]], [[0], [1, 0]], [None, [-1, 0, 9, 9]], np.ones((2, 4, 4)))
    cut = mixed.check((20, 20))
    assert cut == Prompts([[[1, 2]], [[3, 4], [5, 6]]], [[0], [1, 0]], [None, [0, 0, 9, 9]], np.ones((2, 4, 4)))
    with pytest.raises(ValueError, match="read-only"):
        cut.boxes[0] = 7


@pytest.mark.parametrize("outside", [[100, 0, 120, 10], [0, 80, 10, 90], [-9, 3, 0, 10], [3, -9, 10, -1]])
def test_boxes_wholly_outside(outside):
    with pytest.raises(PromptError, match="100x80 pixels, got"):
        Prompts(boxes=outside).check((80, 100))


@settings(max_examples=30, deadline=None)
@given(prompts())
def test_groups_cover_all_objects_once_without_padding(many):
    groups = many.groups()
    assert sorted(i for indices, _ in groups for i in indices) == list(range(len(many)))
    for indices, group in groups:
        assert len(group) == len(indices)
        assert group.labels is None or (group.labels != PADDING_LABEL).all()
        assert group.has_box.all() or not group.has_box.any()
        for row, i in enumerate(indices):
            assert group.select([row]) == many.select([i])


@settings(max_examples=30, deadline=None)
@given(prompts())
def test_taking_all_objects_gives_the_same_prompts(many):
    assert many.select(range(len(many))) == many
    assert many.select(slice(None)) == many
    if many.points is not None and many.has_box.all() and many.boxes is not None:
        assert Prompts(many.points, many.labels, many.boxes) == many


def test_select_takes_mask_inputs_along():
    masks = np.arange(3, dtype=np.float32)[:, None, None] * np.ones((3, 4, 4), np.float32)
    many = Prompts(boxes=[[0, 0, i + 1, 1] for i in range(3)], mask_input=masks)
    assert many.select([2, 0]).mask_input[:, 0, 0].tolist() == [2, 0]
    assert many.select([2, 0]).boxes[:, 2].tolist() == [3, 1]
    assert many.select(np.array([False, True, False])).boxes[:, 2].tolist() == [2]


@pytest.mark.parametrize("indices", [[3], [], [[0]]])
def test_select_refuses(indices):
    with pytest.raises(PromptError, match="expected"):
        Prompts(boxes=[[0, 0, 1, 1]]).select(indices)


def test_tensors_lie_in_the_models_frame():
    """A 200 x 100 image in a square of 512: one pixel is 2.56 input pixels, in both directions."""
    geometry = ImageGeometry((100, 200), (256, 512), 512)
    both = Prompts(points=[[[100, 50]], [[0, 99]]], boxes=[[0, 0, 200, 100], [10, 20, 30, 40]])
    tensors = both.to_tensors(geometry, "cpu", torch.bfloat16)
    assert tensors.shape == (1, 2)
    torch.testing.assert_close(tensors.point_coords, torch.tensor([[[[256.0, 128.0]], [[0.0, 253.44]]]]))
    torch.testing.assert_close(tensors.boxes, torch.tensor([[[0.0, 0, 512, 256], [25.6, 51.2, 76.8, 102.4]]]))
    assert tensors.point_coords.dtype == torch.float32
    assert tensors.point_labels.tolist() == [[[1], [1]]]
    assert tensors.point_labels.dtype == torch.int64
    assert tensors.mask_input is None


def test_stretched_images_scale_each_direction_by_itself():
    geometry = ImageGeometry((100, 200), (512, 512), 512)
    assert Prompts(points=[[100, 50]]).to_tensors(geometry).point_coords.tolist() == [[[[256, 256]]]]
    assert Prompts(boxes=[100, 50, 200, 100]).to_tensors(geometry).boxes.tolist() == [[[256, 256, 512, 512]]]


def test_mask_inputs_need_the_models_size():
    geometry = ImageGeometry((100, 200), (256, 512), 512)
    logits = np.random.default_rng(0).normal(size=(1, 128, 128)).astype(np.float32)
    tensors = Prompts(mask_input=logits).to_tensors(geometry, "cpu", torch.bfloat16)
    assert tensors.mask_input.shape == (1, 1, 128, 128)
    assert tensors.mask_input.dtype == torch.bfloat16
    assert torch.equal(Prompts(mask_input=logits).to_tensors(geometry).mask_input[0], torch.from_numpy(logits))
    with pytest.raises(PromptError, match="128x128 for this model, got 256x64"):
        Prompts(mask_input=np.ones((64, 256))).to_tensors(geometry)


def test_a_mixture_of_boxes_and_none_must_be_split():
    mixed = Prompts(points=[[[1, 2]], []], boxes=[None, [1, 2, 3, 4]])
    geometry = ImageGeometry((100, 200), (256, 512), 512)
    with pytest.raises(PromptError, match=r"groups\(\)"):
        mixed.to_tensors(geometry)
    assert [group.to_tensors(geometry).shape for _, group in mixed.groups()] == [(1, 1), (1, 1)]
