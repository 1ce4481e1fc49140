"""Random textures that several kinds share: clouds of smooth noise, and scattered particles."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from glesam.degrade.optics.point_spread import spread


def clouds(height: int, width: int, cell: float, rng: np.random.Generator, octaves: int = 4) -> NDArray[np.float32]:
    """Smooth fractal noise: grids of normal numbers, each twice as fine and half as strong as the one before.

    Args:
        height: in pixels.
        width: in pixels.
        cell: size of the coarsest cells, in pixels.
        rng: where the numbers come from.
        octaves: number of grids.

    Returns:
        (H, W) float32 of mean 0 and deviation 1.
    """
    total = np.zeros((height, width), dtype=np.float32)
    for octave in range(octaves):
        step = max(cell / 2**octave, 1.0)
        shape = (math.ceil(height / step) + 1, math.ceil(width / step) + 1)
        coarse = rng.standard_normal(shape, dtype=np.float32)
        total += cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC) / 2**octave
    total -= total.mean()
    deviation = float(total.std())
    return total / np.float32(deviation) if deviation > 0 else total


def particles(
    height: int, width: int, count: int, kernel: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Cover of `count` evenly scattered particles, each as strong as a draw in 0.4..1 says.

    Args:
        height: in pixels.
        width: in pixels.
        count: number of particles.
        kernel: shape of one; its largest value counts as full cover.
        rng: where places and strengths come from.

    Returns:
        (H, W) float32 in 0..1.
    """
    seeds = np.zeros(height * width, dtype=np.float32)
    places = rng.integers(0, height * width, size=count)
    np.maximum.at(seeds, places, rng.uniform(0.4, 1.0, size=count).astype(np.float32))
    cover = spread(seeds.reshape(height, width), kernel / kernel.max())
    return np.clip(cover, 0.0, 1.0)


def count_for(height: int, width: int, per_square: float) -> int:
    """Number of particles at a density given per square of a tenth of the short side, so that size does not matter."""
    return round(per_square * height * width * 100.0 / min(height, width) ** 2)
