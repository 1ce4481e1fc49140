"""Cleaning against scipy.ndimage on whole images."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from glesam.everything.regions import clean, fill_holes, label, remove_islands
from glesam.masks.runs import RunMask

Bool = npt.NDArray[np.bool_]
EIGHT = np.ones((3, 3), int)


def blobs(seed: int, share: float = 0.5, shape: tuple[int, int] = (40, 50)) -> Bool:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random(shape), 1)
    return np.asarray(noise < np.quantile(noise, share))


def islands_removed(mask: Bool, min_area: int) -> Bool:
    regions, count = ndimage.label(mask, EIGHT)
    areas = ndimage.sum_labels(mask, regions, range(1, count + 1))
    kept = areas >= min_area
    kept[np.argmax(areas)] = True
    return np.isin(regions, 1 + np.flatnonzero(kept))


def holes_filled(mask: Bool, min_area: int) -> Bool:
    """A hole is a gap that stays within the mask's box."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    outside = np.ones_like(mask)
    outside[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1] = False
    regions, count = ndimage.label(~mask, EIGHT)
    filled = mask.copy()
    for region in range(1, count + 1):
        inside = regions == region
        if inside.sum() < min_area and not (inside & outside).any():
            filled |= inside
    return filled


@pytest.mark.parametrize("seed", range(8))
@pytest.mark.parametrize("share", [0.15, 0.5, 0.85])
def test_regions_and_cleaning_are_those_of_scipy(seed: int, share: float) -> None:
    mask = blobs(seed, share)
    runs = RunMask.from_array(mask)
    assert label(runs)[0] == ndimage.label(mask, EIGHT)[1]
    for area in (2, 12, 60, 10**6):
        assert np.array_equal(remove_islands(runs, area).to_array(), islands_removed(mask, area))
        assert np.array_equal(fill_holes(runs, area).to_array(), holes_filled(mask, area))
        assert np.array_equal(clean(runs, area).to_array(), islands_removed(holes_filled(mask, area), area))


@pytest.mark.parametrize("seed", range(6))
def test_cleaning_within_a_larger_image(seed: int) -> None:
    mask = np.zeros((60, 70), bool)
    mask[7:47, 11:61] = blobs(seed, 0.6)
    got = clean(RunMask.from_array(mask), 30).to_array()
    assert np.array_equal(got, islands_removed(holes_filled(mask, 30), 30))


def test_runs_at_the_foot_and_the_head_of_columns_are_no_neighbours() -> None:
    mask = np.zeros((4, 3), bool)
    mask[3, 0] = mask[0, 2] = mask[0, 1] = True
    assert label(RunMask.from_array(mask))[0] == 2


def test_nothing_to_do_gives_the_mask_itself() -> None:
    runs = RunMask.from_array(np.ones((3, 3), bool))
    assert clean(runs, 0) is runs
    assert clean(runs, 9) is runs
    empty = RunMask.from_array(np.zeros((3, 3), bool))
    assert clean(empty, 9).area == 0
