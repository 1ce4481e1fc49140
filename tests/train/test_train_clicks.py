"""Training prompts: positive points inside, negative ones outside, boxes around, all within the image."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from glesam.prompts.drawn import tight_box
from glesam.train.feed.clicks import CORNER_LABELS, loosen_box, random_points, sample_prompt


def region(seed, size=48):
    rng = np.random.default_rng(seed)
    ids = np.zeros((size, size), np.int32)
    for value in (1, 2):
        y, x = rng.integers(0, size - 12, 2)
        h, w = rng.integers(3, 12, 2)
        ids[y : y + h, x : x + w] = value
    return ids


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000))
def test_prompts_say_the_truth(seed):
    ids = region(seed)
    inside = ids == 2
    points, labels = sample_prompt(inside, ids, 7, np.random.default_rng(seed))
    assert points.shape == (7, 2)
    used = labels >= 0
    assert used.any()
    corners = points[labels >= 2]
    for (x, y), label in zip(points[labels < 2][: used.sum()], labels[labels < 2], strict=False):
        if label >= 0:
            assert inside[int(y), int(x)] == bool(label)
    assert len(corners) in (0, 2)
    if len(corners):
        assert labels[:2].tolist() == list(CORNER_LABELS)
        assert (corners[1] > corners[0]).all()
        assert (corners >= 0).all()
        assert (corners <= 48).all()


def test_every_kind_of_prompt_occurs():
    ids = region(3)
    kinds = [sample_prompt(ids == 2, ids, 7, np.random.default_rng(s))[1] for s in range(300)]
    boxes = np.mean([2 in k for k in kinds])
    points = np.mean([1 in k for k in kinds])
    both = np.mean([(2 in k) and (1 in k) for k in kinds])
    negative = np.mean([0 in k for k in kinds])
    assert 0.3 < boxes < 0.5
    assert 0.55 < points < 0.75
    assert 0.01 < both < 0.1
    assert 0.05 < negative < 0.2
    assert {int((k == 1).sum()) for k in kinds if 2 not in k} == {1, 2, 3, 4, 6}


def test_random_points_are_uniform_over_the_region():
    inside = np.zeros((10, 10), bool)
    inside[2:4, 3:8] = True
    points = random_points(inside, 5000, np.random.default_rng(0))
    cells, counts = np.unique(points, axis=0, return_counts=True)
    assert len(cells) == 10
    assert counts.min() > 400
    assert counts.max() < 600


@pytest.mark.parametrize("seed", range(5))
def test_tight_box_by_brute_force(seed):
    inside = region(seed) == 2
    ys, xs = np.nonzero(inside)
    assert tight_box(inside).tolist() == [xs.min(), ys.min(), xs.max() + 1, ys.max() + 1]


def test_loose_boxes_move_each_side_by_at_most_the_ratio():
    box = np.array([10, 20, 30, 60], np.float32)
    moved = np.stack([loosen_box(box, 0.2, (100, 100), np.random.default_rng(s)) for s in range(300)])
    reach = np.abs(moved - box).max(axis=0)
    np.testing.assert_array_less(reach, [4.001, 8.001, 4.001, 8.001])
    assert (reach > [3.5, 7, 3.5, 7]).all()
    assert loosen_box(box, 0.0, (100, 100), np.random.default_rng(0)).tolist() == box.tolist()
    tiny = loosen_box(np.array([0, 0, 1, 1], np.float32), 0.9, (5, 5), np.random.default_rng(3))
    assert (tiny[2:] >= tiny[:2] + 1).all()
