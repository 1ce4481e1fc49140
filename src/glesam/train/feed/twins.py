"""Training batches with prompts to be corrected, zoomed views and degraded twins."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from glesam.train.config import BaseConfig, PairConfig, Phase
from glesam.train.feed.augment import ViewConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.clicks import sample_prompt, start_prompt
from glesam.train.feed.pack import ImagePack
from glesam.train.feed.pairs import PairBatches

_KEYS = ("pixels", "points", "labels", "targets", "fine")
_CENTRE = 0.5
"""Chance that a lone first click is at the object's centre."""


class TwinBatches(PairBatches):
    """Item `step` is the batch of that step.

    Each batch holds `pixels (B, S, S, 3)` uint8, `points (B, P, K, 2)` float32, `labels (B, P, K)` int64, `targets
    (B, P, S/4, S/4)` and `fine (B, P, S/2, S/2)` uint8 (share of the object, times 255) and `origin (2,)` float32. The
    last `config.twins` views are degraded copies of as many before them, with the same prompts; before these come
    `config.degraded` others that are degraded. The last
    `config.corrected` prompts of a view are first boxes and clicks, to be corrected in rounds.

    Args:
        packs: images by data set.
        shares: how often each set is drawn, any positive numbers.
        config: the stage's configuration.
        rank: number of this process.
    """

    def __init__(self, packs: Sequence[ImagePack], shares: Sequence[float], config: BaseConfig, rank: int = 0) -> None:
        super().__init__(packs, shares, _pairs(config, config.phases[0]), rank)
        self.base = config
        self.ends = np.cumsum([phase.steps for phase in config.phases])

    def phase(self, step: int) -> Phase:
        """The phase that a step belongs to."""
        return self.base.phases[int(np.searchsorted(self.ends, step, side="right"))]

    def view(self, phase: Phase) -> ViewConfig:
        """How the views of a phase are cut."""
        return ViewConfig(scale=phase.scale, zoom=self.base.zoom)

    def __getitem__(self, step: int) -> Batch:
        """Make the batch of a step."""
        cv2.setNumThreads(0)  # no pool in a worker: the cores are the training process's, and 1 would wait for its pool
        rng = np.random.default_rng([self.base.seed, step, self.rank])
        phase = self.phase(step)
        twins, lone = self.base.twins, self.base.degraded
        items = [self._item(phase, rng) for _ in range(phase.batch_size - 2 * twins - lone)]
        self.pairs = _pairs(self.base, phase)
        pairs = [self._pair(rng) for _ in range(lone + twins)]
        clear = [{**pair, "pixels": pair["clean"]} for pair in pairs[lone:]]
        views = [*items, *pairs[:lone], *clear, *pairs[lone:]]
        batch = {k: torch.from_numpy(np.stack([view[k] for view in views])) for k in _KEYS}
        room = max(0, ViewConfig().frame - phase.image_size)
        batch["origin"] = torch.from_numpy(rng.uniform(0, room + 1e-9, 2).astype(np.float32))
        return batch

    def _prompts(
        self, mask: npt.NDArray[np.int32], ids: npt.NDArray[np.int64], rng: np.random.Generator
    ) -> dict[str, npt.NDArray[np.generic]]:
        """Draw the prompts of a view, on different objects while there are any."""
        count, size = self.base.prompts, mask.shape[0]
        order = np.concatenate([rng.permutation(ids) for _ in range(-(-count // len(ids)))])[:count]
        points, labels, targets, fine = [], [], [], []
        for number, object_id in enumerate(order):
            region = mask == object_id
            if number >= count - self.base.corrected:
                coords, kinds = start_prompt(region, self.base.slots, rng)
            else:
                coords, kinds = sample_prompt(region, mask, self.base.slots, rng, _CENTRE)
            points.append(coords)
            labels.append(kinds)
            full = region.astype(np.uint8) * 255
            targets.append(cv2.resize(full, (size // 4, size // 4), interpolation=cv2.INTER_AREA))
            fine.append(cv2.resize(full, (size // 2, size // 2), interpolation=cv2.INTER_AREA))
        return {
            "points": np.stack(points),
            "labels": np.stack(labels),
            "targets": np.stack(targets).astype(np.uint8),
            "fine": np.stack(fine).astype(np.uint8),
        }


def _pairs(config: BaseConfig, phase: Phase) -> PairConfig:
    return PairConfig(
        seed=config.seed,
        image_size=phase.image_size,
        batch_size=max(1, config.degraded + config.twins),
        steps=phase.steps,
        scale=phase.scale,
        levels=config.levels,
        leave_out=config.leave_out,
        mixing=config.mixing,
        paste=config.paste,
        prompts=config.prompts,
        slots=config.slots,
    )


def error_clicks(
    logits: Tensor, truth: Tensor, rng: np.random.Generator
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
    """Where a user would click next (Sofiiuk et al., ICIP 2022): well inside the larger of the two kinds of error.

    Args:
        logits: `(M, h, w)` answers so far.
        truth: `(M, h, w)` bool.
        rng: draws among the pixels at more than half the largest distance from the error's edge.

    Returns:
        `(M, 2)` cells `(x, y)` and `(M,)` labels: 1 where the object was missed, 0 where too much was marked. Without
        any error, a cell of the object's inside, or of its outside if it has none.
    """
    found, wanted = (logits > 0).cpu().numpy(), truth.cpu().numpy()
    cells, labels = np.zeros((len(found), 2), np.float32), np.zeros(len(found), np.int64)
    for i, (mask, aim) in enumerate(zip(found, wanted, strict=True)):
        missed, excess = _depth(aim & ~mask), _depth(mask & ~aim)
        positive = missed.max() >= excess.max()
        depth = missed if positive else excess
        if depth.max() == 0:
            positive = bool(aim.any())
            depth = _depth(aim if positive else ~aim)
        ys, xs = np.nonzero(depth > depth.max() / 2)
        pick = int(rng.integers(len(ys)))
        cells[i], labels[i] = (xs[pick], ys[pick]), int(positive)
    return cells, labels


def _depth(region: npt.NDArray[np.bool_]) -> npt.NDArray[np.float32]:
    """Distance of each pixel of a region from its edge; the image's edge counts."""
    padded = np.pad(region, 1).astype(np.uint8)
    return np.asarray(cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1], np.float32)
