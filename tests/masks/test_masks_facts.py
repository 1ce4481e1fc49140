"""Numbers of objects in the facts of a result follow the objects when some are chosen."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from glesam.masks.facts import OBJECT_LISTS, renumbered
from glesam.masks.masks import Masks
from glesam.masks.runs import RunMask
from glesam.masks.sparse import SparseMasks

MARKED = {"looked_nearer": [1, 3], "cut_boxes": [0], "start_kept": [0, 1, 2]}
INFO: dict[str, Any] = {"model": "m", "refine": "auto", **MARKED}


def results() -> tuple[Masks, SparseMasks]:
    """Four masks of one pixel each, whole and as runs, with the same facts."""
    stack = np.eye(4, dtype=bool)[:, None]
    runs = [RunMask.from_array(mask, (1, 4), 0, 0) for mask in stack]
    return Masks(stack, np.ones(4, np.float32), info=INFO), SparseMasks(runs, np.ones(4), (1, 4), None, None, INFO)


@pytest.mark.parametrize("key", [slice(1, 2), [3, 0], -1, np.array([False, True, False, True]), slice(None, None, -1)])
def test_each_chosen_object_keeps_its_marks(key: Any) -> None:
    for masks in results():
        before = [{name for name in MARKED if index in MARKED[name]} for index in range(4)]
        chosen = masks[key]
        places = [int(mask.argmax()) for mask in chosen.masks]
        after = [{name for name in MARKED if index in chosen.info[name]} for index in range(len(chosen))]
        assert after == [before[place] for place in places]
        assert all(max(chosen.info[name], default=0) < len(chosen) for name in MARKED)
        assert masks.info == INFO, "the whole result stays"


def test_other_facts_stay_and_strange_ones_are_left_alone() -> None:
    assert set(MARKED) == set(OBJECT_LISTS)
    assert renumbered({"model": "m"}, [2]) == {"model": "m"}
    assert renumbered({"cut_boxes": "all", "tile": 9}, [0]) == {"cut_boxes": "all", "tile": 9}
    assert renumbered({"cut_boxes": [1]}, [1, 1]) == {"cut_boxes": [0, 1]}
