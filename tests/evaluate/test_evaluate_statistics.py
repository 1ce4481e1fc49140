"""Intervals against scipy's bootstrap, p values against the t test and the uniform law of a true hypothesis."""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from glesam.errors import DataError
from glesam.evaluate.report.statistics import compare, estimate


def _one(values: np.ndarray, pictures: list[str], seed: int = 0, resamples: int = 2000):  # type: ignore[no-untyped-def]
    return estimate(np.asarray(values, float)[:, None], pictures, seed, resamples)[0]


def test_means_over_images_and_objects() -> None:
    result = _one(np.array([1.0, 0.0, 0.0, 0.5]), ["b", "b", "b", "a"])
    assert (result.images, result.objects) == (2, 4)
    assert result.mean_images == pytest.approx((1 / 3 + 0.5) / 2)
    assert result.mean_objects == pytest.approx(1.5 / 4)


def test_interval_equals_scipys_percentile_bootstrap() -> None:
    rng = np.random.default_rng(0)
    values = rng.beta(5, 2, 150)
    ours = _one(values, [f"p{i}" for i in range(150)], resamples=20000)
    theirs = stats.bootstrap((values,), np.mean, method="percentile", n_resamples=20000, random_state=1)
    low, high = theirs.confidence_interval
    width = high - low
    assert ours.low == pytest.approx(low, abs=0.03 * width)
    assert ours.high == pytest.approx(high, abs=0.03 * width)


def test_interval_over_objects_is_that_of_the_ratio() -> None:
    rng = np.random.default_rng(1)
    counts = rng.integers(1, 6, 80)
    pictures = [f"p{i:03d}" for i, n in enumerate(counts) for _ in range(n)]
    values = rng.random(counts.sum())
    sums = np.add.reduceat(values, np.concatenate([[0], np.cumsum(counts)[:-1]]))
    ours = _one(values, pictures, resamples=20000)
    theirs = stats.bootstrap(
        (sums, counts.astype(float)),
        lambda s, c, axis: s.sum(axis=axis) / c.sum(axis=axis),
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=20000,
        random_state=1,
    ).confidence_interval
    width = theirs.high - theirs.low
    assert ours.low_objects == pytest.approx(theirs.low, abs=0.03 * width)
    assert ours.high_objects == pytest.approx(theirs.high, abs=0.03 * width)


def test_several_metrics_equal_each_alone() -> None:
    rng = np.random.default_rng(2)
    values = rng.random((30, 3))
    pictures = [f"p{i % 11}" for i in range(30)]
    together = estimate(values, pictures, 5)
    assert together == [_one(values[:, m], pictures, 5) for m in range(3)]


def test_same_seed_same_interval_whatever_the_order() -> None:
    rng = np.random.default_rng(3)
    values, pictures = rng.random(40), [f"p{i}" for i in range(40)]
    first = _one(values, pictures, 1)
    order = rng.permutation(40)
    shuffled = _one(values[order], [pictures[i] for i in order], 1)
    assert (shuffled.low, shuffled.high) == (first.low, first.high)
    assert _one(values, pictures, 2).low != first.low


def test_a_single_image_has_no_interval() -> None:
    result = _one(np.array([0.2, 0.4]), ["p", "p"])
    assert result.mean_images == pytest.approx(0.3)
    assert all(math.isnan(v) for v in (result.low, result.high, result.low_objects, result.high_objects))
    single = compare({"p": 0.1}, {"p": 0.2}, 0)
    assert single.difference == pytest.approx(0.1)
    assert math.isnan(single.p_value)


def test_no_object_is_refused() -> None:
    with pytest.raises(DataError, match="at least one object"):
        estimate(np.zeros((0, 4)), [], 0)


def test_p_value_is_near_that_of_the_t_test() -> None:
    rng = np.random.default_rng(4)
    for shift in (0.0, 0.01, 0.02):
        first = rng.random(200)
        second = first + rng.normal(shift, 0.1, 200)
        names = [f"p{i}" for i in range(200)]
        ours = compare(dict(zip(names, first, strict=True)), dict(zip(names, second, strict=True)), 0, 5000)
        assert ours.p_value == pytest.approx(stats.ttest_rel(second, first).pvalue, abs=0.03)
        assert ours.difference == pytest.approx(float(np.mean(second - first)))
        assert ours.low < ours.difference < ours.high


def test_p_values_of_a_true_hypothesis_are_uniform() -> None:
    rng = np.random.default_rng(5)
    names = [f"p{i}" for i in range(60)]
    found = []
    for trial in range(300):
        first, second = rng.random((2, 60))
        result = compare(dict(zip(names, first, strict=True)), dict(zip(names, second, strict=True)), trial, 400)
        found.append(result.p_value)
    assert stats.kstest(found, "uniform").pvalue > 0.001


def test_equal_models_have_p_one_and_clear_gaps_the_smallest() -> None:
    names = {f"p{i}": 0.5 + 0.001 * i for i in range(20)}
    assert compare(names, dict(names), 0, 1000).p_value == 1.0
    better = {name: value + 0.2 + 0.0001 * i for i, (name, value) in enumerate(names.items())}
    assert compare(names, better, 0, 999).p_value == pytest.approx(1 / 1000)


def test_a_difference_over_objects_is_that_of_ratios_with_images_drawn_whole() -> None:
    rng = np.random.default_rng(4)
    counts = {f"p{i:02d}": int(n) for i, n in enumerate(rng.integers(1, 9, 14))}
    first, second = ({name: float(rng.random()) for name in counts} for _ in range(2))
    found = compare(first, second, 3, 800, objects=counts)
    weight = np.array(list(counts.values()), float)
    one, two = (np.array([each[name] for name in counts]) for each in (first, second))
    observed = (two @ weight - one @ weight) / weight.sum()
    assert found.difference == pytest.approx(observed)

    def difference(w: np.ndarray, a: np.ndarray, b: np.ndarray, axis: int) -> np.ndarray:
        return ((w * b).sum(axis) - (w * a).sum(axis)) / w.sum(axis)

    def drawn(*data: np.ndarray) -> Any:
        options = {"paired": True, "vectorized": True, "n_resamples": 800, "batch": 200, "method": "percentile"}
        return stats.bootstrap(data, difference, random_state=np.random.default_rng(3), **options)

    ends = drawn(weight, one, two).confidence_interval
    assert (found.low, found.high) == pytest.approx((ends.low, ends.high))
    draws = drawn(weight, one, two - observed).bootstrap_distribution
    reached = np.count_nonzero(np.abs(draws) >= abs(observed) - 1e-12)
    assert found.p_value == pytest.approx((1 + reached) / 801)
    alike = compare(first, second, 3, 800, objects=dict.fromkeys(counts, 3))
    assert dataclasses.astuple(alike) == pytest.approx(dataclasses.astuple(compare(first, second, 3, 800)))


def test_only_shared_images_are_compared() -> None:
    result = compare({"a": 0.1, "b": 0.2, "c": 0.9}, {"a": 0.2, "b": 0.4, "d": 0.0}, 0)
    assert result.images == 2
    assert result.difference == pytest.approx(0.15)
    with pytest.raises(DataError, match="none in common"):
        compare({"a": 0.1}, {"b": 0.2}, 0)
