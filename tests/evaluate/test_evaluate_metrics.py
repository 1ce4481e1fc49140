"""Metrics against independent implementations: pycocotools, distance transforms and plain counting."""

from __future__ import annotations

import time

import numpy as np
import pytest
from pycocotools import mask as coco_mask
from scipy import ndimage

from glesam.errors import ConfigError, DataError
from glesam.evaluate import metrics


def _random_mask(rng: np.random.Generator, height: int, width: int) -> np.ndarray:
    """Empty, full, a few discs, a rectangle, or noise."""
    kind = rng.integers(0, 6)
    mask = np.zeros((height, width), bool)
    if kind == 1:
        mask[:] = True
    if kind == 2:
        ys, xs = np.mgrid[:height, :width]
        for _ in range(rng.integers(1, 4)):
            mask |= np.hypot(ys - rng.integers(0, height), xs - rng.integers(0, width)) < rng.uniform(0.5, height / 2)
    if kind in (3, 4):
        y, x = rng.integers(0, height), rng.integers(0, width)
        mask[y : y + rng.integers(1, height + 1), x : x + rng.integers(1, width + 1)] = True
    if kind == 5:
        mask = rng.random((height, width)) < rng.choice([0.01, 0.3, 0.9])
    return mask


def _pairs(count: int) -> list[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(count):
        height, width = (int(side) for side in rng.integers(1, 70, 2))
        pairs.append((_random_mask(rng, height, width), _random_mask(rng, height, width)))
    return pairs


PAIRS = _pairs(1000)


def _band(mask: np.ndarray, width: int) -> np.ndarray:
    """Inner band by a chessboard distance transform of the mask framed with zeros."""
    distance = ndimage.distance_transform_cdt(np.pad(mask, 1), metric="chessboard")[1:-1, 1:-1]
    return mask & (distance <= width)


def _brute_iou(a: np.ndarray, b: np.ndarray) -> float:
    both, either = (op(np.flatnonzero(a), np.flatnonzero(b)) for op in (np.intersect1d, np.union1d))
    return len(both) / len(either) if len(either) else 0.0


def test_the_pairs_hold_the_hard_cases() -> None:
    assert sum(not a.any() and not b.any() for a, b in PAIRS) > 5
    assert sum(a.all() and b.all() for a, b in PAIRS) > 5
    assert sum(a.any() != b.any() for a, b in PAIRS) > 50


def test_iou_equals_pycocotools() -> None:
    for a, b in PAIRS:
        encoded = [coco_mask.encode(np.asfortranarray(m.astype(np.uint8))) for m in (a, b)]
        expected = float(coco_mask.iou(encoded[:1], encoded[1:], [0])[0, 0]) if a.any() or b.any() else 0.0
        assert metrics.iou(a, b) == pytest.approx(expected, abs=1e-12)


def test_dice_follows_from_sets() -> None:
    for a, b in PAIRS:
        overlap = _brute_iou(a, b)
        # D = 2J / (1 + J) holds for every pair, with 0 for two empty masks.
        assert metrics.dice(a, b) == pytest.approx(2 * overlap / (1 + overlap), abs=1e-12)


def test_pixel_accuracy_counts_equal_pixels() -> None:
    for a, b in PAIRS:
        expected = sum(p == q for p, q in zip(a.ravel().tolist(), b.ravel().tolist(), strict=True)) / a.size
        assert metrics.pixel_accuracy(a, b) == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("ratio", [0.02, 0.1])
def test_boundary_iou_equals_distance_transform(ratio: float) -> None:
    for a, b in PAIRS:
        width = max(1, round(ratio * float(np.sqrt(a.shape[0] ** 2 + a.shape[1] ** 2))))
        expected = _brute_iou(_band(a, width), _band(b, width))
        assert metrics.boundary_iou(a, b, ratio) == pytest.approx(expected, abs=1e-12)


def test_boundary_iou_equals_repeated_small_erosions() -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        a, b = (_random_mask(rng, 120, 160) for _ in range(2))
        bands = [m & ~ndimage.binary_erosion(m, np.ones((3, 3)), iterations=4, border_value=0) for m in (a, b)]
        assert metrics.boundary_iou(a, b) == pytest.approx(_brute_iou(*bands), abs=1e-12)


def test_conventions_for_empty_masks() -> None:
    empty, full = np.zeros((4, 5), bool), np.ones((4, 5), bool)
    assert metrics.measure(empty, empty) == (0.0, 0.0, 1.0, 0.0)
    assert metrics.measure(full, empty) == metrics.measure(empty, full) == (0.0, 0.0, 0.0, 0.0)
    assert metrics.measure(full, full) == (1.0, 1.0, 1.0, 1.0)


def test_hand_made_numbers() -> None:
    a, b = np.zeros((2, 4), bool), np.zeros((2, 4), bool)
    a[:, :2], b[:, 1:3] = True, True
    assert metrics.measure(a, b) == pytest.approx((1 / 3, 1 / 2, 1 / 2, 1 / 3))


def test_boundary_iou_of_a_large_image_is_quick() -> None:
    rng = np.random.default_rng(2)
    masks = [_random_mask(rng, 1500, 2000) for _ in range(2)]
    masks[0][100:1400, 100:1900] = True
    start = time.perf_counter()
    metrics.boundary_iou(masks[0], masks[1])
    assert time.perf_counter() - start < 1.0


@pytest.mark.parametrize("function", [metrics.iou, metrics.dice, metrics.pixel_accuracy, metrics.boundary_iou])
def test_wrong_masks_are_refused(function: object) -> None:
    good = np.ones((4, 5), bool)
    for bad in (np.ones((5, 4), bool), np.ones((4, 5), np.uint8), np.ones((1, 4, 5), bool), np.ones((4, 1), bool)):
        with pytest.raises(DataError, match="expected"):
            function(good, bad)  # type: ignore[operator]
    with pytest.raises(DataError, match="expected a mask"):
        function(np.ones((0, 5), bool), np.ones((0, 5), bool))  # type: ignore[operator]


@pytest.mark.parametrize("ratio", [0.0, -1.0, float("nan")])
def test_impossible_dilation_ratio_is_refused(ratio: float) -> None:
    with pytest.raises(ConfigError, match="dilation ratio above 0"):
        metrics.boundary_iou(np.ones((4, 5), bool), np.ones((4, 5), bool), ratio)
