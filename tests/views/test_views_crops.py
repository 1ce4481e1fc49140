"""Grids, crops and tiles cover the image evenly."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from glesam.everything.clicks import point_grid
from glesam.views.crops import crop_boxes, tile_spans


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
def test_crops_cover_the_image_in_every_layer(height: int, width: int, layers: int, ratio: float) -> None:
    seen: dict[int, list[tuple[int, int, int, int]]] = {}
    for layer, box in crop_boxes((height, width), layers, ratio):
        seen.setdefault(layer, []).append(box)
    assert seen[0] == [(0, 0, width, height)]
    for layer, boxes in seen.items():
        assert 1 <= len(boxes) <= 4**layer
        covered = np.zeros((height, width), bool)
        for x0, y0, x1, y1 in boxes:
            assert 0 <= x0 < x1 <= width
            assert 0 <= y0 < y1 <= height
            covered[y0:y1, x0:x1] = True
        assert covered.all()
