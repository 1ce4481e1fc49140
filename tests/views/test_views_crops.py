"""Grids, crops and tiles cover the picture evenly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glesam.everything.clicks import point_grid
from glesam.views.crops import crop_boxes, is_cut, tile_spans


def test_grid_is_cell_middles() -> None:
    assert point_grid(2, (40, 100)).tolist() == [[25, 10], [75, 10], [25, 30], [75, 30]]


@given(st.integers(1, 5000), st.integers(64, 900), st.floats(0.05, 0.5))
def test_tiles_cover_and_overlap(length: int, tile: int, overlap: float) -> None:
    spans = tile_spans(length, tile, overlap)
    assert spans[0][0] == 0
    assert spans[-1][1] == length
    assert all(end - start == min(tile, length) for start, end in spans)
    for (start, end), (following, _) in pairwise(spans):
        assert start < following <= end - tile * overlap


@given(st.integers(20, 900), st.integers(20, 900), st.integers(0, 3), st.floats(0, 0.6))
def test_crops_cover_the_picture_in_every_layer(height: int, width: int, layers: int, ratio: float) -> None:
    seen: dict[int, list[tuple[int, int, int, int]]] = {}
    for layer, box in crop_boxes((height, width), layers, ratio):
        seen.setdefault(layer, []).append(box)
    assert seen[0] == [(0, 0, width, height)]
    for layer, boxes in seen.items():
        assert len(boxes) == 4**layer
        covered = np.zeros((height, width), bool)
        for x0, y0, x1, y1 in boxes:
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            covered[y0:y1, x0:x1] = True
        assert covered.all()


@pytest.mark.parametrize(
    ("box", "cut"),
    [
        ((30, 30, 40, 40), False),
        ((20, 30, 40, 40), True),
        ((30, 30, 60, 40), True),
        ((30, 0, 40, 40), False),
        ((30, 30, 40, 59), True),
    ],
)
def test_only_inner_edges_cut(box: tuple[int, int, int, int], cut: bool) -> None:
    assert is_cut(box, (20, 0, 60, 60), (100, 100)) is cut
