"""Clicks hold, what is far from them stays, and the correction is the Gaussian process's own."""

from __future__ import annotations

import numpy as np
import pytest

from glesam.masks.obey import Clicks, Reach, obey
from glesam.masks.refine import refine


def scene() -> tuple[np.ndarray, np.ndarray]:
    """Two squares side by side of unlike brightness, both inside for the decoder; logits and grey values."""
    logits, grey = np.full((100, 160), -4, np.float32), np.full((100, 160), 60, np.uint8)
    logits[30:70, 20:140] = 4
    grey[30:70, 20:80], grey[30:70, 80:140] = 120, 200
    return logits, grey


def by_formula(logits: np.ndarray, grey: np.ndarray, clicks: Clicks, area: int, reach: Reach) -> np.ndarray:
    """The posterior mean of a Gaussian process over all pixels, as a dense product."""
    sigma = max(reach.least, reach.share * area**0.5)
    ys, xs = np.mgrid[: logits.shape[0], : logits.shape[1]]
    places = np.stack([xs.ravel(), ys.ravel()], axis=1).astype(float)
    values = grey.ravel() / 255
    rows = clicks.pixels[:, 1] * logits.shape[1] + clicks.pixels[:, 0]

    def kernel(some: np.ndarray) -> np.ndarray:
        far = ((places[:, None] - places[some][None]) ** 2).sum(-1) / (2 * sigma**2)
        return np.exp(-far - (values[:, None] - values[some][None]) ** 2 / (2 * reach.grey**2))

    cross = kernel(rows)
    gram = cross[rows] + reach.jitter * np.eye(len(rows))
    signs = np.where(clicks.labels == 1, 1, -1)
    found = logits.ravel()[rows]
    residual = np.where(signs * found > 0, 0, signs * reach.margin - found)
    return logits + (cross @ np.linalg.inv(gram) @ residual).reshape(logits.shape)


def test_the_correction_is_that_of_the_gaussian_process() -> None:
    logits, grey = scene()
    clicks = Clicks.of([[110, 50], [40, 50], [10, 10]], [0, 1, 0])
    found = obey(logits, grey, clicks, 4800)
    # Beyond three standard deviations the kernel, at most exp(-4.5) = .011, is cut off.
    assert np.abs(found - by_formula(logits, grey, clicks, 4800, Reach())).max() < 0.011 * 5.5


@pytest.mark.parametrize("label", [0, 1])
def test_a_click_gets_its_label_and_what_is_far_stays(label: int) -> None:
    logits, grey = scene()
    spot = (130, 50) if label == 0 else (150, 50)
    changed = obey(logits, grey, Clicks.of([spot], [label]), 4800)
    assert (changed[spot[1], spot[0]] > 0) == bool(label)
    assert np.array_equal(changed[:, :70], logits[:, :70])


def test_clicks_that_hold_change_nothing() -> None:
    logits, grey = scene()
    assert obey(logits, grey, Clicks.of([[50, 50], [5, 5]], [1, 0]), 4800) is logits
    assert obey(logits, grey, Clicks.of([], []), 4800) is logits


def test_a_correction_stops_at_the_edge_of_what_looks_alike() -> None:
    logits, grey = scene()
    changed = obey(logits, grey, Clicks.of([[84, 50]], [0]), 4800, Reach(grey=0.05))
    assert changed[50, 84] < 0 < changed[50, 76]


@pytest.mark.parametrize("seed", range(8))
def test_refined_masks_obey_clicks_anywhere(seed: int) -> None:
    rng = np.random.default_rng(seed)
    logits, _ = scene()
    grey = rng.integers(0, 256, logits.shape, np.uint8)
    spots = rng.permutation(100 * 160)[:6]
    points = np.stack([spots % 160, spots // 160], axis=1)
    labels = rng.integers(0, 2, 6)
    clicks = Clicks.of(points, labels)
    mask = refine(logits, grey, 4.0, clicks)
    assert np.array_equal(clicks.values(mask), labels == 1)


def test_clicks_of_other_labels_are_left_out_and_windows_move_them() -> None:
    clicks = Clicks.of([[3.7, 4.2], [9, 9], [50, 50]], [1, -1, 0])
    assert clicks.pixels.tolist() == [[3, 4], [50, 50]]
    inside = clicks.within((slice(2, 20), slice(1, 20)))
    assert inside.pixels.tolist() == [[2, 2]]
    assert inside.labels.tolist() == [1]
