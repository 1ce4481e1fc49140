"""Which click looks wrong: each click is judged by the mask that the other clicks of its object give.

Leave-one-out consistency, without training: the training-free part of consensus prompts (SPD, arXiv 2604.23314, keeps
prompts that others support). A click that the mask of the others contradicts may be a correction or a slip. A slip
shows in what it does: with it the model is less sure of its mask than without it, or does not obey it at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Bool, Float
from glesam.prompts.arrays import PADDING_LABEL
from glesam.prompts.prompts import Prompts

if TYPE_CHECKING:
    from glesam.masks.masks import Masks

PredictMasks: TypeAlias = "Callable[[Prompts], Masks]"
"""Answers prompts on the image, one mask an object."""


class DoubtfulClickWarning(UserWarning):
    """A click that looks wrong by the mask of the others."""


DOUBT = 0.03
"""Predicted IoU that a contradicted click must cost to look wrong."""


@dataclass(frozen=True, eq=False)
class ClickCheck:
    """What was found on the K clicks of one object.

    Attributes:
        index: of the object.
        points: `(K, 2)` float32 `(x, y)` in pixels.
        labels: `(K,)` int64, 1 foreground, 0 background.
        agrees: `(K,)` bool: the mask from the other prompts has the click on the side that its label says.
        obeyed: `(K,)` bool: the mask from all prompts has.
        change: `(K,)` float32, 0 to 1: 1 - IoU of the masks with and without the click.
        gain: `(K,)` float32: predicted IoU without the click minus that with it.
        doubtful: `(K,)` bool: the click looks wrong.
    """

    index: int
    points: Float
    labels: npt.NDArray[np.int64]
    agrees: Bool
    obeyed: Bool
    change: Float
    gain: Float
    doubtful: Bool

    def sentences(self) -> list[str]:
        """One line for each click that looks wrong."""
        lines = []
        for index in np.flatnonzero(self.doubtful).tolist():
            x, y = self.points[index]
            kind, side = ("on", "outside of") if self.labels[index] == 1 else ("beside", "inside")
            lines.append(
                f"click {x:g},{y:g} {kind} object {self.index + 1} looks wrong: the mask of the other clicks has it "
                f"{side} the object, and without it the predicted IoU is {self.gain[index]:+.2f}"
            )
        return lines

    def record(self) -> dict[str, Any]:
        """Plain values for `Masks.info`."""
        return {
            "object": self.index,
            "doubtful": np.flatnonzero(self.doubtful).tolist(),
            "change": [round(float(value), 4) for value in self.change],
            "gain": [round(float(value), 4) for value in self.gain],
        }


def check_clicks(ask: PredictMasks, prompts: Prompts, doubt: float = DOUBT) -> list[ClickCheck]:
    """Judge the clicks of all objects that have other prompts to compare with.

    An object with a single click and no box has none. Costs one more mask for each click.

    Args:
        ask: the predictor that has the image.
        prompts: what was asked; mask inputs stay as they are.
        doubt: see `DOUBT`.

    Returns:
        One check for each object with at least two clicks, or a click and a box.
    """
    counts = prompts.point_counts
    checked = [i for i in range(len(prompts)) if counts[i] and counts[i] + prompts.has_box[i] > 1]
    return [_check(ask, prompts.select([index]), index, doubt) for index in checked]


def without_doubtful(prompts: Prompts, checks: list[ClickCheck]) -> Prompts:
    """The prompts without the clicks that look wrong."""
    doubts = {check.index: check.doubtful for check in checks}
    return _rebuilt(prompts, [~doubts[i] if i in doubts else None for i in range(len(prompts))])


def _check(ask: PredictMasks, one: Prompts, index: int, doubt: float) -> ClickCheck:
    """Judge the clicks of one object."""
    count = int(one.point_counts[0])
    points, labels = _clicks(one, 0)
    everything = np.ones(count, bool)
    kept = [everything, *(np.arange(count) != i for i in range(count))]
    # A row without points and box would not be a prompt; `check_clicks` leaves such objects out.
    answer = ask(_rebuilt(one.select([0] * (count + 1)), list(kept)))
    whole, rest = answer.masks[0], answer.masks[1:]
    columns = np.minimum(points[:, 0].astype(int), whole.shape[1] - 1)
    rows = np.minimum(points[:, 1].astype(int), whole.shape[0] - 1)
    wanted = labels == 1
    agrees = rest[np.arange(count), rows, columns] == wanted
    obeyed = whole[rows, columns] == wanted
    change = np.array([1 - _iou(whole, mask) for mask in rest], np.float32)
    gain = (answer.scores[1:] - answer.scores[0]).astype(np.float32)
    doubtful = ~agrees & ((gain > doubt) | ~obeyed)
    if doubtful.sum() * 2 > count:  # the clicks contradict one another: the worst of them alone
        doubtful &= gain == gain[doubtful].max()
    return ClickCheck(index, points, labels, agrees, obeyed, change, gain, doubtful)


def _clicks(prompts: Prompts, index: int) -> tuple[Float, npt.NDArray[np.int64]]:
    """Points `(K, 2)` and labels `(K,)` of one object, without padding."""
    if prompts.points is None or prompts.labels is None:
        return np.zeros((0, 2), np.float32), np.zeros(0, np.int64)
    real = prompts.labels[index] != PADDING_LABEL
    return prompts.points[index][real], prompts.labels[index][real]


def _rebuilt(prompts: Prompts, kept: list[Bool | None]) -> Prompts:
    """Prompts with some clicks of each object only; None keeps all."""
    points, labels = [], []
    for index, chosen in enumerate(kept):
        coords, values = _clicks(prompts, index)
        choice = np.ones(len(values), bool) if chosen is None else chosen
        points.append(coords[choice].tolist())
        labels.append(values[choice].tolist())
    boxes = None
    if prompts.boxes is not None and prompts.has_box.any():
        boxes = [row if known else None for row, known in zip(prompts.boxes, prompts.has_box, strict=True)]
    if not any(points):
        return Prompts(boxes=boxes, mask_input=prompts.mask_input)
    return Prompts(points, labels, boxes, prompts.mask_input)


def _iou(one: Bool, other: Bool) -> float:
    whole = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / whole if whole else 1.0
