"""Heat maps as prompts: the bumps that were drawn come back as objects."""

from __future__ import annotations

import numpy as np
import pytest

from glesam.errors import PromptError
from glesam.fewshot.heat import heat_prompts, without_duplicates
from glesam.masks.masks import Masks

MASK: np.ndarray = np.zeros((120, 200), bool)
MASK[30:90, 50:150] = True


def test_a_heat_map_s_bumps_become_objects_at_their_places() -> None:
    ys, xs = np.mgrid[:60, :100]
    bumps = [(20, 15), (80, 40)]
    heat = sum(np.exp(-((xs - x) ** 2 + (ys - y) ** 2) / 60) for x, y in bumps)
    prompts = heat_prompts((heat * 7 - 3).astype(np.float32), (600, 1000), 2)
    assert prompts.points is not None
    assert prompts.boxes is not None
    found = sorted(prompts.points[:, 0].tolist())
    np.testing.assert_allclose(found, [(205, 155), (805, 405)], atol=20)
    for (x, y), (x0, y0, x1, y1) in zip(prompts.points[:, 0], prompts.boxes, strict=True):
        assert x0 <= x <= x1
        assert y0 <= y <= y1


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
