"""Training batches for heads: pairs of a degraded and a clean view with prompts of one kind a step."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch

from glesam.common.arrays import Ids
from glesam.prompts.drawn import tight_box
from glesam.train.config import HeadConfig
from glesam.train.feed.batch import Batch
from glesam.train.feed.clicks import loosen_box, random_points
from glesam.train.feed.large_scale import large_scale_view
from glesam.train.feed.pack import ImagePack
from glesam.train.feed.pairs import PairBatches
from glesam.train.feed.views import Item, shown_ids

CERTAIN = 10.0
"""Logit of a mask prompt inside its mask; outside it is the negative."""


class HeadBatches(PairBatches):
    """Item `step` is the batch of that step.

    A batch holds `pixels` and `clean` `(B, S, S, 3)` uint8, the same view of the degraded and the clean image, `masks
    (B, P, S, S)` uint8 0 or 1, `points (B, P, K, 2)` and `boxes (B, P, 4)` float32 in pixels of the view, `kind ()`
    int64, the index of the step's kind of prompt, and `origin (2,)`.
    """

    def __init__(self, packs: Sequence[ImagePack], shares: Sequence[float], config: HeadConfig, rank: int = 0) -> None:
        super().__init__(packs, shares, config, rank)
        self.head = config

    def __getitem__(self, step: int) -> Batch:
        """Make the batch of a step."""
        batch = super().__getitem__(step)
        rng = np.random.default_rng([self.head.seed, step, self.rank, 1])
        batch["kind"] = torch.tensor(int(rng.integers(len(self.head.prompt_kinds))))
        return batch

    def _draw_pair(self, rng: np.random.Generator) -> Item | None:
        """Draw one pair with its prompts; None where its view shows no object."""
        config = self.head
        clean, mask = self._scene(rng)
        degraded, _ = self._degraded(clean, mask, rng)
        seed = int(rng.integers(2**62))  # the same generator twice: both versions are cut alike
        views = [
            large_scale_view(image, mask, config.image_size, config.scale, np.random.default_rng(seed))
            for image in (degraded, clean)
        ]
        ids = views[0][1]
        objects = shown_ids(ids)
        if not len(objects):
            return None
        return {"pixels": views[0][0], "clean": views[1][0], **self._objects(ids, objects, rng)}

    def _objects(self, ids: Ids, objects: npt.NDArray[np.int64], rng: np.random.Generator) -> Item:
        """Masks, points and boxes of different objects while there are any."""
        config = self.head
        masks, points, boxes = [], [], []
        order = np.concatenate([rng.permutation(objects) for _ in range(-(-config.prompts // len(objects)))])
        for object_id in order[: config.prompts]:
            region = ids == object_id
            masks.append(region.astype(np.uint8))
            points.append(random_points(region, config.points, rng))
            boxes.append(loosen_box(tight_box(region), config.box_noise, region.shape, rng))
        return {"masks": np.stack(masks), "points": np.stack(points), "boxes": np.stack(boxes)}
