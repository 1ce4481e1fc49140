"""Gaussian and Poisson noise on RGB images, in colour or gray, drawn in one piece.

Poisson noise follows Real-ESRGAN: an image with `n` distinct levels stands for one with at most `2^ceil(log2 n)`
electrons in a pixel; the noise is the difference between a Poisson draw and the image, times a scale.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import pdtr

from glesam.degrade.draws import Draws
from glesam.degrade.lqseg.config import NoiseConfig
from glesam.degrade.lqseg.kernels import Floats

_BLOCK = 2**20  # even, as chances are drawn two at a time
_LEVELS = 256
_SUPPORT = 512  # electrons; for the largest mean, 256, the tail beyond has a probability below 1e-42
_GUIDE_BITS = 11


class _Quantiles(NamedTuple):
    """Inverse distribution functions of the 256 Poisson laws of one electron count."""

    guide: NDArray[np.uint16]
    """(256 * 2048,): result for the lower end of each of 2048 intervals of probability, level by level."""

    steps: NDArray[np.uint32]
    """(256 * 512,): distribution function of each level, times 2^32."""


def add_noise(image: Floats, draws: Draws, name: str, config: NoiseConfig) -> Floats:
    """Draw a noise as `config` says and add it; the result is clipped to [0, 1] and not rounded."""
    gaussian = draws.flag(f"{name}.gaussian", config.gaussian_probability)
    if gaussian:
        strength = draws.uniform(f"{name}.sigma", *config.gaussian_sigma)
    else:
        strength = draws.uniform(f"{name}.scale", *config.poisson_scale)
    gray = draws.flag(f"{name}.gray", config.gray_probability)
    rng = draws.field(f"{name}.field")
    if gaussian:
        noise = gaussian_noise(image.shape[0], image.shape[1], strength, gray, rng)
    else:
        noise = poisson_noise(image, strength, gray, rng)
    noise += image
    return np.clip(noise, 0.0, 1.0, out=noise)


def gaussian_noise(height: int, width: int, sigma: float, gray: bool, rng: np.random.Generator) -> Floats:
    """Gaussian noise.

    Args:
        height: of the image, in pixels.
        width: of the image, in pixels.
        sigma: standard deviation in levels of 0..255.
        gray: the same noise in all channels.
        rng: the source of chance.

    Returns:
        `(H, W, 3)` float32 in units of white = 1.
    """
    noise = rng.standard_normal((height, width, 1 if gray else 3), dtype=np.float32)
    noise *= np.float32(sigma / 255.0)
    return _three_channels(noise)


def poisson_noise(image: Floats, scale: float, gray: bool, rng: np.random.Generator) -> Floats:
    """Poisson noise that belongs to an image.

    Args:
        image: `(H, W, 3)` float32 RGB; values beyond [0, 1] are clipped.
        scale: factor on the noise.
        gray: draw the noise of the image's luma and give it to all channels.
        rng: the source of chance.

    Returns:
        `(H, W, 3)` float32 in units of white = 1.
    """
    source = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)[..., None] if gray else image
    levels = np.rint(np.clip(source, 0.0, 1.0) * 255.0).astype(np.uint8)
    electrons = 1 << (int(np.count_nonzero(np.bincount(levels.ravel(), minlength=_LEVELS))) - 1).bit_length()
    counts = poisson_counts(levels, electrons, rng)
    noise = counts.astype(np.float32)
    noise *= np.float32(scale / electrons)
    noise -= levels * np.float32(scale / 255.0)
    return _three_channels(noise)


def poisson_counts(levels: NDArray[np.uint8], electrons: int, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Poisson draws with mean `levels / 255 * electrons`, by inverting the distribution function.

    An image has only 256 levels, so that their distribution functions fit a table; this is eight times faster than
    a general generator and exact to 2^-32 in probability.

    Args:
        levels: any shape.
        electrons: mean at white, a power of two up to 256.
        rng: the source of chance.

    Returns:
        Counts of the shape of `levels`.
    """
    table, flat = _quantiles(electrons), levels.ravel()
    counts = np.empty(flat.size, np.uint16)
    # Block by block, with the same chances: the whole of a large image would take 30 bytes a value.
    for start in range(0, flat.size, _BLOCK):
        block = slice(start, start + _BLOCK)
        counts[block] = _block_counts(flat[block], table, rng)
    return counts.reshape(levels.shape)


def _block_counts(levels: NDArray[np.uint8], table: _Quantiles, rng: np.random.Generator) -> NDArray[np.uint16]:
    """Counts of `(n,)` levels."""
    chance = rng.integers(0, 2**32, size=levels.size, dtype=np.uint32)
    # The largest step is 2^32 - 1: every chance must lie below it, or the search would leave its row.
    np.minimum(chance, np.uint32(2**32 - 2), out=chance)
    row = levels.astype(np.int64)
    counts: NDArray[np.uint16] = table.guide.take((row << _GUIDE_BITS) + (chance >> (32 - _GUIDE_BITS)))
    row *= _SUPPORT
    # The guide is at most a few steps short, for ever fewer pixels.
    behind = np.flatnonzero(table.steps.take(row + counts) <= chance)
    while behind.size:
        counts[behind] += 1
        behind = behind[table.steps.take(row[behind] + counts[behind]) <= chance[behind]]
    return counts


@lru_cache(maxsize=9)
def _quantiles(electrons: int) -> _Quantiles:
    """Tables for one electron count; nine powers of two occur at most."""
    means = np.arange(_LEVELS) / 255.0 * electrons
    steps = np.minimum(pdtr(np.arange(_SUPPORT)[None], means[:, None]) * 2.0**32, 2.0**32 - 1).astype(np.uint32)
    starts = np.arange(1 << _GUIDE_BITS, dtype=np.uint32) << np.uint32(32 - _GUIDE_BITS)
    guide = np.stack([np.searchsorted(row, starts, side="right") for row in steps]).astype(np.uint16)
    return _Quantiles(guide.ravel(), steps.ravel())


def _three_channels(noise: Floats) -> Floats:
    """Repeat a single channel three times."""
    return np.repeat(noise, 3, axis=2) if noise.shape[2] == 1 else noise
