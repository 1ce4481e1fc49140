"""Class names of masks: in each output, and back."""

from __future__ import annotations

import io
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glesam.draw.colours import colour
from glesam.errors import DataError
from glesam.folders.recover import rows_from_outputs
from glesam.folders.table import COLUMNS, read_csv_text, rows_of, to_csv
from glesam.masks.formats import PNG_KEY
from glesam.masks.masks import Masks
from glesam.masks.runs import RunMask
from glesam.masks.sparse import SparseMasks

NAMES = ("dog", "cup", "dog")


def some(named: bool = True) -> Masks:
    stack = np.zeros((3, 60, 90), bool)
    stack[0, 5:20, 5:30], stack[1, 30:50, 40:80], stack[2, 52:58, 2:9] = True, True, True
    masks = Masks(stack, np.array([0.9, 0.8, 0.7], np.float32), name="a.jpg")
    return masks.named(NAMES) if named else masks


def sparse() -> Masks:
    dense = some(named=False)
    return SparseMasks([RunMask.from_array(mask) for mask in dense.masks], dense.scores, dense.size).named(NAMES)


@pytest.mark.parametrize("make", [some, sparse])
def test_coco_has_a_category_for_each_name(make: type) -> None:
    document = json.loads(make().encode(".json"))
    assert document["categories"] == [{"id": 1, "name": "dog"}, {"id": 2, "name": "cup"}]
    assert [entry["category_id"] for entry in document["annotations"]] == [1, 2, 1]
    assert Masks.from_coco(document).class_names == NAMES


def test_without_names_outputs_are_what_they_were() -> None:
    document = json.loads(some(named=False).encode(".json"))
    assert document["categories"] == [{"id": 1, "name": "object"}]
    assert Masks.from_coco(document).class_names == ()
    assert "class" not in json.loads(some(named=False).encode(".geojson"))["features"][0]["properties"]
    assert "class_name" not in to_csv(rows_of(some(named=False), "a.jpg"))


def test_polygons_png_and_npz_tell_the_names() -> None:
    masks = some()
    features = json.loads(masks.encode(".geojson"))["features"]
    assert tuple(feature["properties"]["class"] for feature in features) == NAMES
    with Image.open(io.BytesIO(masks.encode(".png"))) as image:
        assert json.loads(str(image.info[PNG_KEY]))["class_names"] == list(NAMES)
    with np.load(io.BytesIO(masks.encode(".npz"))) as arrays:
        assert tuple(arrays["class_names"]) == NAMES


def test_table_has_a_column_of_names_and_is_read_back() -> None:
    rows = rows_of(some(), "a.jpg")
    text = to_csv(rows)
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert [row.class_name for row in read_csv_text(text, "x")] == list(NAMES)


@pytest.mark.parametrize("suffix", [".json", ".png"])
def test_names_come_back_from_outputs(tmp_path: Path, suffix: str) -> None:
    some().save(tmp_path / f"a{suffix}")
    rows = rows_from_outputs("a.jpg", {suffix[1:]: tmp_path / f"a{suffix}"})
    assert [row.class_name for row in rows] == list(NAMES)


def test_overlay_writes_the_name_on_a_plate_of_the_objects_colour() -> None:
    image = np.zeros((60, 90, 3), np.uint8)
    plain, named = (np.asarray(masks.overlay(image)) for masks in (some(named=False), some()))
    changed = (plain != named).any(axis=2)
    assert changed.any()
    # Above the second mask's box, outside of all masks: its plate.
    assert (named[22:29, 41:80][changed[22:29, 41:80]] == colour(1)).all(axis=1).mean() > 0.3


@pytest.mark.parametrize("names", [("dog",), ("a", "b", 3)])
def test_names_that_do_not_fit_are_refused(names: tuple[str, ...]) -> None:
    with pytest.raises(DataError, match="expected a class name for each of 3 masks"):
        some(named=False).named(names)
