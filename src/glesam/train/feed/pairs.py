"""Pairs of a clean and a degraded view of one image, as a function of (seed, step, process).

The whole image is degraded at its own size, as images are in use, and then both versions are cut by the same warp: so
the padding stays clean, and blur and noise have the size relative to the frame that they have at inference.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch

from glesam.common.arrays import Ids
from glesam.data.base import Sample
from glesam.degrade.levels import Level, apply, parse_level, parse_levels
from glesam.errors import ConfigError
from glesam.images.pixels import RGB
from glesam.images.shrink import resize_ids
from glesam.train.config import PairConfig
from glesam.train.feed.augment import ViewConfig, jitter_colour, paste_object, random_view
from glesam.train.feed.batch import Batch
from glesam.train.feed.mixing import mix_statistics, mix_versions
from glesam.train.feed.pack import ImagePack
from glesam.train.feed.views import Item, TrainingBatches, first_drawn, shown_ids

WORST_LEVEL, WORST_SEVERITY = 3, 5
_STATISTICS = 0.5
"""Chance that mixing takes another image's statistics, and not further versions of the image."""
_MAX_ID = 255  # views hold ids as uint8


class PairBatches(TrainingBatches):
    """Item `step` is the batch of that step.

    Besides what `TrainingBatches` gives (prompts and targets only where `config.prompts` is not 0), a batch holds
    `pixels (B, S, S, 3)` uint8, the degraded views, `clean`, the same views of the clean images, and `levels (B,)`
    float32: 0 for clear, 1 to 3 for LQ-1 to LQ-3, three fifths of the severity for other kinds.

    Raises:
        ConfigError: a level or a kind is unknown, a level moves pixels, or the shares are not positive.
    """

    def __init__(self, packs: Sequence[ImagePack], shares: Sequence[float], config: PairConfig, rank: int = 0) -> None:
        super().__init__(packs, shares, config, rank)
        self.pairs = config
        self.levels, self.level_shares = level_table(config.levels, config.takes_moved, config.leave_out)
        check_kinds(config.as_clear)

    def __getitem__(self, step: int) -> Batch:
        """Make the batch of a step."""
        cv2.setNumThreads(0)  # no pool in a worker: the cores are the training process's, and 1 would wait for its pool
        rng = np.random.default_rng([self.pairs.seed, step, self.rank])
        items = [self._pair(rng) for _ in range(self.pairs.batch_size)]
        batch = {k: torch.from_numpy(np.stack([item[k] for item in items])) for k in items[0]}
        room = max(0, ViewConfig().frame - self.pairs.image_size)
        batch["origin"] = torch.from_numpy(rng.uniform(0, room + 1e-9, 2).astype(np.float32))
        return batch

    def _pair(self, rng: np.random.Generator) -> Item:
        """Make one pair."""
        return first_drawn(lambda: self._draw_pair(rng))

    def _draw_pair(self, rng: np.random.Generator) -> Item | None:
        """Draw one pair; None where prompts are wanted and its view shows no object."""
        config = self.pairs
        image, mask = self._scene(rng)
        degraded, level = self._degraded(image, mask, rng)
        # The same generator twice: both versions are cut by the same warp.
        view, seed = ViewConfig(scale=config.scale), int(rng.integers(2**62))
        clean, ids = random_view(image, mask, config.image_size, view, np.random.default_rng(seed))
        low, _ = random_view(degraded, mask, config.image_size, view, np.random.default_rng(seed))
        levels = np.asarray(severity(level, config.as_clear), np.float32)
        item: Item = {"pixels": low, "clean": clean, "levels": levels}
        objects = shown_ids(ids)
        if not config.prompts:
            return item
        return {**item, **self._prompts(ids, objects, rng)} if len(objects) else None

    def _degraded(self, image: RGB, mask: Ids, rng: np.random.Generator) -> tuple[RGB, Level]:
        """Degrade an image to a level drawn by the shares, mixed where that is drawn too; and the level."""
        level = self.levels[int(rng.choice(len(self.levels), p=self.level_shares))]
        sample = Sample("pair", image, mask)
        degraded = apply(sample, level, int(rng.integers(2**62)), self.pairs.recipe).image
        if self.pairs.mixing > 0 and not level.moves_pixels and rng.random() < self.pairs.mixing:
            degraded = self._mixed(sample, degraded, rng)
        return degraded, level

    def _mixed(self, sample: Sample, degraded: RGB, rng: np.random.Generator) -> RGB:
        """Give a degraded image another one's statistics, or average it with further versions of the same image."""
        if rng.random() < _STATISTICS:
            return mix_statistics(degraded, self.image(rng)[0], rng)
        still = [number for number, level in enumerate(self.levels) if not level.moves_pixels]
        more = rng.choice(still, int(rng.integers(1, 3)))
        seeds = rng.integers(2**62, size=len(more)).tolist()
        versions = [
            apply(sample, self.levels[number], seed, self.pairs.recipe).image
            for number, seed in zip(more.tolist(), seeds, strict=True)
        ]
        return mix_versions(sample.image, [degraded, *versions], rng)

    def _scene(self, rng: np.random.Generator) -> tuple[RGB, Ids]:
        """Draw an image, change its colours and size, and paste other objects in."""
        image, mask = self.image(rng)
        image = jitter_colour(image, rng)
        factor = float(np.exp(rng.uniform(*np.log(self.pairs.native))))
        size = (max(16, round(mask.shape[1] * factor)), max(16, round(mask.shape[0] * factor)))
        method = cv2.INTER_AREA if factor < 1 else cv2.INTER_CUBIC
        image = np.asarray(cv2.resize(image, size, interpolation=method), np.uint8)
        mask = resize_ids(mask, size[::-1])
        if rng.random() < self.pairs.paste:
            for _ in range(int(rng.integers(1, 4))):
                image, mask = _paste(image, mask, *self.image(rng), rng)
        return image, mask


