"""`Found`: one mask of everything mode on its way to the result, with what segment-anything tells about it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from glesam.masks.runs import Box, RunMask, union


@dataclass(frozen=True, eq=False)
class Found:
    """A mask of the whole picture.

    Attributes:
        mask: the mask, not empty.
        iou: predicted IoU.
        stability: stability score.
        point: `(x, y)` of the click that found it, in pixels of the picture.
        view: box of the picture, of the crop, or around the tiles in which it was found.
        layer: 0 for the whole picture, i for a crop of layer i.
    """

    mask: RunMask
    iou: float
    stability: float
    point: tuple[float, float]
    view: Box
    layer: int = 0

    def details(self) -> dict[str, Any]:
        """The keys that segment-anything has besides COCO's: `stability_score`, `point_coords`, `crop_box` (xywh)."""
        x0, y0, x1, y1 = self.view
        return {
            "stability_score": self.stability,
            "point_coords": [list(self.point)],
            "crop_box": [x0, y0, x1 - x0, y1 - y0],
        }


def joined(parts: Sequence[Found]) -> Found:
    """One object from its pieces: scores weighted by area, the click of the largest piece, a box around all views."""
    if len(parts) == 1:
        return parts[0]
    largest = max(parts, key=lambda part: part.mask.area)
    total = sum(part.mask.area for part in parts)
    iou = sum(part.mask.area * part.iou for part in parts) / total
    stability = sum(part.mask.area * part.stability for part in parts) / total
    lows = [min(part.view[i] for part in parts) for i in (0, 1)]
    highs = [max(part.view[i] for part in parts) for i in (2, 3)]
    view = (lows[0], lows[1], highs[0], highs[1])
    return Found(union(part.mask for part in parts), iou, stability, largest.point, view, largest.layer)
