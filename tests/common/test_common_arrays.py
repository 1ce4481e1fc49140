"""Strips of arrays against the whole arrays, and counts against numpy's."""

import numpy as np
import pytest

from glesam.common.arrays import row_slices, value_counts


@pytest.mark.parametrize("shape", [(7, 5), (7, 5, 3), (1, 1), (0, 4), (4, 0)])
@pytest.mark.parametrize("size", [1, 11, 10**6])
def test_slices_cover_the_rows_in_order(shape, size):
    array = np.arange(np.prod(shape)).reshape(shape)
    slices = list(row_slices(array, size))
    np.testing.assert_array_equal(np.concatenate([array[:0], *(array[rows] for rows in slices)]), array)
    assert all(array[rows].size <= max(size, array[:1].size) for rows in slices)


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint16])
def test_counts_are_numpys(dtype, monkeypatch):
    monkeypatch.setattr(row_slices, "__defaults__", (100,))
    array = np.random.default_rng(0).integers(0, 60, (40, 31)).astype(dtype)
    for found, expected in zip(value_counts(array), np.unique(array, return_counts=True), strict=True):
        np.testing.assert_array_equal(found, expected)
    assert [len(part) for part in value_counts(array[:0])] == [0, 0]
