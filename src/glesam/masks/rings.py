"""Outlines of a mask as valid polygons, and their simplification, which keeps them valid.

Valid as OGC's Simple Features (06-103r4, 6.1.11) and so GeoJSON's readers want it: no ring crosses or touches itself,
holes lie inside their shell, and what a polygon encloses is in one piece. Pixels that touch at a corner only are
therefore two polygons.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

Ring = npt.NDArray[np.float32]
Points = npt.NDArray[np.float64]
Polygon = list[Ring]
"""A shell, turned to positive signed area (x right, y down), and its holes, turned the other way."""

_AREA_CHANGE = 0.05
"""Share of a ring's area that simplifying may add or take away; small and thin rings are simplified less."""
_CHECKED_CORNERS = 20_000
"""Outlines of more corners, after simplifying, stay exact: such masks are noise, whose outlines simplify little."""
_CELL, _CELLS = 8.0, 64
"""Edges are compared where they share a cell of a grid: its least side in pixels, and most cells along a side."""


def polygons(mask: npt.NDArray[np.bool_]) -> list[Polygon]:
    """Outline a mask exactly, along the edges of its pixels.

    Args:
        mask: `(H, W)` bool. Pixel `(x, y)` covers the square from `(x, y)` to `(x + 1, y + 1)`.

    Returns:
        One polygon for each 4-connected component, of corners `(x, y)`; together they cover just the mask's pixels.
    """
    import cv2

    loops = _loops(mask)
    if not loops:
        return []
    _, labels = cv2.connectedComponents(mask.astype(np.uint8), connectivity=4, ltype=cv2.CV_32S)
    found: dict[int, Polygon] = {}
    for loop in sorted(loops, key=signed_area, reverse=True):  # shells, whose area is positive, come before holes
        found.setdefault(_component(loop, labels), []).append(loop)
    return [found[label] for label in sorted(found)]


def simplified(exact: list[Polygon], tolerance: float) -> list[Polygon]:
    """Drop corners within a tolerance (Douglas and Peucker 1973), as far as all polygons together stay valid.

    Args:
        exact: as `polygons` gives them.
        tolerance: farthest distance in pixels between an outline and its simplification.

    Returns:
        The same polygons with fewer corners; rings that would cross or touch another stay as they are.
    """
    rings = [ring for polygon in exact for ring in polygon]
    simple = [_fewer(ring, tolerance) for ring in rings]
    if sum(map(len, simple)) > _CHECKED_CORNERS:
        return exact
    kept = [len(a) == len(b) for a, b in zip(simple, rings, strict=True)]
    while wrong := _conflicts(simple, rings, kept):
        for index in wrong:
            simple[index], kept[index] = rings[index], True
    places = iter(simple)
    return [[next(places) for _ in polygon] for polygon in exact]


def signed_area(ring: npt.NDArray[np.floating]) -> float:
    """Area by the shoelace formula: positive for shells, negative for holes."""
    x, y = ring.astype(np.float64).T
    return float(x @ np.roll(y, -1) - y @ np.roll(x, -1)) / 2


def _loops(mask: npt.NDArray[np.bool_]) -> list[Ring]:
    """Closed outlines through every corner, the mask on their right hand, none through a point twice.

    At a corner an outline turns from a horizontal edge to a vertical one. Along a row (a column) of the lattice, edges
    run from each odd corner to the next even one. Where two pixels touch diagonally there are two corners in one
    place, each with the edges of one pixel.
    """
    x, y, right, down = _corners(mask)
    across = _partners(np.lexsort((right, x, y)))
    along = _partners(np.lexsort((down, y, x)))
    starts = np.flatnonzero(right & down)  # upper left corners of a pixel or of a hole: every outline has one
    walks = _walks(across.tolist(), along.tolist(), starts.tolist())
    loops = [loop for walk in walks for loop in _simple_loops(np.stack([x[walk], y[walk]], axis=1))]
    return [loop if _mask_on_right(loop, mask) else loop[::-1] for loop in loops]


