"""Training batches as a function of (seed, step, process): nothing else decides what a step sees.

That is what makes an interrupted run resume exactly: the stream starts again at any step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import Dataset

from glesam.errors import DataError
from glesam.models.base import PromptableModel
from glesam.train.config import Phase
from glesam.train.feed.augment import ViewConfig, ids_and_areas, jitter_colour, paste_object, random_view
from glesam.train.feed.batch import Batch
from glesam.train.feed.clicks import sample_prompt
from glesam.train.feed.pack import ImagePack

Item = dict[str, npt.NDArray[np.generic]]

_MIN_PIXELS = 100  # of an object in a view; smaller ones are a few cells of the mask, and a click on them is noise


_MOST_DRAWS = 1000


class ViewOptions(Protocol):
    """The part of a stage's configuration that decides what its views and prompts look like; see `BaseConfig`."""

    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def phases(self) -> tuple[Phase, ...]: ...  # noqa: D102
    @property
    def prompts(self) -> int: ...  # noqa: D102
    @property
    def slots(self) -> int: ...  # noqa: D102
    @property
    def paste(self) -> float: ...  # noqa: D102


class TrainingBatches(Dataset[Batch]):
    """Item `step` is the batch of that step.

    Each batch holds `pixels (B, S, S, 3)` uint8, `points (B, P, K, 2)` float32, `labels (B, P, K)` int64, `targets
    (B, P, S/4, S/4)` uint8 (share of the object, times 255) and `origin (2,)` float32.

    Args:
        packs: images by data set.
        shares: how often each set is drawn, any positive numbers.
        config: the stage's configuration.
        rank: number of this process.
    """

    def __init__(self, packs: Sequence[ImagePack], shares: Sequence[float], config: ViewOptions, rank: int = 0) -> None:
        self.packs, self.config, self.rank = packs, config, rank
        self.shares = np.asarray(shares, np.float64) / float(np.sum(shares))
        self.ends = np.cumsum([phase.steps for phase in config.phases])

    def __len__(self) -> int:
        """Number of steps."""
        return int(self.ends[-1])

    def phase(self, step: int) -> Phase:
        """The phase that a step belongs to."""
        return self.config.phases[int(np.searchsorted(self.ends, step, side="right"))]

    def __getitem__(self, step: int) -> Batch:
        """Make the batch of a step."""
        cv2.setNumThreads(0)  # no pool in a worker: the cores are the training process's, and 1 would wait for its pool
        rng = np.random.default_rng([self.config.seed, step, self.rank])
        phase = self.phase(step)
        items = [self._item(phase, rng) for _ in range(phase.batch_size)]
        batch = {k: torch.from_numpy(np.stack([item[k] for item in items])) for k in items[0]}
        room = max(0, ViewConfig().frame - phase.image_size)
        batch["origin"] = torch.from_numpy(rng.uniform(0, room + 1e-9, 2).astype(np.float32))
        return batch

    def view(self, phase: Phase) -> ViewConfig:
        """How the views of a phase are cut."""
        return ViewConfig(scale=phase.scale)

    def image(self, rng: np.random.Generator) -> tuple[npt.NDArray[np.uint8], npt.NDArray[np.int32]]:
        """Draw an image: a set by its share, then any of its images."""
        pack = self.packs[int(rng.choice(len(self.packs), p=self.shares))]
        sample = pack[int(rng.integers(len(pack)))]
        return sample.image, sample.mask

    def _item(self, phase: Phase, rng: np.random.Generator) -> Item:
        """Make one view with its prompts."""
        return first_drawn(lambda: self._draw_item(phase, rng))

    def _draw_item(self, phase: Phase, rng: np.random.Generator) -> Item | None:
        """Draw one view; None where it shows no object."""
        whole, objects = self.image(rng)
        # Colours before the warp: the padding keeps the grey that it has at inference.
        image, mask = random_view(jitter_colour(whole, rng), objects, phase.image_size, self.view(phase), rng)
        if rng.random() < self.config.paste:
            for _ in range(int(rng.integers(1, 4))):
                image, mask = paste_object(image, mask, *self.image(rng), rng)
        ids = shown_ids(mask)
        return {"pixels": image, **self._prompts(mask, ids, rng)} if len(ids) else None

    def _prompts(self, mask: npt.NDArray[np.int32], ids: npt.NDArray[np.int64], rng: np.random.Generator) -> Item:
        """Draw the prompts of a view, on different objects while there are any."""
        count, size = self.config.prompts, mask.shape[0] // 4
        order = np.concatenate([rng.permutation(ids) for _ in range(-(-count // len(ids)))])[:count]
        points, labels, targets = [], [], []
        for object_id in order:
            region = mask == object_id
            coords, kinds = sample_prompt(region, mask, self.config.slots, rng)
            points.append(coords)
            labels.append(kinds)
            shares = cv2.resize(region.astype(np.uint8) * 255, (size, size), interpolation=cv2.INTER_AREA)
            targets.append(shares.astype(np.uint8))
        return {"points": np.stack(points), "labels": np.stack(labels), "targets": np.stack(targets)}


def shown_ids(mask: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Ids of the objects that are large enough in a view."""
    ids, areas = ids_and_areas(mask)
    return ids[areas >= _MIN_PIXELS]


def first_drawn(draw: Callable[[], Item | None]) -> Item:
    """Draw views until one shows an object.

    Raises:
        DataError: none does; without an end to it, training would stand still and say nothing.
    """
    for _ in range(_MOST_DRAWS):
        item = draw()
        if item is not None:
            return item
    raise DataError(
        f"expected views that show an object of at least {_MIN_PIXELS} pixels, got none in {_MOST_DRAWS}; take data "
        "with larger objects, or a larger image size or scale"
    )


def view_pixels(model: PromptableModel, views: Tensor) -> Tensor:
    """Turn training views into a model's input.

    Args:
        model: the compact model takes views of any size that is a multiple of 32; others enlarge them to their own.
        views: `(B, S, S, 3)` uint8 RGB, on any device.

    Returns:
        `(B, 3, S', S')` float32 pixel values on the device of the views.
    """
    return model.pixels_of(views.cpu().numpy()).to(views.device)
