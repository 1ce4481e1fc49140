"""One way for the frames of a clip: the gate's verdict, smoothed over time, so that masks do not jump between two."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from glesam.enhance.gate import Verdict


@dataclass
class SteadyVerdict:
    """Takes the verdict on each frame in turn, and gives the one that the frame is treated by.

    Level and surplus are exponential means. Restoring starts once the mean surplus is above `width` and ends once it is
    below `-width` (hysteresis): what a gate says of frames that hardly differ moves by about as much.

    Attributes:
        share: weight of the newest frame.
        width: of the band around the threshold in which all stays as it is, in IoU.
        level: mean level so far; None before the first frame, or where the gate gives none.
        surplus: mean surplus so far.
        restored: for clicks and for boxes, whether the last frame was restored.
    """

    share: float = 0.25
    width: float = 0.01
    level: float | None = None
    surplus: tuple[float, float] | None = None
    restored: tuple[bool, bool] = (False, False)

    def __call__(self, verdict: Verdict) -> Verdict:
        """Smooth the verdict on the next frame; one without numbers is given back as it is."""
        if verdict.surplus is None:
            return verdict
        if self.surplus is None:
            self.level, self.surplus, self.restored = verdict.level, verdict.surplus, (verdict.points, verdict.boxes)
            return verdict
        if verdict.level is not None and self.level is not None:
            self.level += self.share * (verdict.level - self.level)
        points, boxes = (old + self.share * (new - old) for old, new in zip(self.surplus, verdict.surplus, strict=True))
        self.surplus = points, boxes
        self.restored = self._above(points, self.restored[0]), self._above(boxes, self.restored[1])
        return replace(verdict, level=self.level, points=self.restored[0], boxes=self.restored[1])

    def _above(self, surplus: float, before: bool) -> bool:
        return surplus > (-self.width if before else self.width)

    def forget(self) -> None:
        """Start over."""
        self.level, self.surplus, self.restored = None, None, (False, False)

    def state(self) -> dict[str, Any]:
        """What later verdicts depend on."""
        surplus = None if self.surplus is None else list(self.surplus)
        return {"level": self.level, "surplus": surplus, "restored": list(self.restored)}

    def restore(self, state: dict[str, Any]) -> None:
        """Go on as if `state` had just been taken."""
        surplus = state["surplus"]
        self.level, self.surplus = state["level"], None if surplus is None else (surplus[0], surplus[1])
        self.restored = bool(state["restored"][0]), bool(state["restored"][1])
