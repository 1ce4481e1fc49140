"""Wrong clicks among right ones, judged with a model whose answers are drawn: squares that clicks choose."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from glesam.masks.masks import Masks
from glesam.prompts.arrays import PADDING_LABEL
from glesam.prompts.hygiene import check_clicks, without_doubtful
from glesam.prompts.prompts import Prompts

SIZE = (40, 60)
LEFT: npt.NDArray[np.bool_] = np.zeros(SIZE, bool)
LEFT[10:30, 5:25] = True
RIGHT: npt.NDArray[np.bool_] = np.zeros(SIZE, bool)
RIGHT[10:30, 35:55] = True


def _answer(prompts: Prompts) -> Masks:
    """The squares that positive clicks or boxes lie in, without those that negative clicks lie in; unsure of two."""
    masks, scores = [], []
    for index in range(len(prompts)):
        chosen, refused = set(), set()
        if prompts.points is not None and prompts.labels is not None:
            for (x, y), label in zip(prompts.points[index], prompts.labels[index], strict=True):
                if label == PADDING_LABEL:
                    continue
                hit = {number for number, square in enumerate((LEFT, RIGHT)) if square[int(y), int(x)]}
                (chosen if label == 1 else refused).update(hit)
        if prompts.boxes is not None and prompts.has_box[index]:
            chosen.add(int(prompts.boxes[index, 0] > 30))
        left = chosen - refused
        masks.append(
            sum((square for number, square in enumerate((LEFT, RIGHT)) if number in left), np.zeros(SIZE, bool))
        )
        scores.append(0.9 if len(chosen) == 1 and not refused & chosen else 0.5)
    return Masks(np.stack(masks), np.array(scores, np.float32))


def test_a_click_on_another_object_is_the_doubtful_one() -> None:
    prompts = Prompts([[10, 15], [20, 20], [12, 25], [45, 20]], [1, 1, 1, 1])
    (check,) = check_clicks(_answer, prompts)
    assert check.doubtful.tolist() == [False, False, False, True]
    assert check.agrees.tolist() == [True, True, True, False]
    assert check.change[3] == 0.5  # two squares of equal size against one
    np.testing.assert_allclose(check.gain[3], 0.4, atol=1e-6)
    assert len(check.sentences()) == 1
    assert check.sentences()[0].startswith("click 45,20 on object 1 looks wrong")


def test_right_clicks_are_left_alone() -> None:
    (check,) = check_clicks(_answer, Prompts([[10, 15], [20, 20], [2, 2]], [1, 1, 0]))
    assert not check.doubtful.any()
    assert check.sentences() == []


def test_a_negative_click_inside_the_box_s_object_is_doubtful() -> None:
    (check,) = check_clicks(_answer, Prompts([[[10, 15], [20, 20]]], [[1, 0]], [[4, 9, 26, 31]]))
    assert check.doubtful.tolist() == [False, True]
    assert "beside object 1" in check.sentences()[0]


def test_objects_without_anything_to_compare_with_are_not_judged() -> None:
    assert check_clicks(_answer, Prompts(boxes=[[4, 9, 26, 31]])) == []
    assert check_clicks(_answer, Prompts([[10, 15]])) == []
    checks = check_clicks(_answer, Prompts([[[10, 15]], [[40, 15], [41, 15]]]))
    assert [check.index for check in checks] == [1]


def test_dropping_the_doubtful_keeps_everything_else() -> None:
    prompts = Prompts(
        [[[10, 15], [20, 20], [45, 20]], [[40, 15]], []],
        [[1, 1, 1], [1], []],
        [None, None, [4, 9, 26, 31]],
    )
    cleaned = without_doubtful(prompts, check_clicks(_answer, prompts))
    expected = Prompts([[[10, 15], [20, 20]], [[40, 15]], []], [[1, 1], [1], []], [None, None, [4, 9, 26, 31]])
    assert cleaned == expected


def test_two_clicks_that_contradict_one_another_are_both_kept_unless_one_costs_more() -> None:
    (check,) = check_clicks(_answer, Prompts([[10, 15], [45, 20]], [1, 1]))
    assert not check.agrees.any()
    # Without either the other's square is sure: nobody can tell which was meant, and both are named.
    assert check.doubtful.tolist() == [True, True]
