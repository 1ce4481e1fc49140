"""What the measuring script of examples counts, against brute force."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest

from examples import Counts, best_iou, hits, interval
from glesam.images.shrink import shrunk_size
from glesam.masks.agreement import mask_iou
from glesam.predict.examples import SIDE
from kept_answers import KeptAnswers


def test_each_object_is_found_once_and_by_the_mask_that_comes_first() -> None:
    one, two = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    one[:2], two[3] = True, True
    nearly = one.copy()
    nearly[0, 0] = False
    assert hits(np.stack([nearly, one, two, one | two]), np.stack([one, two])) == [True, False, True, False]
    assert hits(np.zeros((0, 4, 4), bool), np.stack([one])) == []


@pytest.mark.parametrize("seed", range(4))
def test_recall_at_a_precision_is_the_best_of_all_thresholds(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, truth = rng.random(14).round(1), rng.random(14) < 0.6
    counts = Counts()
    counts.add("a", scores, truth.tolist(), truth, int(truth.sum()) + 1)
    recalls = [0.0]
    for threshold in np.unique(scores):
        chosen = scores >= threshold
        if truth[chosen].mean() >= 0.6:
            recalls.append(truth[chosen].sum() / counts.total)
    assert counts.at_precision(0.6) == pytest.approx(max(recalls))


def test_the_best_iou_of_each_object_is_that_of_all_pairs() -> None:
    rng = np.random.default_rng(0)
    masks, truths = rng.random((5, 6, 7)) < 0.4, rng.random((3, 6, 7)) < 0.5
    expected = [max(mask_iou(mask, truth) for mask in masks) for truth in truths]
    assert best_iou(masks, truths) == pytest.approx(expected)


def test_objects_of_large_images_are_held_against_masks_of_the_smaller_copy() -> None:
    truths = np.zeros((2, 1500, 2048), bool)
    truths[0, 300:700, 400:900], truths[1, 900:1400, 1000:2000] = True, True
    small = truths[:, ::2, ::2]  # rectangles at even places: exact at half the size
    assert small.shape[1:] == shrunk_size((1500, 2048), SIDE)
    assert best_iou(list(small[:1]), truths).tolist() == [1.0, 0.0]
    assert best_iou([], truths).tolist() == [0.0, 0.0]


def test_an_interval_is_the_share_when_all_images_are_alike_and_wide_when_they_are_not() -> None:
    alike, unlike = {"a": 2, "b": 2}, {"a": 0, "b": 4}
    wholes = {"a": 4, "b": 4}
    assert interval(alike, wholes, 0) == "0.50 (0.50-0.50)"
    assert interval(unlike, wholes, 0) == "0.50 (0.00-1.00)"
    assert interval({"a": 0}, {"a": 0}, 0) == "none"


def test_kept_answers_are_those_that_were_given_and_are_asked_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    from glesam.fewshot import references, search

    masks = np.random.default_rng(0).random((2, 3, 5, 7)) < 0.5
    asked: list[bool] = []

    def ask(prompts: object, multimask: bool) -> SimpleNamespace:
        asked.append(multimask)
        return SimpleNamespace(candidates=masks, candidate_scores=np.arange(6).reshape(2, 3))

    for module, name in ((references, "close_features"), (search, "distinct")):
        monkeypatch.setattr(module, name, getattr(module, name))  # put back at the end
    examples = SimpleNamespace(_ask=lambda encoded, image: ask)
    kept = KeptAnswers(examples)
    clicks = SimpleNamespace(points=np.ones((2, 1, 2)))
    for image in (np.zeros((5, 7, 3), np.uint8), np.zeros((5, 7, 3), np.uint8), np.ones((5, 7, 3), np.uint8)):
        answer = examples._ask(None, image)(clicks, True)
        assert np.array_equal(answer.candidates, masks)
        assert np.array_equal(kept.masks(image, lambda: masks[0]), masks[0])
    assert asked == [True, True]  # once for each image
    examples._ask(None, image)(clicks, False)
    assert asked[2:] == [False]
