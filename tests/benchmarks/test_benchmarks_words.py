"""What the measuring script of words counts, against sums made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glesam.text.offline import bundled
from words import Overlap, labelled_images, meanings


def test_overlap_is_pooled_over_images() -> None:
    total = Overlap()
    one, two = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    one[:2], two[1:3] = True, True
    total.add("dog", one, two)
    total.add("dog", one, one)
    total.add("cat", one, ~one)
    assert total.iou("dog") == pytest.approx((4 + 8) / (12 + 8))
    assert total.mean(["dog", "cat"]) == pytest.approx(0.3)
    assert np.isnan(total.iou("cow"))


def test_labels_are_words_of_the_vocabulary_and_others_are_left_out(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    mask = np.array([[1, 2], [3, 0]], np.uint8)
    Image.fromarray(np.zeros((2, 2, 3), np.uint8)).save(tmp_path / "images/a.png")
    Image.fromarray(mask).save(tmp_path / "masks/a.png")
    labels = {"a": {"1": "tvmonitor", "2": "dog", "3": "thingamabob"}}
    (tmp_path / "labels.json").write_text(json.dumps(labels))
    words, images = labelled_images(tmp_path, False, 9)
    assert words == ["dog", "tv"]
    assert {word: each[0].tolist() for word, each in images[0][1].items()} == {
        "tv": (mask == 1).tolist(),
        "dog": (mask == 2).tolist(),
    }


def test_all_breeds_mean_dog_and_a_head_means_its_word() -> None:
    assert len(meanings(bundled(), "dog")) == 118
    assert meanings(bundled(), "person") >= {"person"}
