"""Masks of overlapping tiles become masks of the whole image: matched in the shared strips, joined by union-find."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from glesam.masks.runs import Box, RunMask, union


@dataclass(frozen=True, eq=False)
class Found:
    """A mask of the whole image.

    Attributes:
        mask: the mask, not empty.
        iou: predicted IoU.
        stability: stability score.
        point: `(x, y)` of the click that found it, in pixels of the image.
        view: box of the image, of the crop, or around the tiles in which it was found.
        layer: 0 for the whole image, i for a crop of layer i.
        like: whether the box is given as segment-anything gives it, one pixel narrower and lower than COCO's.
    """

    mask: RunMask
    iou: float
    stability: float
    point: tuple[float, float]
    view: Box
    layer: int = 0
    like: bool = False

    def details(self) -> dict[str, Any]:
        """The keys that segment-anything has besides COCO's: `stability_score`, `point_coords`, `crop_box` (xywh)."""
        x0, y0, x1, y1 = self.view
        left, top, right, bottom = self.mask.box
        box = {"bbox": [left, top, right - 1 - left, bottom - 1 - top]} if self.like else {}
        return box | {
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


CONTAINED = 0.8
"""Share of a mask's part in the strip that must lie in another tile's mask for it to be a piece of that mask."""

StripParts = dict[int, RunMask]
"""Index of a mask to its part in a strip, where there is one."""


class Groups:
    """Union-find over `0 .. count - 1` with path halving (Tarjan and van Leeuwen 1984)."""

    def __init__(self, count: int) -> None:
        self._parents = list(range(count))

    def find(self, item: int) -> int:
        """The smallest member of an item's group."""
        while self._parents[item] != item:
            self._parents[item] = self._parents[self._parents[item]]
            item = self._parents[item]
        return item

    def join(self, first: int, second: int) -> None:
        """Make two groups one."""
        low, high = sorted((self.find(first), self.find(second)))
        self._parents[high] = low

    def members(self) -> list[list[int]]:
        """All groups in the order of their smallest members, each sorted."""
        groups: dict[int, list[int]] = {}
        for item in range(len(self._parents)):
            groups.setdefault(self.find(item), []).append(item)
        return list(groups.values())


def merge_tiles(tiles: Sequence[tuple[Box, Sequence[Found]]], threshold: float) -> list[Found]:
    """Join the masks of overlapping tiles that are one object.

    Two masks of neighbouring tiles are one when, within the strip that both tiles see, they are each other's best match
    with an IoU of at least the threshold; or when one of them matches several separate masks of the other tile taken
    together (an object shaped like a U, whose arms alone reach into that tile).

    Args:
        tiles: box of each tile, and its masks in the frame of the whole image.
        threshold: IoU in the strip.

    Returns:
        One mask for each object, in the order of the tiles.
    """
    found = [each for _, masks in tiles for each in masks]
    groups = Groups(len(found))
    indices, start = [], 0
    for _, masks in tiles:
        indices.append(range(start, start + len(masks)))
        start += len(masks)
    for (box, first), (other_box, second) in combinations(zip((t[0] for t in tiles), indices, strict=True), 2):
        strip = _shared(box, other_box)
        if strip is not None:
            parts, others = _parts(found, first, strip), _parts(found, second, strip)
            for a, b in (*_best_pairs(parts, others, threshold), *_pieces(parts, others, threshold)):
                groups.join(a, b)
            for a, b in _pieces(others, parts, threshold):
                groups.join(a, b)
    return [joined([found[i] for i in group]) for group in groups.members()]


def _shared(first: Box, second: Box) -> Box | None:
    """The strip that two tiles share, or None."""
    x0, y0 = max(first[0], second[0]), max(first[1], second[1])
    x1, y1 = min(first[2], second[2]), min(first[3], second[3])
    return (x0, y0, x1, y1) if x0 < x1 and y0 < y1 else None


def _parts(found: Sequence[Found], indices: range, strip: Box) -> StripParts:
    """What of each mask lies in a strip, for those with anything there."""
    reaching = (i for i in indices if _shared(found[i].mask.box, strip) is not None)
    clipped = ((i, found[i].mask.clip(strip)) for i in reaching)
    return {i: part for i, part in clipped if part.area}


def _best_pairs(parts: StripParts, others: StripParts, threshold: float) -> Iterator[tuple[int, int]]:
    """Pairs that are each other's best match, from the threshold on."""
    met = [(a, b) for a in parts for b in others if _shared(parts[a].box, others[b].box) is not None]
    ious = {(a, b): parts[a].iou(others[b]) for a, b in met}
    best_of_part: dict[int, tuple[int, int]] = {}
    best_of_other: dict[int, tuple[int, int]] = {}
    for pair in sorted(met, key=lambda pair: ious[pair]):
        best_of_part[pair[0]] = best_of_other[pair[1]] = pair
    for a, b in best_of_part.values():
        if best_of_other[b] == (a, b) and ious[a, b] >= threshold:
            yield a, b


def _pieces(parts: StripParts, others: StripParts, threshold: float) -> Iterator[tuple[int, int]]:
    """Pairs of a mask and the separate masks of the other tile that make it up, from the threshold on."""
    for a, part in parts.items():
        chosen: list[int] = []
        for b in sorted(others, key=lambda b: -others[b].area):
            inside = others[b].intersection(part) >= CONTAINED * others[b].area
            # A part of a piece that is taken already, such as a window of a house, is another object.
            if inside and not any(others[b].intersection(others[c]) for c in chosen):
                chosen.append(b)
        if len(chosen) > 1 and union(others[b] for b in chosen).iou(part) >= threshold:
            yield from ((a, b) for b in chosen)
