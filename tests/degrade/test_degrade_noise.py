"""Noise against SciPy's distributions."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import stats

from glesam.degrade.draws import Draws
from glesam.degrade.lqseg.config import NoiseConfig
from glesam.degrade.lqseg.noise import add_noise, gaussian_noise, poisson_counts, poisson_noise


class Given:
    """Stands for a generator whose chances are known."""

    def __init__(self, chances: NDArray[np.uint32]) -> None:
        self.chances = chances

    def integers(self, low: int, high: int, size: int, dtype: type) -> NDArray[np.uint32]:
        assert (low, high, size, dtype) == (0, 2**32, self.chances.size, np.uint32)
        return self.chances.copy()


def flat(level: int, side: int = 200) -> NDArray[np.float32]:
    """An image of one level with all 256 levels in its first row, so that it counts 256 electrons."""
    image = np.full((side, 256, 3), level / 255, dtype=np.float32)
    image[0] = (np.arange(256) / 255)[:, None]
    return image


@pytest.mark.parametrize("electrons", [1, 2, 16, 256])
@pytest.mark.parametrize("level", [0, 1, 7, 60, 128, 254, 255])
def test_counts_are_scipys_quantiles(electrons: int, level: int) -> None:
    rng = np.random.default_rng(0)
    edges = np.array([0, 1, 2**21 - 1, 2**21, 2**31, 2**32 - 2**21, 2**32 - 3000], dtype=np.uint32)
    chances = np.concatenate([rng.integers(0, 2**32, 3000, dtype=np.uint32), edges])
    levels = np.full(chances.shape, level, dtype=np.uint8)
    counts = poisson_counts(levels, electrons, Given(chances))  # type: ignore[arg-type]
    mean = level / 255 * electrons
    # The count k of a chance u is the least with u < F(k).
    assert (stats.poisson.cdf(counts, mean) * 2**32 >= chances).all()
    below = stats.poisson.cdf(counts.astype(int) - 1, mean) * 2**32
    assert (below <= chances + 1.0).all()


def test_the_largest_chances_end() -> None:
    chances = np.full(256, 2**32 - 1, dtype=np.uint32)
    counts = poisson_counts(np.arange(256, dtype=np.uint8), 256, Given(chances))  # type: ignore[arg-type]
    assert counts[0] == 0
    assert (np.diff(counts.astype(int)) >= 0).all()
    assert 256 + 5 * 16 < counts[255] < 256 + 8 * 16


def test_counts_follow_the_poisson_law() -> None:
    level, n = 40, 100_000
    counts = poisson_counts(np.full(n, level, dtype=np.uint8), 256, np.random.default_rng(3))
    mean = level / 255 * 256
    values = np.arange(20, 64)
    observed = np.array([(counts == k).sum() for k in values])
    expected = stats.poisson.pmf(values, mean) * n
    observed, expected = np.append(observed, n - observed.sum()), np.append(expected, n - expected.sum())
    assert stats.chisquare(observed, expected).pvalue > 1e-4


@pytest.mark.parametrize("level", [10, 100, 240])
def test_poisson_noise_has_zero_mean_and_the_variance_of_the_signal(level: int) -> None:
    noise = poisson_noise(flat(level), 2.0, gray=False, rng=np.random.default_rng(1))[1:]
    variance = 2.0**2 * (level / 255) / 256
    assert abs(noise.mean()) < 5 * np.sqrt(variance / noise.size)
    assert noise.var() == pytest.approx(variance, rel=0.03)
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 1].ravel())[0, 1]) < 0.03


def test_the_fewer_levels_the_fewer_electrons() -> None:
    image = np.zeros((300, 300, 3), dtype=np.float32)
    image[:150] = 1.0  # two levels, hence two electrons at white
    noise = poisson_noise(image, 1.0, gray=False, rng=np.random.default_rng(0))
    assert noise[:150].var() == pytest.approx(0.5, rel=0.03)
    assert set(np.unique(np.rint((noise[:150] + 1) * 2))) <= set(range(20))
    assert not noise[150:].any()


def test_gaussian_noise_is_normal() -> None:
    noise = gaussian_noise(200, 150, 25.0, gray=False, rng=np.random.default_rng(0))
    assert noise.shape == (200, 150, 3)
    assert noise.dtype == np.float32
    assert stats.kstest(noise.ravel()[::3] * 255 / 25, "norm").pvalue > 1e-4
    assert abs(np.corrcoef(noise[..., 0].ravel(), noise[..., 2].ravel())[0, 1]) < 0.03


def test_gray_noise_is_the_same_in_all_channels() -> None:
    rng = np.random.default_rng(0)
    image = rng.random((40, 50, 3), dtype=np.float32)
    for noise in (gaussian_noise(40, 50, 9.0, True, rng), poisson_noise(image, 1.0, True, rng)):
        assert noise.shape == image.shape
        assert noise.any()
        assert (noise == noise[..., :1]).all()


def test_gray_poisson_noise_has_the_variance_of_the_luma() -> None:
    image = flat(0, 300)
    image[1:] = (1.0, 0.0, 0.0)
    noise = poisson_noise(image, 1.0, gray=True, rng=np.random.default_rng(0))[1:, :, 0]
    assert noise.var() == pytest.approx(0.299 / 256, rel=0.05)


def test_draws_choose_as_the_flags_say() -> None:
    image = np.full((8, 8, 3), 0.5, dtype=np.float32)
    records = []
    for seed in range(1500):
        draws = Draws(seed)
        noisy = add_noise(image, draws, "n", NoiseConfig())
        assert noisy.min() >= 0.0
        assert noisy.max() <= 1.0
        records.append(draws.record)
    assert abs(np.mean([r["n.gaussian"] for r in records]) - 0.5) < 0.065
    assert abs(np.mean([r["n.gray"] for r in records]) - 0.4) < 0.065
    sigmas = [float(r["n.sigma"]) for r in records if r["n.gaussian"]]
    scales = [float(r["n.scale"]) for r in records if not r["n.gaussian"]]
    assert 1 <= min(sigmas) < 2
    assert 29 < max(sigmas) <= 30
    assert 0.05 <= min(scales) < 0.15
    assert 2.9 < max(scales) <= 3


def test_the_image_is_not_changed() -> None:
    image = np.random.default_rng(0).random((9, 9, 3), dtype=np.float32)
    before = image.copy()
    for seed in range(8):
        add_noise(image, Draws(seed), "n", NoiseConfig())
    assert (image == before).all()