def _corners(mask: npt.NDArray[np.bool_]) -> tuple[npt.NDArray[np.int64], ...]:
    """Corners of all outlines: x, y, whether the horizontal edge goes right of it, whether the vertical goes down."""
    padded = np.pad(mask, 1)
    nw, ne, sw, se = padded[:-1, :-1], padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    parts = []
    single = nw ^ ne ^ sw ^ se
    y, x = np.nonzero(single)
    # An edge is where two neighbours differ: right of the corner between ne and se, below it between sw and se.
    parts.append((x, y, (ne ^ se)[y, x], (sw ^ se)[y, x]))
    for first, second, other in ((nw, se, (0, 0, 1, 1)), (ne, sw, (1, 0, 0, 1))):
        touch = first & second & ~(ne & nw) & ~(ne & se) & ~(sw & nw)
        y, x = np.nonzero(touch & (first ^ (sw if first is nw else nw)))
        for right, down in (other[:2], other[2:]):
            parts.append((x, y, np.full(len(x), bool(right)), np.full(len(x), bool(down))))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return columns[0].astype(np.int64), columns[1].astype(np.int64), columns[2].astype(bool), columns[3].astype(bool)


def _partners(order: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Corner to the corner at the other end of its edge, from an order in which both follow each other."""
    partner = np.empty_like(order)
    partner[order[0::2]], partner[order[1::2]] = order[1::2], order[0::2]
    return partner


def _walks(across: list[int], along: list[int], starts: list[int]) -> list[list[int]]:
    """Corners of each outline in order, by turns over a horizontal and a vertical edge."""
    seen, walks = bytearray(len(across)), []
    for start in starts:
        if seen[start]:
            continue
        walk, here = [], start
        while not seen[here]:
            other = across[here]
            seen[here] = seen[other] = 1
            walk += [here, other]
            here = along[other]
        walks.append(walk)
    return walks


def _simple_loops(ring: npt.NDArray[np.int64]) -> list[Ring]:
    """Cut an outline that comes to a point twice into loops that do not."""
    if len(np.unique(ring, axis=0)) == len(ring):
        return [ring.astype(np.float32)]
    loops: list[Ring] = []
    path: list[tuple[int, int]] = []
    place: dict[tuple[int, int], int] = {}
    for point in map(tuple, ring.tolist()):
        if point in place:
            cut = place[point]
            loops.append(np.array(path[cut:], np.float32))
            for passed in path[cut:]:
                del place[passed]
            del path[cut:]
        place[point] = len(path)
        path.append(point)
    return [*loops, np.array(path, np.float32)]


def _right_pixel(ring: Ring) -> tuple[int, int]:
    """Row and column of the pixel on the right hand of a ring's first edge, at its start."""
    (x0, y0), (x1, y1) = ring[0], ring[1]
    dx, dy = np.sign(x1 - x0), np.sign(y1 - y0)
    return int(np.floor(y0 + dy / 2 + dx / 2)), int(np.floor(x0 + dx / 2 - dy / 2))


def _mask_on_right(ring: Ring, mask: npt.NDArray[np.bool_]) -> bool:
    row, column = _right_pixel(ring)
    return 0 <= row < mask.shape[0] and 0 <= column < mask.shape[1] and bool(mask[row, column])


def _component(ring: Ring, labels: npt.NDArray[np.int32]) -> int:
    """Label of the component that a ring borders."""
    return int(labels[_right_pixel(ring)])


def _fewer(ring: Ring, tolerance: float) -> Ring:
    """Drop corners within the tolerance, or within a half or quarter of it where the area would change too much."""
    import cv2

    exact = signed_area(ring)
    for share in (1.0, 0.5, 0.25) if tolerance > 0 else ():
        simpler = np.asarray(cv2.approxPolyDP(ring[:, None], tolerance * share, True), np.float32)[:, 0]
        if len(simpler) >= 3 and abs(signed_area(simpler) - exact) <= _AREA_CHANGE * abs(exact):
            return simpler
    return ring


def _conflicts(simple: list[Ring], exact: list[Ring], kept: list[bool]) -> set[int]:
    """Rings, not exact yet, that cross or touch themselves or another, or lie on the wrong side of another."""
    changed = {index for index, same in enumerate(kept) if not same}
    if not changed:
        return set()
    found = {index for pair in _meeting(simple) for index in pair}
    if not found & changed:
        # With no two rings meeting, a ring lies in another as a whole, so that one of its corners tells.
        found = {int(index) for index in np.argwhere(_inside(exact) != _inside(simple)).ravel()}
    # Exact rings are valid together: what meets one of them is put right by making its partner exact.
    return found & changed


def _meeting(rings: list[Ring]) -> set[tuple[int, int]]:
    """Pairs of rings of which two edges that are no neighbours meet; a ring with itself too."""
    start = np.concatenate(rings).astype(np.float64)
    end = np.concatenate([np.roll(ring, -1, axis=0) for ring in rings]).astype(np.float64)
    sizes = np.array([len(ring) for ring in rings])
    owner = np.repeat(np.arange(len(rings)), sizes)
    following = np.arange(1, len(owner) + 1)
    following[np.cumsum(sizes) - 1] = np.cumsum(sizes) - sizes
    a, b = _near(start, end)
    a, b = (side[(following[a] != b) & (following[b] != a)] for side in (a, b))
    meet = _edges_meet(start[a], end[a], start[b], end[b])
    folded = owner[_folds_back(start, end, end[following])]
    pairs = np.concatenate([np.stack([owner[a[meet]], owner[b[meet]]], axis=1), np.stack([folded, folded], axis=1)])
    return set(map(tuple, np.unique(pairs, axis=0).tolist()))


def _near(start: npt.NDArray[np.float64], end: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.int64], ...]:
    """Numbers of all pairs of edges whose boxes share a cell of a grid, each pair once."""
    low, high = np.minimum(start, end), np.maximum(start, end)
    side = max(_CELL, float(high.max()) / _CELLS)
    first, last = (low // side).astype(np.int64), (high // side).astype(np.int64)
    spans = last - first + 1
    edge = np.repeat(np.arange(len(start)), spans.prod(axis=1))
    number = np.arange(len(edge)) - np.repeat(np.cumsum(spans.prod(axis=1)) - spans.prod(axis=1), spans.prod(axis=1))
    column, row = first[edge, 0] + number % spans[edge, 0], first[edge, 1] + number // spans[edge, 0]
    cell = row * (int(high[:, 0].max() // side) + 1) + column
    order = np.argsort(cell, kind="stable")
    cell, edge = cell[order], edge[order]
    found = []
    step = 1
    while len(same := np.flatnonzero(cell[step:] == cell[:-step])):
        found.append(np.stack([edge[same], edge[same + step]], axis=1))
        step += 1
    pairs = np.unique(np.concatenate(found), axis=0) if found else np.empty((0, 2), np.int64)
    return pairs[:, 0], pairs[:, 1]


def _edges_meet(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], c: npt.NDArray[np.float64], d: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether segments ab and cd have a point in common; coordinates are whole numbers, so that all is exact."""
    sides = [np.sign(_cross(p, q, r)) for p, q, r in ((a, b, c), (a, b, d), (c, d, a), (c, d, b))]
    boxes = np.all((np.minimum(a, b) <= np.maximum(c, d)) & (np.minimum(c, d) <= np.maximum(a, b)), axis=-1)
    return np.asarray(boxes & (sides[0] * sides[1] <= 0) & (sides[2] * sides[3] <= 0))


def _folds_back(
    a: npt.NDArray[np.float64], b: npt.NDArray[np.float64], c: npt.NDArray[np.float64]
) -> npt.NDArray[np.bool_]:
    """Whether the path abc turns back on itself at b."""
    return np.asarray((_cross(a, b, c) == 0) & (np.einsum("...i,...i", b - a, c - b) < 0))


def _cross(a: Points, b: Points, c: Points) -> Points:
    """Twice the signed area of triangles abc."""
    u, v = b - a, c - a
    product: Points = u[..., 0] * v[..., 1] - u[..., 1] * v[..., 0]
    return product


def _inside(rings: list[Ring]) -> npt.NDArray[np.bool_]:
    """`(R, R)`: whether the first corner of each ring lies in each other ring, by the number of edges above it."""
    table = np.zeros((len(rings), len(rings)), bool)
    points = np.stack([ring[0] for ring in rings]).astype(np.float64)
    for column, ring in enumerate(rings):
        a, b = ring.astype(np.float64), np.roll(ring, -1, axis=0).astype(np.float64)
        near = np.flatnonzero(((points >= a.min(axis=0)) & (points <= a.max(axis=0))).all(axis=1))
        x, y = points[near, :1], points[near, 1:]
        spans = (a[:, 0] <= x) != (b[:, 0] <= x)
        width = np.where(b[:, 0] == a[:, 0], 1.0, b[:, 0] - a[:, 0])
        above = a[:, 1] + (x - a[:, 0]) * (b[:, 1] - a[:, 1]) / width < y
        table[near, column] = (spans & above).sum(axis=1) % 2 == 1
    np.fill_diagonal(table, False)
    return table
