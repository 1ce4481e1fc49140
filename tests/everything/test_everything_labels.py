"""Labelers and the map of classes, by hand."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glesam.draw.colours import colour
from glesam.errors import ConfigError, DataError
from glesam.everything.labels import UNKNOWN, class_map, class_map_png, label, load_labeler, save_class_map
from glesam.masks.formats import PNG_KEY
from glesam.masks.masks import Masks
from glesam.text.base import WordMap
from glesam.text.clip_labels import WordLabeler

IMAGE = np.zeros((4, 6, 3), np.uint8)


def masks() -> Masks:
    stack = np.zeros((3, 4, 6), bool)
    stack[0], stack[1, :2, :2], stack[2, 3, 5] = True, True, True
    return Masks(stack, np.ones(3, np.float32))


def test_a_callable_names_masks_and_gaps_are_unknown() -> None:
    named = label(IMAGE, masks(), load_labeler(lambda image, found: [[("sky", 0.9), ("sea", 0.1)], [], [("cat", 1)]]))
    assert named.class_names == ("sky", UNKNOWN, "cat")


def test_a_labeler_that_forgets_a_mask_is_told() -> None:
    with pytest.raises(DataError, match="expected one ranking for each of 3 masks, got 1"):
        label(IMAGE, masks(), lambda image, found: [[("sky", 1.0)]])


def test_unknown_labelers_get_the_nearest_known() -> None:
    with pytest.raises(ConfigError, match="did you mean 'offline'"):
        load_labeler("ofline")
    with pytest.raises(ConfigError, match="expected clip:FOLDER"):
        load_labeler("clip")


def test_small_masks_lie_over_large_ones_and_classes_are_shared() -> None:
    classes, names = class_map(masks().named(["sky", "cat", "sky"]))
    expected = np.ones((4, 6), int)
    expected[:2, :2] = 2
    assert names == ["sky", "cat"]
    np.testing.assert_array_equal(classes, expected)


def test_the_png_has_a_palette_and_its_legend(tmp_path: Path) -> None:
    named = masks().named(["sky", "cat", "cat"])
    save_class_map(named, tmp_path / "x.png")
    assert (tmp_path / "x.png").read_bytes() == class_map_png(named)
    with Image.open(io.BytesIO(class_map_png(named))) as image:
        assert image.mode == "P"
        assert json.loads(str(image.info[PNG_KEY])) == {"classes": {"1": "sky", "2": "cat"}}
        assert image.convert("RGB").getpixel((0, 0)) == colour(1)
        assert image.convert("RGB").getpixel((3, 3)) == colour(0)


def test_masks_without_names_have_no_map() -> None:
    with pytest.raises(DataError, match="label them first"):
        class_map(masks())


def test_no_masks_give_an_empty_map() -> None:
    nothing = Masks(np.zeros((0, 4, 6), bool), np.zeros(0, np.float32))
    classes, names = class_map(nothing)
    assert (classes.any(), names) == (False, [])


class TwoWords:
    """Left half is one word, right half another."""

    name = "two"

    def check(self, words: list[str]) -> None: ...

    def maps(self, image: np.ndarray, words: list[str]) -> list[WordMap]:
        left = np.array([[1, 1, 0, 0]], np.float32)
        return [WordMap("left", left, 0.9), WordMap("right", 1 - left, 0.8)]


def test_word_labeler_ranks_by_the_mean_inside() -> None:
    stack = np.zeros((3, 4, 8), bool)
    stack[0, :, 5:8], stack[1, :, :6] = True, True
    rankings = WordLabeler(TwoWords(), "left; right")(
        np.zeros((4, 8, 3), np.uint8), Masks(stack, np.ones(3, np.float32))
    )
    assert rankings[0] == [("right", pytest.approx(0.8)), ("left", pytest.approx(0))]
    assert rankings[1] == [("left", pytest.approx(0.9 * 4 / 6)), ("right", pytest.approx(0.8 * 2 / 6))]
    assert rankings[2] == []
