"""Whole objects beside what is seen of them: in the result type, in its files, in the overlay."""

from __future__ import annotations

import io
import json
from dataclasses import replace

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from glesam.draw.colours import colour
from glesam.errors import DataError
from glesam.masks.masks import Masks
from glesam.masks.runs import RunMask
from glesam.masks.sparse import SparseMasks


def two() -> Masks:
    """Two objects of 40 x 60 pixels; of the first a quarter is hidden, of the second nothing."""
    seen = np.zeros((2, 40, 60), bool)
    seen[0, 5:35, 10:25] = True
    seen[1, 5:15, 40:50] = True
    whole = seen.copy()
    whole[0, 5:35, 25:30] = True
    return Masks(seen, np.array([0.5, 0.75], np.float32), class_names=("cat", "cup"), name="a.jpg", amodal=whole)


def test_hidden_is_what_the_whole_has_more() -> None:
    masks = two()
    expected = np.zeros((2, 40, 60), bool)
    expected[0, 5:35, 25:30] = True
    np.testing.assert_array_equal(masks.hidden, expected)
    assert masks.whole.areas.tolist() == [600, 100]
    assert masks.whole.boxes.tolist() == [[10, 5, 30, 35], [40, 5, 50, 15]]
    assert (masks.whole.class_names, masks.whole.name) == (("cat", "cup"), "a.jpg")


def test_chosen_objects_keep_their_whole() -> None:
    assert two()[1].whole.areas.tolist() == [100]
    assert [one.hidden.sum() for one in two()] == [150, 0]
    assert two().named(["a", "b"]).whole.class_names == ("a", "b")


def test_another_candidate_has_no_whole() -> None:
    candidates = np.zeros((1, 3, 4, 5), bool)
    masks = Masks(candidates[:, 0], np.ones(1, np.float32), candidates=candidates, candidate_scores=np.ones((1, 3)))
    assert replace(masks, amodal=candidates[:, 0]).pick(1).amodal is None


def test_masks_without_say_so() -> None:
    masks = replace(two(), amodal=None)
    for get in (lambda: masks.whole, lambda: masks.hidden):
        with pytest.raises(DataError, match=r"Predictor\.complete"):
            get()
    with pytest.raises(DataError, match="expected amodal of shape"):
        replace(masks, amodal=np.zeros((1, 40, 60), bool))


def test_coco_holds_both_and_gives_them_back() -> None:
    masks = two()
    document = json.loads(masks.encode(".json"))
    first, second = document["annotations"]
    np.testing.assert_array_equal(coco_mask.decode(first["amodal_segmentation"]), masks.whole.masks[0])
    np.testing.assert_array_equal(coco_mask.decode(first["segmentation"]), masks.masks[0])
    assert (first["occlude_rate"], second["occlude_rate"]) == (0.25, 0.0)
    again = Masks.from_coco(document)
    np.testing.assert_array_equal(again.whole.masks, masks.whole.masks)
    assert Masks.from_coco(json.loads(replace(masks, amodal=None).encode(".json"))).amodal is None
    del second["amodal_segmentation"]
    assert Masks.from_coco(document).amodal is None
    second["amodal_segmentation"] = {"size": [4, 4], "counts": "0g0"}
    with pytest.raises(DataError, match=r"annotation|another size"):
        Masks.from_coco(document)


def test_npz_and_boxes() -> None:
    from glesam.masks.formats import boxes

    with np.load(io.BytesIO(two().encode(".npz"))) as arrays:
        np.testing.assert_array_equal(arrays["amodal"], two().whole.masks)
    entry = json.loads(boxes(two()))["annotations"][0]
    assert entry["occlude_rate"] == 0.25
    assert not any("segmentation" in key for key in entry)


def test_the_overlay_hatches_what_is_hidden() -> None:
    image = np.full((40, 60, 3), 128, np.uint8)
    masks = replace(two(), class_names=())
    drawn = np.asarray(masks.overlay(image))
    plain = np.asarray(replace(masks, amodal=None).overlay(image))
    hidden = masks.hidden[0]
    np.testing.assert_array_equal(drawn[~hidden], plain[~hidden])
    coloured = (drawn == np.array(colour(0))).all(axis=-1) & hidden
    assert 0.3 < coloured.sum() / hidden.sum() < 0.95
    assert ((drawn == 128).all(axis=-1) & hidden).any()


def test_an_overlay_in_strips_is_that_of_the_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    from glesam.common import arrays
    from glesam.draw import overlay as module

    image = np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8)
    expected = np.asarray(two().overlay(image))
    monkeypatch.setattr(module, "row_slices", lambda array: arrays.row_slices(array, 60 * 3 * 7))
    np.testing.assert_array_equal(np.asarray(two().overlay(image)), expected)


def runs() -> SparseMasks:
    """The same as `two`, as runs."""
    dense = two()
    made = SparseMasks([RunMask.from_array(mask) for mask in dense.masks], dense.scores, dense.size, name="a.jpg")
    named = made.with_whole([RunMask.from_array(mask) for mask in dense.whole.masks]).named(dense.class_names)
    assert isinstance(named, SparseMasks)
    return named


def test_runs_say_the_same_as_pixels() -> None:
    sparse, dense = runs(), two()
    assert isinstance(sparse.whole, SparseMasks)
    np.testing.assert_array_equal(sparse.whole.masks, dense.whole.masks)
    np.testing.assert_array_equal(sparse.hidden, dense.hidden)
    np.testing.assert_array_equal(sparse.amodal, dense.amodal)
    assert sparse.whole.class_names == dense.class_names
    assert json.loads(sparse.encode(".json")) == json.loads(dense.encode(".json"))
    np.testing.assert_array_equal(sparse[1].whole.masks, dense[1].whole.masks)
    image = np.full((40, 60, 3), 128, np.uint8)
    np.testing.assert_array_equal(np.asarray(sparse.overlay(image)), np.asarray(dense.overlay(image)))
    with np.load(io.BytesIO(sparse.encode(".npz"))) as arrays:
        np.testing.assert_array_equal(arrays["amodal"], dense.amodal)


def test_runs_without_say_so() -> None:
    plain = SparseMasks([RunMask.from_array(mask) for mask in two().masks], two().scores, (40, 60))
    assert plain.amodal is None
    assert not plain.has_whole
    with pytest.raises(DataError, match=r"Predictor\.complete"):
        _ = plain.whole
    with pytest.raises(DataError, match="whole objects of 2 masks, got 1"):
        plain.with_whole([plain.runs[0]])
