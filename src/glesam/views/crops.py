"""Where to look: layers of crops for small objects, tiles for big images."""

from __future__ import annotations

import math
from collections.abc import Iterator

from glesam.errors import ConfigError
from glesam.masks.runs import Box

EDGE = 20
"""A mask that comes this near, in pixels, to an inner edge of a crop is taken to be cut off by it."""

MIN_TILE = 64
"""Smallest tile in pixels: below it a model sees next to nothing of an image."""


def check_tile(tile: int | None) -> None:
    """Refuse a side of tiles that is no number of pixels.

    Raises:
        ConfigError: not a whole number, or below `MIN_TILE`.
    """
    if tile is not None and (not isinstance(tile, int) or tile < MIN_TILE):
        raise ConfigError(
            f"expected tile as a whole number of at least {MIN_TILE} pixels, got {tile!r}; try 1024, or leave it out"
        )


def crop_boxes(size: tuple[int, int], layers: int, overlap_ratio: float) -> Iterator[tuple[int, Box]]:
    """List the views of everything mode: the whole image, then layer i of 2^i x 2^i crops that overlap.

    Args:
        size: `(H, W)` of the image.
        layers: number of layers besides the whole image.
        overlap_ratio: overlap in the first layer as a share of the shorter side; each further layer halves it, so that
            it stays the same share of a crop.

    Yields:
        Layer and box of each view.
    """
    height, width = size
    yield 0, (0, 0, width, height)
    for layer in range(1, layers + 1):
        count = 2**layer
        overlap = int(overlap_ratio * min(size) * 2 / count)
        ys, xs = (_spans(length, count, overlap) for length in size)
        yield from ((layer, (x0, y0, x1, y1)) for x0, x1 in xs for y0, y1 in ys)


def tile_spans(length: int, tile: int, overlap: float) -> list[tuple[int, int]]:
    """Cover an axis with tiles of one length that overlap by at least a share of it.

    All tiles are full; the last one ends with the image. An image no longer than a tile is one span.
    """
    if length <= tile:
        return [(0, length)]
    step = tile - math.ceil(tile * overlap)
    starts = [*range(0, length - tile, step), length - tile]
    return [(start, start + tile) for start in starts]


def is_cut(box: Box, view: Box, size: tuple[int, int]) -> bool:
    """Whether a mask's box comes near an edge of its view, and not near the same edge of the image.

    segment-anything's rule: edges that are at most `EDGE` pixels apart are near. Its boxes end with the last pixel.
    """
    height, width = size
    last = (box[0], box[1], box[2] - 1, box[3] - 1)
    sides = zip(last, view, (0, 0, width, height), strict=True)
    return any(abs(at - edge) <= EDGE < abs(at - outer) for at, edge, outer in sides)


def _spans(length: int, count: int, overlap: int) -> list[tuple[int, int]]:
    """`count` spans of one length that cover `length` and overlap by `overlap`; the last may be shorter, or left out.

    They are as segment-anything lays them, except that it fails where nothing is left for the last.
    """
    part = math.ceil((overlap * (count - 1) + length) / count)
    starts = ((part - overlap) * i for i in range(count))
    return [(start, min(start + part, length)) for start in starts if start < length]
