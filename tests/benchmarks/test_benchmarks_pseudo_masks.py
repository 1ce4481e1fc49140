"""What a set leaves unlabelled: beside what is labelled, of a fit size, the same from a click and from its box."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from PIL import Image

import pseudo_masks
from glesam.data.base import Sample
from glesam.data.readers.folder import FolderDataset

SIDE = 40


def square(x: int, y: int, side: int) -> np.ndarray:
    mask = np.zeros((SIDE, SIDE), bool)
    mask[y : y + side, x : x + side] = True
    return mask


class Told:
    """A predictor whose candidates are given; one of them gets another answer when its box is asked for."""

    def __init__(self, candidates: list[np.ndarray], other: dict[int, np.ndarray]) -> None:
        self.candidates, self.other = candidates, other

    def reset(self) -> None: ...

    def set_image(self, image: np.ndarray) -> None: ...

    def generate(self, **_: Any) -> Any:
        return SimpleNamespace(masks=np.array(self.candidates, bool).reshape(-1, SIDE, SIDE))

    def predict(self, boxes: np.ndarray, multimask: bool) -> Any:
        answers = []
        for x0, y0, x1, y1 in boxes.tolist():
            index = next(i for i, m in enumerate(self.candidates) if m[y0:y1, x0:x1].sum() == m.sum() and m[y0, x0])
            answers.append(self.other.get(index, self.candidates[index]))
        return SimpleNamespace(masks=np.array(answers))


def test_found_lies_beside_the_labelled_and_is_sure() -> None:
    labelled, speck, on_it, good, unsure = (
        square(0, 0, 10),
        square(38, 38, 2),
        square(2, 2, 8),
        square(20, 4, 9),
        square(4, 24, 12),
    )
    sample = Sample("a", np.zeros((SIDE, SIDE, 3), np.uint8), labelled.astype(np.int32) * 3)
    found = pseudo_masks.found_beside(Told([on_it, speck, unsure, good], {2: square(4, 24, 8)}), sample)
    assert len(found) == 1
    assert np.array_equal(found[0], good)
    assert pseudo_masks.found_beside(Told([], {}), sample) == []


def test_no_pixel_is_in_two() -> None:
    sample = Sample("a", np.zeros((SIDE, SIDE, 3), np.uint8), square(0, 0, 10).astype(np.int32))
    first, touching, covering = square(20, 20, 10), square(29, 20, 10), square(22, 22, 10)
    found = pseudo_masks.found_beside(Told([first, touching, covering], {}), sample)
    assert len(found) == 2
    assert not (found[0] & found[1]).any()
    assert found[1].sum() == 90


def test_the_new_set_is_read_as_one_and_what_is_there_stays(tmp_path: Path) -> None:
    for part in ("images", "masks", "nothing"):
        (tmp_path / "out" / part).mkdir(parents=True)
    sample = Sample("a", np.full((SIDE, SIDE, 3), 9, np.uint8), square(0, 0, 10).astype(np.int32) * 300)
    Image.fromarray(sample.image).save(tmp_path / "a.png")
    pseudo_masks.label(Told([square(20, 20, 10)], {}), sample, tmp_path / "a.png", tmp_path / "out")
    pseudo_masks.label(Told([], {}), Sample("b", sample.image, sample.mask), tmp_path / "b.png", tmp_path / "out")
    pseudo_masks.label(Told([square(5, 30, 10)], {}), sample, tmp_path / "a.png", tmp_path / "out")
    made = FolderDataset(tmp_path / "out")
    assert made.names == ["a"]
    assert np.array_equal(made[0].mask, square(0, 0, 10) * 300 + square(20, 20, 10) * 301)
    assert np.array_equal(made[0].image, sample.image)
    assert [path.name for path in (tmp_path / "out" / "nothing").iterdir()] == ["b"]
