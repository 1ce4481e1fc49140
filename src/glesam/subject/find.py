"""From the saliency map of an image to the mask of its main thing: the map makes prompts, and chooses the answer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from scipy.ndimage import distance_transform_edt

from glesam.common.arrays import Bool, Float
from glesam.common.boxes import pixel_box
from glesam.fewshot.candidates import Ask
from glesam.fewshot.features import Backbone, image_features
from glesam.images.pixels import RGB
from glesam.masks.masks import Masks
from glesam.prompts.prompts import Prompts
from glesam.subject.head import SubjectHead

_CUT = 0.5
_PART = 0.15
"""Share of the largest region's area from which on another region is a part of the subject, not a slip of the map."""

_MOST_PARTS = 4
_POINTS = 3


@dataclass(frozen=True, eq=False)
class Subject:
    """The main thing of an image.

    Attributes:
        mask: `(H, W)` bool.
        saliency: `(h, w)` float32, 0 to 1, laid over the whole image.
        agreement: soft IoU of mask and saliency, 0 to 1.
        chosen: "box", "points" or "box and points", whichever prompt gave the mask.
    """

    mask: Bool
    saliency: Float
    agreement: float
    chosen: str

    def to_masks(self, name: str | None, info: dict[str, Any]) -> Masks:
        """As the one result type."""
        facts = {"chosen": self.chosen, "agreement": round(self.agreement, 4)}
        return Masks(
            self.mask[None], np.array([self.agreement], np.float32), name=name, info={**info, "subject": facts}
        )


def find_subject(ask: Ask, backbone: Backbone, head: SubjectHead, image: RGB) -> Subject:
    """Segment the main thing of an image.

    Args:
        ask: the predictor that has the image.
        backbone: frozen ImageNet backbone.
        head: saliency head that was trained on it.
        image: `(H, W, 3)` uint8 RGB.
    """
    saliency = head.map(image_features(backbone, image, head.side))
    size = (image.shape[0], image.shape[1])
    large = _enlarged(saliency, size)
    best: tuple[float, Bool, str] | None = None
    for chosen, mask in _answers(ask, list(parts_of(saliency)), size):
        agreement = soft_iou(mask, large)
        if best is None or agreement > best[0]:
            best = (agreement, mask, chosen)
    if best is None:  # no part has a cell: the map is below its own maximum everywhere, which cannot be
        best = (0.0, np.zeros(size, bool), "box")
    return Subject(best[1], saliency, best[0], best[2])


def parts_of(saliency: Float) -> Iterator[Bool]:
    """Connected regions `(h, w)` of a saliency map, cut at one half or at half its maximum, largest first."""
    above = saliency > min(_CUT, 0.5 * float(saliency.max()))
    _, labels, stats, _ = cv2.connectedComponentsWithStats(above.astype(np.uint8), connectivity=8)
    areas = stats[1:, cv2.CC_STAT_AREA]
    for index in np.argsort(-areas, kind="stable")[:_MOST_PARTS]:
        if areas[index] >= _PART * areas.max():
            yield np.asarray(labels == index + 1)


def soft_iou(mask: Bool, values: Float) -> float:
    """IoU of a mask with values 0 to 1 of the same size: sum of minima over sum of maxima (Ruzicka)."""
    inside = float(values[mask].sum())
    whole = float(np.count_nonzero(mask)) + float(values.sum()) - inside
    return inside / whole if whole > 0 else 0.0


def _answers(ask: Ask, parts: list[Bool], size: tuple[int, int]) -> Iterator[tuple[str, Bool]]:
    """Masks of the whole subject, by kind of prompt: each part by itself and joined, or all in one box."""
    if not parts:
        return
    scale = np.array([size[1] / parts[0].shape[1], size[0] / parts[0].shape[0]], np.float32)
    boxes = np.stack([_box(part) for part in parts]) * np.tile(scale, 2)
    points = [(spread_points(part, _POINTS) * scale).tolist() for part in parts]
    asked = {
        "box": Prompts(boxes=boxes),
        "points": Prompts(points=points),
        "box and points": Prompts(points=points, boxes=boxes),
    }
    for name, prompts in asked.items():
        yield name, np.asarray(ask(prompts, False).masks.any(axis=0))
    if len(parts) > 1:
        around = np.concatenate([boxes[:, :2].min(axis=0), boxes[:, 2:].max(axis=0)])
        yield "box", np.asarray(ask(Prompts(boxes=around), False).masks[0])


def spread_points(part: Bool, count: int) -> Float:
    """Points deep inside a region and apart from each other, `(n, 2)` `(x, y)` in cells."""
    depth = distance_transform_edt(np.pad(part, 1))[1:-1, 1:-1]
    rows, columns = np.mgrid[: part.shape[0], : part.shape[1]]
    found: list[tuple[float, float]] = []
    for _ in range(count):
        row, column = np.unravel_index(int(depth.argmax()), part.shape)
        if depth[row, column] <= 0:
            break
        found.append((column + 0.5, row + 0.5))
        depth = np.minimum(depth, np.hypot(rows - row, columns - column))
    return np.array(found, np.float32).reshape(-1, 2)


def _box(part: Bool) -> Float:
    return np.array(pixel_box(part), np.float32)


def _enlarged(saliency: Float, size: tuple[int, int]) -> Float:
    return np.asarray(cv2.resize(saliency, (size[1], size[0]), interpolation=cv2.INTER_LINEAR), np.float32)
