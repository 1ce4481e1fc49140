"""Peaks, regions and windows of maps whose bumps are known."""

from __future__ import annotations

import numpy as np
import pytest

from glesam.fewshot.proposals import _contrast, lattice, peaks, region_boxes, window_boxes


def test_peaks_are_the_bumps_highest_first() -> None:
    values = np.zeros((20, 30), np.float32)
    for y, x, height in ((5, 7, 0.9), (12, 20, 1.0), (15, 3, 0.1)):
        values[y - 1 : y + 2, x - 1 : x + 2] = height / 2
        values[y, x] = height
    np.testing.assert_array_equal(peaks(values, 5), [[20.5, 12.5], [7.5, 5.5]])
    assert len(peaks(values, 1)) == 1
    assert peaks(np.zeros((4, 4), np.float32), 5).shape == (0, 2)


def test_regions_are_boxed_one_by_one_and_together() -> None:
    values = np.zeros((20, 30), np.float32)
    values[2:8, 3:9] = 1
    values[10:18, 20:26] = 1
    found = {tuple(box) for box in region_boxes(values, 16).astype(int).tolist()}
    assert {(3, 2, 9, 8), (20, 10, 26, 18)} <= found
    assert any(box[0] <= 3 and box[1] <= 2 and box[2] >= 26 and box[3] >= 18 for box in found)
    assert region_boxes(np.zeros((4, 4), np.float32), 5).shape == (0, 4)


def test_contrast_is_mean_inside_minus_mean_of_the_ring() -> None:
    values = np.random.default_rng(0).random((15, 21)).astype(np.float32)
    found = _contrast(values, 5, 3)
    # The window around the ring is 9 by 5: the odd numbers nearest to 1.5 n + 1.
    inside, whole = values[6:9, 8:13], values[5:10, 6:15]
    ring = (whole.sum() - inside.sum()) / (whole.size - inside.size)
    assert found[7, 10] == pytest.approx(inside.mean() - ring, abs=1e-5)


def test_a_window_of_the_reference_s_size_lands_on_the_object() -> None:
    values = np.zeros((20, 30), np.float32)
    values[4:9, 10:17] = 1
    boxes = window_boxes(values, [(7.0, 5.0)], 4)
    assert boxes[0].tolist() == [10, 4, 17, 9]
    assert len(window_boxes(values, [(400.0, 300.0)], 4)) == 0


def test_a_lattice_covers_what_is_high_and_keeps_off_what_is_taken() -> None:
    values = np.zeros((20, 30), np.float32)
    values[4:16, 4:16] = 1
    places = lattice(values, np.array([[6.5, 6.5]], np.float32), 4, 99)
    assert len(places) >= 6
    assert (np.abs(places - 6.5).max(axis=1) >= 2).all()
    assert ((places > 3.5) & (places < 16.5)).all()
    assert len(lattice(values, places, 4, 99)) <= 1
    assert len(lattice(values, np.zeros((0, 2), np.float32), 4, 3)) == 3
