"""Masks on coloured squares get the names of the squares that they look like."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from fewshot_scenes import BLUE, GREEN, RED, SIZE, backbone, draw, mask_of
from PIL import Image

from glesam.errors import ConfigError, PromptError
from glesam.everything.labels import load_labeler
from glesam.fewshot.labels import ExampleLabeler
from glesam.masks.masks import Masks

MARKED = [(32, 64, 64, RED), (224, 96, 96, BLUE)]
SCENE = [(200, 30, 80, RED), (60, 150, 80, BLUE), (280, 160, 64, GREEN)]


def test_each_mask_gets_the_class_of_the_example_that_it_looks_like() -> None:
    image = draw(MARKED)
    red, blue = (mask_of(square)[None] for square in MARKED)
    labeler = ExampleLabeler({"red": [(image, red)], "blue": [(image, blue)]}, backbone)
    masks = np.stack([*(mask_of(square) for square in SCENE[:2]), np.zeros(SIZE, bool)])
    rankings = labeler(draw(SCENE), Masks(masks, np.ones(3, np.float32)))
    assert [[name for name, _ in ranking] for ranking in rankings] == [["red", "blue"], ["blue", "red"], []]
    assert all(ranking[0][1] > 0.95 > ranking[1][1] >= 0 for ranking in rankings[:2])


def test_several_examples_of_a_class_count_by_the_nearest() -> None:
    image, scene = draw(SCENE), draw(MARKED)
    red, blue, green = (mask_of(square)[None] for square in SCENE)
    labeler = ExampleLabeler({"warm": [(image, red)], "cold": [(image, green), (image, blue)]}, backbone)
    ranking = labeler(scene, Masks(mask_of(MARKED[1])[None], np.ones(1, np.float32)))[0]
    assert ranking[0][0] == "cold"
    assert ranking[0][1] > 0.95


def test_examples_are_read_from_a_folder_of_classes(tmp_path: Path) -> None:
    for name, square in zip(("red", "blue"), MARKED, strict=True):
        (tmp_path / name).mkdir()
        Image.fromarray(draw(MARKED)).save(tmp_path / name / "a.png")
        Image.fromarray(mask_of(square)).save(tmp_path / name / "a.mask.png")
        (tmp_path / name / "a.json").write_text("{}")  # as LabelMe writes beside an image
    labeler = load_labeler(f"examples:{tmp_path}")
    masks = Masks(np.stack([mask_of(square) for square in SCENE[:2]]), np.ones(2, np.float32))
    assert [ranking[0][0] for ranking in labeler(draw(SCENE), masks)] == ["red", "blue"]


def test_examples_are_read_as_asked_and_a_wrong_one_is_named(tmp_path: Path) -> None:
    (tmp_path / "red").mkdir()
    Image.fromarray(draw(MARKED)).save(tmp_path / "red" / "a.png")
    Image.fromarray(mask_of(MARKED[0])).save(tmp_path / "red" / "a.mask.png")
    asked: list[Path] = []

    def read_file(path: Path) -> np.ndarray:
        asked.append(path)
        return draw(MARKED)

    load_labeler(f"examples:{tmp_path}", read_file)
    assert asked == [tmp_path / "red" / "a.png"]
    Image.fromarray(mask_of(MARKED[0])[:, 1:]).save(tmp_path / "red" / "a.mask.png")
    with pytest.raises(PromptError, match=r"the image beside .*red/a\.mask\.png, got \(1, .*; resize them"):
        load_labeler(f"examples:{tmp_path}")


def test_what_gives_no_examples_is_one_line(tmp_path: Path) -> None:
    for given in ("examples", f"examples:{tmp_path}"):
        with pytest.raises(ConfigError, match=r"expected examples:FOLDER with FOLDER/CLASS/a\.jpg"):
            load_labeler(given)
    (tmp_path / "red").mkdir()
    Image.fromarray(mask_of(MARKED[0])).save(tmp_path / "red" / "a.mask.png")
    with pytest.raises(ConfigError, match=r"expected an image a\.\* beside"):
        load_labeler(f"examples:{tmp_path}")
    with pytest.raises(PromptError, match="expected masks"):
        ExampleLabeler({"red": [(draw(MARKED), np.ones((1, 3, 3), bool))]}, backbone)
