"""From a map of where a word is to prompts for a mask decoder: the pseudo-prompt generator of ESC-Net.

Lee et al., "Effective SAM Combination for Open-Vocabulary Semantic Segmentation" (CVPR 2025), section 3.2: a spatial
softmax makes a class's map a probability map, which is binarised; k-means on the coordinates of what is above the
threshold gives regions; each region is a mask prompt, and its most probable place a point prompt. Seeded and without
learned parameters. The paper leaves a class with fewer cells than regions open: here it gets fewer regions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Bool, Float
from glesam.common.boxes import pixel_box
from glesam.errors import ConfigError, PromptError

REGIONS = 5
"""Regions for each class, as in the paper."""

_ROUNDS = 25
"""Rounds of k-means at most; small maps settle in fewer than ten."""


@dataclass(frozen=True, eq=False)
class PseudoPrompts:
    """R prompts of one class, the most probable first.

    Attributes:
        points: `(R, 2)` float32 `(x, y)` of the peaks: centres of cells, in cells.
        regions: `(R, h, w)` bool, apart from each other.
        boxes: `(R, 4)` float32 `(x0, y0, x1, y1)` around the regions, in cells.
        peaks: `(R,)` float32, value of the map at the points.
    """

    points: Float
    regions: Bool
    boxes: Float
    peaks: Float

    def __len__(self) -> int:
        """Number of prompts R."""
        return len(self.points)


def spatial_softmax(values: Float, temperature: float = 1.0) -> Float:
    """Turn a map `(h, w)` into probabilities of its cells, which sum to 1."""
    scaled = values.astype(np.float64) / temperature
    weights = np.exp(scaled - scaled.max())
    return np.asarray(weights / weights.sum(), np.float32)


def pseudo_prompts(
    values: Float, regions: int = REGIONS, share: float = 0.6, seed: int = 0, temperature: float = 1.0
) -> PseudoPrompts:
    """Make at most `regions` prompts from a class's map.

    Args:
        values: `(h, w)` finite, higher where the class is.
        regions: number of regions wanted.
        share: a cell is inside if its probability is at least this share of the largest, 0 to 1.
        seed: of the first centres of k-means.
        temperature: of the softmax.

    Raises:
        PromptError: not a finite map.
        ConfigError: `regions`, `share` or `temperature` out of range.
    """
    _check(values, regions, share, temperature)
    probability = spatial_softmax(values, temperature)
    rows, columns = np.nonzero(probability >= share * probability.max())
    owner = k_means(np.stack([columns, rows], axis=1).astype(np.float32), regions, seed)
    found = np.zeros((owner.max() + 1, *values.shape), bool)
    found[owner, rows, columns] = True
    # Cells of equal probability differ in nothing else, so the first of them is the peak.
    peaks = np.where(found, probability, -1).reshape(len(found), -1).argmax(axis=1)
    order = np.argsort(-probability.ravel()[peaks], kind="stable")
    ys, xs = np.divmod(peaks[order], values.shape[1])
    points = np.stack([xs, ys], axis=1).astype(np.float32) + 0.5
    inside = found[order]
    boxes = np.array([pixel_box(region) for region in inside], np.float32)
    return PseudoPrompts(points, inside, boxes, values[ys, xs].astype(np.float32))


def k_means(coords: Float, count: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Group `(n, 2)` coordinates into at most `count` groups by Lloyd's algorithm with k-means++ starts.

    Returns:
        `(n,)` int64 group of each, numbered from 0 without gaps. Groups of equal points fall together.
    """
    centres = _first_centres(coords, count, np.random.default_rng(seed))
    owner = _nearest(coords, centres)
    for _ in range(_ROUNDS):
        centres = _means(coords, owner)
        before, owner = owner, _nearest(coords, centres)
        if np.array_equal(before, owner):
            break
    return np.unique(owner, return_inverse=True)[1].astype(np.int64).ravel()


def _first_centres(coords: Float, count: int, generator: np.random.Generator) -> Float:
    """Starts that are far apart: each drawn by its squared distance to those before (Arthur, Vassilvitskii 2007)."""
    chosen = [coords[generator.integers(len(coords))]]
    distances = np.full(len(coords), np.inf)
    while len(chosen) < count:
        distances = np.minimum(distances, np.square(coords - chosen[-1]).sum(axis=1))
        if not distances.any():
            break
        chosen.append(coords[generator.choice(len(coords), p=distances / distances.sum())])
    return np.stack(chosen)


def _means(coords: Float, owner: npt.NDArray[np.int64]) -> Float:
    """Mean of each group's coordinates, `(k, 2)`; groups without any are left out."""
    sizes = np.bincount(owner)
    sums = np.stack([np.bincount(owner, weights=column) for column in coords.T], axis=1)
    return np.asarray(sums[sizes > 0] / sizes[sizes > 0, None], np.float32)


def _nearest(coords: Float, centres: Float) -> npt.NDArray[np.int64]:
    """Index of the nearest centre of each point."""
    # |x - c|^2 without |x|^2, which is the same for all centres.
    distances = np.square(centres).sum(axis=1) - 2 * (coords @ centres.T)
    return np.asarray(distances.argmin(axis=1), np.int64)


def _check(values: Float, regions: int, share: float, temperature: float) -> None:
    if values.ndim != 2 or not values.size or not np.isfinite(values).all():
        raise PromptError(f"expected a finite map (h, w), got shape {values.shape} or values that are not finite")
    if regions < 1 or not 0 < share <= 1 or temperature <= 0:
        got = f"{regions}, {share} and {temperature}"
        raise ConfigError(
            f"expected regions of at least 1, a share above 0 up to 1 and a temperature above 0, got {got}; see REGIONS"
        )
