"""Versions of images to measure the gain on: clear, degraded, mixed; small, large and made of several images.

Version `i` is a function of (seed, i), so that a stopped run continues with the next one.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Ids
from glesam.common.seeds import generator, stable_seed
from glesam.data.base import Sample
from glesam.degrade.levels import apply
from glesam.images.pixels import RGB
from glesam.images.shrink import resize_ids
from glesam.train.config import GainConfig
from glesam.train.feed.augment import ids_and_areas
from glesam.train.feed.pack import ImagePack
from glesam.train.feed.pairs import PairBatches, severity

GRIDS = ((1, 2), (2, 1), (2, 2))
_LEAST_SIDE = 96


@dataclass(frozen=True)
class Version:
    """One version of an image.

    Attributes:
        index: its number.
        sample: image and mask; the name is that of the first image in it.
        condition: `clear`, `lq1`, `real:haze:3`, or `mixed`.
        level: how degraded it is, 0 to 3.
        objects: ids of the objects to measure, none where the version shows none that is large enough.
    """

    index: int
    sample: Sample
    condition: str
    level: float
    objects: tuple[int, ...]


class Versions(PairBatches):
    """Versions of the images of packs; see `GainConfig`."""

    def version(self, index: int, config: GainConfig) -> Version:
        """Make a version."""
        rng = generator("gain", config.seed, index)
        sample = self._clear(rng, config)
        level = self.levels[int(rng.choice(len(self.levels), p=self.level_shares))]
        made = apply(sample, level, int(rng.integers(2**62)), config.recipe)
        condition = str(level)
        if not level.is_clear and not level.moves_pixels and rng.random() < config.mixing:
            made = Sample(made.name, self._mixed(sample, made.image, rng), made.mask)
            condition = "mixed"
        ids, areas = ids_and_areas(made.mask)
        large = ids[areas >= max(16, config.least_share * made.mask.size)]
        chosen = rng.permutation(large)[: config.objects]
        return Version(index, made, condition, severity(level, config.as_clear), tuple(sorted(map(int, chosen))))

    def _clear(self, rng: np.random.Generator, config: GainConfig) -> Sample:
        """A clear image: one of the packs', perhaps shrunk, or several of one fold side by side."""
        pack, place = self._draw(rng)
        first = _named(pack, place)
        if rng.random() < config.mosaic:
            rows, columns = GRIDS[int(rng.integers(len(GRIDS)))]
            others = [self._partner(first.name, config.folds, rng) for _ in range(rows * columns - 1)]
            return mosaic([first, *others], rows, columns)
        factor = float(np.exp(rng.uniform(*np.log(config.native)))) if rng.random() < 0.5 else 1.0
        size = [max(min(_LEAST_SIDE, side), round(side * factor)) for side in first.mask.shape]
        image, mask = _resized(first.image, first.mask, (size[0], size[1]))
        return Sample(first.name, image, mask)

    def _draw(self, rng: np.random.Generator) -> tuple[ImagePack, int]:
        """A pack by its share, and the place of any of its images."""
        pack = self.packs[int(rng.choice(len(self.packs), p=self.shares))]
        return pack, int(rng.integers(len(pack)))

    def _partner(self, name: str, folds: int, rng: np.random.Generator) -> Sample:
        """Draw until an image is of the fold of another, which itself may come: so each draw ends."""
        while True:
            pack, place = self._draw(rng)
            if fold_of(full_name(pack, place), folds) == fold_of(name, folds):
                return _named(pack, place)


def full_name(pack: ImagePack, place: int) -> str:
    """Name of an image of a pack, with the set's before it."""
    return f"{pack.name}/{pack.names[place]}"


def fold_of(name: str, folds: int) -> int:
    """The fold, 0 to `folds - 1`, of an image by its full name; no gate is judged on images that it was fitted on."""
    return stable_seed("fold", name) % folds


def _named(pack: ImagePack, place: int) -> Sample:
    """An image of a pack under its full name."""
    sample = pack[place]
    return Sample(full_name(pack, place), sample.image, sample.mask)


def mosaic(samples: list[Sample], rows: int, columns: int) -> Sample:
    """Lay images side by side, each stretched to the first one's size; ids continue from one to the next.

    Args:
        samples: `rows * columns` images.
        rows: of the grid.
        columns: of the grid.

    Returns:
        One image with the first one's name.
    """
    shape = (samples[0].mask.shape[0], samples[0].mask.shape[1])
    tiles: list[tuple[RGB, Ids]] = []
    taken = 0
    for sample in samples:
        image, mask = _resized(sample.image, sample.mask, shape)
        moved = np.where(mask > 0, mask + taken, 0)
        taken = max(taken, int(moved.max()))
        tiles.append((image, moved.astype(np.int32)))
    grid = [tiles[row * columns : (row + 1) * columns] for row in range(rows)]
    image, mask = (
        np.concatenate([np.concatenate([t[part] for t in line], axis=1) for line in grid]) for part in (0, 1)
    )
    return Sample(samples[0].name, image, mask)


def _resized(image: RGB, mask: Ids, shape: tuple[int, int]) -> tuple[RGB, npt.NDArray[np.int32]]:
    """Image and mask at `(H, W)`; as they are where that is their size."""
    if mask.shape == shape:
        return image, mask
    method = cv2.INTER_AREA if shape[0] < mask.shape[0] else cv2.INTER_CUBIC
    small = np.asarray(cv2.resize(image, shape[::-1], interpolation=method), np.uint8)
    return small, resize_ids(mask, shape)


def condition_group(condition: str) -> str:
    """What conditions are counted together: the kind, whatever its severity, such as `real:haze`."""
    return condition.rpartition(":")[0] if condition.count(":") == 2 else condition
