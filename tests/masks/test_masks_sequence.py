"""`Masks` as a sequence of objects, and how it shows itself."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from glesam.draw.colours import colour
from glesam.masks.masks import Masks
from glesam.masks.runs import RunMask
from glesam.masks.sparse import SparseMasks

STACK = np.zeros((4, 6, 9), bool)
for _number in range(4):
    STACK[_number, _number, : 2 * _number + 1] = True
SCORES = np.array([0.9, 0.8, 0.25, 0.5], np.float32)
NAMES = ("cup", "dog", "dog", "hat")


def plain() -> Masks:
    rng = np.random.default_rng(0)
    three = np.stack([STACK, ~STACK, STACK], axis=1)
    return Masks(
        STACK,
        SCORES,
        rng.normal(size=(4, 2, 2)).astype(np.float32),
        three,
        rng.random((4, 3)).astype(np.float32),
        name="a.jpg",
        info={"seed": 1},
        class_names=NAMES,
        candidate_logits=rng.normal(size=(4, 3, 2, 2)).astype(np.float32),
    )


def sparse() -> SparseMasks:
    runs = [RunMask.from_array(mask) for mask in STACK]
    details = [{"crop_box": [i, 0, 1, 1]} for i in range(4)]
    candidates = [[(run, 0.5), (run, 0.25)] for run in runs]
    made = SparseMasks(runs, SCORES, (6, 9), details, "a.jpg", {"seed": 1}, candidates).named(NAMES)
    assert isinstance(made, SparseMasks)
    return made


@pytest.mark.parametrize("make", [plain, sparse])
@pytest.mark.parametrize(
    ("key", "indices"),
    [
        (2, [2]),
        (-1, [3]),
        (slice(1, 3), [1, 2]),
        ([3, 0], [3, 0]),
        (np.array([True, False, False, True]), [0, 3]),
        (slice(4, None), []),
    ],
)
def test_some_objects_with_all_that_is_theirs(make, key, indices):
    masks = make()
    some = masks[key]
    assert type(some) is type(masks)
    np.testing.assert_array_equal(some.masks, STACK[indices])
    np.testing.assert_array_equal(some.scores, SCORES[indices])
    np.testing.assert_array_equal(some.candidates, masks.candidates[indices].reshape(some.candidates.shape))
    np.testing.assert_array_equal(some.candidate_scores, masks.candidate_scores[indices])
    assert some.class_names == tuple(NAMES[i] for i in indices)
    assert (some.name, some.info) == ("a.jpg", {"seed": 1})
    if isinstance(masks, SparseMasks):
        assert some.details == tuple(masks.details[i] for i in indices)
    elif indices:  # no masks, no logits
        np.testing.assert_array_equal(some.logits, masks.logits[indices])
        np.testing.assert_array_equal(some.candidate_logits, masks.candidate_logits[indices])


@pytest.mark.parametrize("make", [plain, sparse])
def test_a_loop_gives_the_objects_one_by_one(make):
    seen = list(make())
    assert [len(each) for each in seen] == [1] * 4
    np.testing.assert_array_equal(np.concatenate([each.masks for each in seen]), STACK)
    np.testing.assert_array_equal(np.asarray(make()), STACK)
    assert np.asarray(make(), np.uint8).dtype == np.uint8
    with pytest.raises(IndexError):
        make()[4]


@pytest.mark.parametrize("make", [plain, sparse])
def test_it_says_what_it_is_in_a_line(make):
    text = repr(make())
    assert text == f"{type(make()).__name__}(4 masks of 9x6 pixels, scores 0.90 0.80 0.25 0.50, name='a.jpg')"
    assert "1 mask of 9x6 pixels, scores 0.25" in repr(make()[2])
    assert repr(make()[:0]).endswith("(0 masks of 9x6 pixels, name='a.jpg')")


@pytest.mark.parametrize("make", [plain, sparse])
def test_a_notebook_shows_the_masks_in_their_colours(make):
    shown = Image.open(io.BytesIO(make()._repr_png_())).convert("RGB")
    labels = make().to_labels()
    for number in range(5):
        expected = colour(number - 1) if number else (0, 0, 0)
        assert (np.asarray(shown)[labels == number] == expected).all()


def test_a_notebook_is_not_sent_more_than_it_can_show():
    many = np.zeros((300, 900, 20), bool)
    many[np.arange(300), np.arange(300) * 3] = True
    shown = Image.open(io.BytesIO(Masks(many, np.ones(300, np.float32))._repr_png_()))
    assert max(shown.size) == 512
