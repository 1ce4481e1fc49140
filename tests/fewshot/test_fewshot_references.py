"""Examples: what is refused, likeness with and without unwanted examples, the threshold against brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from fewshot_scenes import BLUE, GREEN, RED, backbone, draw, mask_of, reference

from glesam.errors import PromptError
from glesam.fewshot.features import image_features
from glesam.fewshot.references import Reference, References, best_threshold, looks_of

SCENE = [(32, 64, 64, RED), (224, 96, 96, BLUE)]


def test_marks_that_cannot_be_are_refused() -> None:
    image = draw(SCENE)
    features = image_features(backbone, image)
    with pytest.raises(PromptError, match="expected masks"):
        Reference.of(backbone, image, features, np.ones((1, 5, 5), bool), False)
    with pytest.raises(PromptError, match="marked object"):
        Reference.of(backbone, image, features, np.zeros((1, *image.shape[:2]), bool), False)
    with pytest.raises(PromptError, match="at least one example"):
        References((reference(SCENE, [0], negative=True),))


def test_sizes_are_shares_of_the_longer_side() -> None:
    assert reference(SCENE, [0, 1]).sizes == [(64 / 384, 64 / 384), (96 / 384, 96 / 384)]


def test_likeness_is_highest_for_the_same_kind_and_unwanted_examples_veto() -> None:
    scene = [(300, 20, 64, RED), (30, 150, 80, BLUE), (150, 40, 70, GREEN)]
    image = draw(scene)
    looks = looks_of(backbone, image, image_features(backbone, image), [mask_of(square) for square in scene])
    red = References((reference(SCENE, [0]),)).likeness(looks)
    assert red[0] > max(red[1:])
    vetoed = References((reference(SCENE, [0]), reference(SCENE, [1], negative=True))).likeness(looks)
    assert vetoed[0] > 0.8
    assert vetoed[1] == 0


def test_what_looks_like_the_wanted_and_not_like_the_unwanted_promises_most() -> None:
    features = image_features(backbone, draw(SCENE))
    red, blue = features.inside([features.covered(mask_of(square)).numpy() for square in SCENE])
    alone = References((reference(SCENE, [0]),)).promise(torch.stack([red, blue]))
    np.testing.assert_allclose(alone, [1, float(red @ blue)], atol=1e-3)
    both = References((reference(SCENE, [0]), reference(SCENE, [1], negative=True)))
    expected = [1 - float(red @ blue) / 2, float(red @ blue) - 0.5]
    np.testing.assert_allclose(both.promise(torch.stack([red, blue])), expected, atol=1e-3)


@pytest.mark.parametrize("seed", range(5))
def test_the_threshold_has_the_best_f1_of_all(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores, truth = rng.random(12).round(1), rng.random(12) < 0.5
    objects = int(truth.sum()) + 2

    def f1(threshold: float) -> float:
        chosen = scores >= threshold
        return float(2 * (truth & chosen).sum() / (chosen.sum() + objects))

    found = best_threshold(scores.tolist(), truth.tolist(), objects)
    assert found is not None
    assert f1(found) == pytest.approx(max(f1(value) for value in np.linspace(-0.05, 1.05, 221)))


def test_without_a_true_candidate_there_is_no_threshold() -> None:
    assert best_threshold([0.5, 0.4], [False, False], 3) is None
    assert best_threshold([], [], 3) is None