def level_table(
    shares: dict[str, float], takes_moved: bool = False, leave_out: Sequence[str] = ()
) -> tuple[list[Level], npt.NDArray[np.float64]]:
    """Read the shares of the levels; those of a word that stands for several levels are split evenly.

    Args:
        shares: share of each word.
        takes_moved: whether kinds that move pixels are allowed.
        leave_out: kinds, such as `real:haze`, that `all` does not stand for.

    Raises:
        ConfigError: a level is unknown or moves pixels and may not, a kind to leave out is unknown or was named, or
            the shares are not positive.
    """
    check_kinds(leave_out)
    levels: list[Level] = []
    weights: list[float] = []
    for word, share in shares.items():
        found = parse_levels([word]) if ":all:" in word else [parse_level(word)]
        moving = [] if takes_moved else [level for level in found if level.moves_pixels]
        if ":all:" in word:
            found = [level for level in found if level not in moving and kind_of(level) not in leave_out]
        elif kind_of(found[0]) in leave_out:
            raise ConfigError(
                f"expected levels without {kind_of(found[0])}, which leave_out names, got {found[0]}; drop it from one"
            )
        elif moving:
            raise ConfigError(
                f"expected levels under which pixels keep their place, got {moving[0]}; a clean view is no target "
                "for a view that moved"
            )
        levels += found
        weights += [share / len(found) for _ in found]
    if not levels or min(weights) < 0 or not 0 < sum(weights) < float("inf"):
        raise ConfigError(f"expected levels with shares of at least 0 and a positive sum, got {shares}; such as lq1: 1")
    return levels, np.asarray(weights, np.float64) / sum(weights)


def check_kinds(kinds: Sequence[str]) -> None:
    """See that kinds, such as `real:haze`, exist.

    Raises:
        ConfigError: one does not; the message gives the nearest.
    """
    for kind in kinds:
        parse_level(f"{kind}:1")


def kind_of(level: Level) -> str:
    """Family and kind as `leave_out` and `as_clear` write them, such as `real:haze`."""
    return f"{level.family}:{level.kind}"


def severity(level: Level, as_clear: Sequence[str] = ()) -> float:
    """One scale for all kinds, 0 (clear, and the kinds that count as clear) to 3 (as bad as LQ-3)."""
    if kind_of(level) in as_clear:
        return 0.0
    if level.family in ("clear", "lq"):
        return float(level.severity)
    return level.severity * WORST_LEVEL / WORST_SEVERITY


def _paste(image: RGB, mask: Ids, source: RGB, source_mask: Ids, rng: np.random.Generator) -> tuple[RGB, Ids]:
    """Paste a cut-out into a random square of an image of any shape; it becomes a new id."""
    side = min(mask.shape)
    y, x = (int(rng.integers(0, n - side + 1)) for n in mask.shape)
    window = np.s_[y : y + side, x : x + side]
    inner = mask[window]
    pasted, ids = paste_object(image[window], inner, source, source_mask, rng)
    fresh = int(mask.max()) + 1
    if fresh > _MAX_ID:
        return image, mask
    image = image.copy()
    image[window] = pasted
    mask = mask.copy()
    mask[window] = np.where(ids > inner.max(), fresh, ids)
    return image, mask
