"""Sums over objects and images, with bootstrap intervals and a paired bootstrap test.

Images are the unit that is resampled, since objects of one image share its light, its degradation and its latent.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Float64
from glesam.errors import DataError

RESAMPLES = 2000
_BLOCK = 200


@dataclass(frozen=True)
class Estimate:
    """What the rows of one cell of a table say about one metric.

    Attributes:
        images: number of images.
        objects: number of objects.
        mean_images: unweighted mean over images of the mean over each image's objects (the paper's mean).
        low: lower end of the 95 % interval of `mean_images`; NaN for a single image.
        high: its upper end.
        mean_objects: mean over all objects.
        low_objects: lower end of the 95 % interval of `mean_objects`; NaN for a single image.
        high_objects: its upper end.
    """

    images: int
    objects: int
    mean_images: float
    low: float
    high: float
    mean_objects: float
    low_objects: float
    high_objects: float

    def by(self, average: str) -> tuple[float, float, float]:
        """Mean over `images` or over `objects`, with the ends of its interval."""
        if average == "objects":
            return self.mean_objects, self.low_objects, self.high_objects
        return self.mean_images, self.low, self.high


@dataclass(frozen=True)
class Comparison:
    """A paired comparison of two models on the same images.

    Attributes:
        images: number of images that both have.
        difference: mean over images, or over objects, of second minus first.
        low: lower end of its 95 % interval; NaN for a single image.
        high: its upper end.
        p_value: two-sided; NaN for a single image.
    """

    images: int
    difference: float
    low: float
    high: float
    p_value: float


def estimate(values: Float64, images: Sequence[str], seed: int, resamples: int = RESAMPLES) -> list[Estimate]:
    """Means over images and over objects of M metrics of n objects, with 95 % percentile intervals.

    Args:
        values: `(n, M)` metrics of the objects.
        images: name of the image of each object, n of them.
        seed: seed of the resampling.
        resamples: number of bootstrap resamples.

    Returns:
        One estimate per metric; all come from the same resamples.

    Raises:
        DataError: there is no object.
    """
    if len(values) == 0:
        raise DataError("expected values of at least one object, got none; check the data set and --min-share")
    sums, counts = _by_image(values, images)
    means, overall = sums / counts, sums.sum(axis=0) / counts.sum()
    ends = _intervals(
        np.hstack([means, sums]), np.hstack([np.ones_like(means), counts.repeat(sums.shape[1], 1)]), seed, resamples
    )
    metrics = sums.shape[1]
    return [
        Estimate(len(means), len(values), float(means[:, m].mean()), *ends[m], float(overall[m]), *ends[metrics + m])
        for m in range(metrics)
    ]


def compare(
    first: dict[str, float],
    second: dict[str, float],
    seed: int,
    resamples: int = RESAMPLES,
    objects: dict[str, int] | None = None,
) -> Comparison:
    """Test by paired bootstrap whether two models differ, given each image's mean.

    The differences are resampled after moving their mean to 0; the p value is the share of resamples whose mean is at
    least as far from 0 as the one observed, with one added to both counts (Davison & Hinkley 1997, equation 4.11).

    Args:
        first: image name to value, the baseline.
        second: the same of the other model; images that only one has are left out.
        seed: seed of the resampling.
        resamples: number of bootstrap resamples.
        objects: image name to its number of objects, for the difference of the means over objects: that of the sums
            over all objects by their number, images resampled with all that they show. None counts images alike.

    Raises:
        DataError: the two have no image in common.
    """
    shared = sorted(set(first) & set(second))
    if not shared:
        raise DataError("expected two models measured on the same images, got none in common; measure both again")
    weights = np.array([[1.0 if objects is None else objects[name]] for name in shared])
    sums = weights * np.array([[second[name] - first[name]] for name in shared])
    observed = float(sums.sum() / weights.sum())
    low, high = _intervals(sums, weights, seed, resamples)[0]
    return Comparison(len(shared), observed, low, high, _p_value(sums, weights, observed, seed, resamples))


def _by_image(values: Float64, images: Sequence[str]) -> tuple[Float64, Float64]:
    """Sums `(m, M)` and counts `(m, 1)` of `(n, M)` object values over the m images, by name."""
    names, index = np.unique(np.array(images, dtype=str), return_inverse=True)
    sums = np.zeros((len(names), values.shape[1]))
    np.add.at(sums, index, values)
    return sums, np.bincount(index).astype(np.float64)[:, None]


def _p_value(sums: Float64, weights: Float64, observed: float, seed: int, resamples: int) -> float:
    """Two-sided p value of the hypothesis that `(n, 1)` `sum(sums) / sum(weights)` is 0; NaN for a single image."""
    if len(sums) < 2:
        return math.nan
    draws = _bootstrap(sums - observed * weights, weights, seed, resamples).bootstrap_distribution
    # The tolerance makes ties count as reached, though the two means are summed in different orders.
    reached = np.abs(draws) >= abs(observed) - 1e-12
    return float((1 + np.count_nonzero(reached)) / (1 + resamples))


def _intervals(parts: Float64, wholes: Float64, seed: int, resamples: int) -> list[tuple[float, float]]:
    """95 % percentile interval of each column's `sum(parts) / sum(wholes)`; NaN for a single image."""
    if len(parts) < 2:
        return [(math.nan, math.nan)] * parts.shape[1]
    ends = _bootstrap(parts, wholes, seed, resamples).confidence_interval
    return [(float(low), float(high)) for low, high in zip(ends.low, ends.high, strict=True)]


def _bootstrap(parts: Float64, wholes: Float64, seed: int, resamples: int) -> Any:
    """Bootstrap of each of M columns' `sum(parts) / sum(wholes)` over `(n, M)` images.

    scipy draws the images' numbers; sums over how often each was drawn are ten times faster than over drawn values.
    """
    from scipy.stats import bootstrap

    count = len(parts)

    def ratios(drawn: npt.NDArray[np.int64], axis: int = -1) -> Float64:
        rows = drawn.reshape(-1, count)
        places = (rows + np.arange(len(rows))[:, None] * count).ravel()
        times = np.bincount(places, minlength=rows.size).reshape(rows.shape).astype(np.float64)
        return np.moveaxis(((times @ parts) / (times @ wholes)).reshape(*drawn.shape[:-1], -1), -1, 0)

    return bootstrap(
        (np.arange(count),), ratios, vectorized=True, n_resamples=resamples, batch=_BLOCK, method="percentile",
        random_state=np.random.default_rng(seed),
    )  # fmt: skip
