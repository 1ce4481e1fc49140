"""Heat maps as prompts: the bumps that were drawn come back as objects."""

from __future__ import annotations

import numpy as np
import pytest

from glesam.errors import PromptError
from glesam.fewshot.heat import best_by_map, heat_prompts, without_duplicates
from glesam.masks.masks import Masks

MASK: np.ndarray = np.zeros((120, 200), bool)
MASK[30:90, 50:150] = True


def test_a_heat_map_s_bumps_become_objects_at_their_places() -> None:
    ys, xs = np.mgrid[:60, :100]
    bumps = [(20, 15), (80, 40)]
    heat = sum(np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 60) for x, y in bumps)
    asked = heat_prompts((heat * 7 - 3).astype(np.float32), (600, 1000), 2)
    near, wide = asked.ways[0], asked.ways[-1]
    assert near.points is not None
    assert near.boxes is not None
    assert wide.boxes is not None
    found = sorted(near.points[:, 0].tolist())
    np.testing.assert_allclose(found, [(205, 155), (805, 405)], atol=20)
    # exp(-r^2 / 60) is one half at r = 6.4 cells of 10 pixels and .3 at 8.5, on which the peaks' neighbours add little.
    for (x, y), box, wider in zip(near.points[:, 0], near.boxes, wide.boxes, strict=True):
        np.testing.assert_allclose(np.abs(box - [x, y, x, y]), 65, atol=16)
        np.testing.assert_allclose(np.abs(wider - [x, y, x, y]), 85, atol=16)


def test_of_several_answers_the_one_that_fits_the_map_is_taken() -> None:
    ys, xs = np.mgrid[:60, :100]
    heat = np.exp(-((xs - 50) ** 2 + (ys - 30) ** 2) / 100).astype(np.float32)
    discs = [np.hypot(*(np.mgrid[:120, :200] - np.array([[[60]], [[100]]]))) < radius for radius in (6, 22, 55)]
    answers = [
        Masks(disc[None], np.full(1, score, np.float32)) for disc, score in zip(discs, (0.9, 0.5, 0.7), strict=True)
    ]
    best = best_by_map(answers, heat[None])
    np.testing.assert_array_equal(best.masks[0], discs[1])
    assert best.scores.tolist() == [0.5]


def test_flat_and_wrong_heat_maps_are_refused() -> None:
    for values, words in (
        (np.ones((4, 4)), "flat"),
        (np.ones((4, 4, 3)), "one channel"),
        (np.full((4, 4), np.nan), "finite"),
    ):
        with pytest.raises(PromptError, match=words):
            heat_prompts(values.astype(np.float32), (10, 10), 2)


def test_near_duplicates_are_left_out() -> None:
    near = MASK.copy()
    near[30, 50] = False
    masks = Masks(np.stack([MASK, near, np.zeros_like(MASK), ~MASK]), np.full(4, 0.5, np.float32))
    np.testing.assert_array_equal(without_duplicates(masks).masks, [MASK, ~MASK])


def test_facts_of_a_heat_map_are_those_of_the_answers_that_were_taken() -> None:
    """Of three peaks the second takes another way than the first; the third repeats the first and goes."""
    other = np.roll(MASK, (25, 45), axis=(0, 1))
    first = Masks(
        np.stack([MASK, ~MASK, MASK]), np.full(3, 0.5, np.float32), info={"model": "m", "looked_nearer": [0, 2]}
    )
    second = Masks(np.stack([~MASK, other, ~MASK]), np.full(3, 0.7, np.float32), info={"model": "m"})
    third = Masks(second.masks, second.scores, info={"model": "m", "looked_nearer": [1]})
    own = np.stack([each.astype(np.float32) for each in (MASK, other, MASK)])
    best = best_by_map([first, second], own)
    np.testing.assert_array_equal(best.masks, [MASK, other, MASK])
    assert best.info == {"model": "m", "looked_nearer": [0, 2]}
    assert best_by_map([first, third], own).info["looked_nearer"] == [0, 1, 2]
    assert without_duplicates(best_by_map([first, third], own)).info["looked_nearer"] == [0, 1]
    assert "looked_nearer" not in best_by_map([second, second], own).info
