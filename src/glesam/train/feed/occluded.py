"""Whole objects with others laid over them: what is hidden is known exactly.

Occluders cut out of other images are pasted over an object (as Amodal SAM's target-aware occlusion synthesis, arXiv
2604.20748, and earlier Zhan et al., CVPR 2020); some are slid behind it instead, and some objects stay alone, so that
nothing is completed where nothing is hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch.utils.data import Dataset

from glesam.amodal.view import look_at
from glesam.common.arrays import Bool
from glesam.common.boxes import pixel_box
from glesam.images.pixels import RGB
from glesam.train.config import AmodalConfig
from glesam.train.feed.augment import ids_and_areas, jitter_colour
from glesam.train.feed.batch import Batch
from glesam.train.feed.pack import ImagePack
from glesam.train.feed.views import Item, first_drawn

Mask8 = npt.NDArray[np.uint8]

LEAST, MOST = 0.05, 0.7
"""Least and largest share of an object that is hidden in training."""

SIZES = (0.4, 1.6)
"""Size of an occluder, as the root of its area, in that of the object."""

_MIN_PIXELS = 400
_TRIES = 6
_REACHES = (1.6, 2.4)


@dataclass(frozen=True, eq=False)
class OccludedScene:
    """An image with one object of which all is known.

    Attributes:
        image: `(H, W, 3)` uint8 RGB.
        whole: `(H, W)` bool.
        visible: `(H, W)` bool, what no other object covers.
    """

    image: RGB
    whole: Bool
    visible: Bool


@dataclass(frozen=True, eq=False)
class CutOut:
    """An object without its image.

    Attributes:
        pixels: `(h, w, 3)` uint8 RGB.
        mask: `(h, w)` bool.
    """

    pixels: RGB
    mask: Bool


def cut_out(image: RGB, mask: Bool) -> CutOut:
    """Cut an object out along its box."""
    x0, y0, x1, y1 = np.array(pixel_box(mask)).tolist()
    return CutOut(image[y0:y1, x0:x1], mask[y0:y1, x0:x1])


def occlude(
    image: RGB, whole: Bool, occluder: CutOut, rng: np.random.Generator, behind: bool = False
) -> OccludedScene | None:
    """Lay a cut-out over an object, or behind it.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        whole: `(H, W)` bool, the object.
        occluder: what is laid on; it is made `SIZES` times as large as the object.
        rng: the only source of randomness.
        behind: the object stays in front.

    Returns:
        None where the place drawn hides too little or too much (in front), or does not touch the object (behind).
    """
    patch, alpha = _sized(occluder, float(whole.sum()), whole.shape, rng)
    rows, columns = np.nonzero(whole)
    at, (height, width) = int(rng.integers(len(rows))), alpha.shape
    y, x = int(rows[at]) - int(rng.integers(height)), int(columns[at]) - int(rng.integers(width))
    meets = [_overlap(y, height, whole.shape[0]), _overlap(x, width, whole.shape[1])]
    place, part = (meets[0][0], meets[1][0]), (meets[0][1], meets[1][1])
    laid = np.zeros(whole.shape, np.uint8)
    laid[place] = alpha[part]
    covered = (laid > 127) & whole
    share = float(covered.sum()) / float(whole.sum())
    if (share == 0) if behind else not LEAST <= share <= MOST:
        return None
    if behind:
        laid[whole] = 0
    weight = cv2.GaussianBlur(laid, (3, 3), 0)[place][..., None].astype(np.uint16)
    painted = image.copy()
    mixed = patch[part] * weight + painted[place].astype(np.uint16) * (255 - weight)
    painted[place] = (mixed // 255).astype(np.uint8)
    return OccludedScene(painted, whole, whole.copy() if behind else whole & ~covered)


def _overlap(start: int, length: int, whole: int) -> tuple[slice, slice]:
    """Where a stretch from `start` on and one from 0 to `whole` meet: the part of the second, and of the first."""
    first, last = max(0, start), min(whole, start + length)
    return slice(first, last), slice(first - start, last - start)


def _sized(occluder: CutOut, area: float, most: tuple[int, ...], rng: np.random.Generator) -> tuple[RGB, Mask8]:
    """An occluder's pixels and coverage `(h, w)` uint8, for an object of some area in an image of a size."""
    scale = float(np.exp(rng.uniform(*np.log(SIZES)))) * np.sqrt(area / float(occluder.mask.sum()))
    height, width = (max(3, min(2 * m, round(n * scale))) for n, m in zip(occluder.mask.shape, most, strict=True))
    method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    alpha = cv2.resize(np.uint8(255) * occluder.mask, (width, height), interpolation=cv2.INTER_LINEAR)
    patch = cv2.resize(np.ascontiguousarray(occluder.pixels), (width, height), interpolation=method)
    return np.asarray(patch, np.uint8), np.asarray(alpha, np.uint8)


class OccludedBatches(Dataset[Batch]):
    """Item `step` is the batch of that step.

    Each batch holds `pixels (B, S, S, 3)` uint8, and of cells of four pixels `visible` (as a segmenter would see it,
    with faults along its edge), `whole` and `inside`, `(B, S/4, S/4)` float32, 0 to 1.

    Args:
        packs: images of objects that nothing hides, by data set.
        shares: how often each set is drawn, any positive numbers.
        config: the stage's configuration.
        rank: number of this process.
    """

    def __init__(
        self, packs: Sequence[ImagePack], shares: Sequence[float], config: AmodalConfig, rank: int = 0
    ) -> None:
        self.packs, self.config, self.rank = packs, config, rank
        self.shares = np.asarray(shares, np.float64) / float(np.sum(shares))

    def __len__(self) -> int:
        """Number of steps."""
        return self.config.steps

    def __getitem__(self, step: int) -> Batch:
        """Make the batch of a step."""
        cv2.setNumThreads(0)  # no pool in a worker, as in `TrainingBatches`
        rng = np.random.default_rng([self.config.seed, step, self.rank])
        items = [first_drawn(lambda: self._draw_item(rng)) for _ in range(self.config.batch_size)]
        return {k: torch.from_numpy(np.stack([item[k] for item in items])) for k in items[0]}

    def _draw_item(self, rng: np.random.Generator) -> Item | None:
        """Draw one view; None where it shows too little."""
        scene = self._scene(rng)
        seen = None if scene is None else faulty(scene.visible, rng)
        if scene is None or seen is None or not seen.any():
            return None
        view = look_at(compressed(scene.image, rng), seen, self.config.side, float(rng.uniform(*_REACHES)))
        whole = view.shares(scene.whole)
        item: Item = {"pixels": view.pixels, "visible": view.visible, "whole": whole, "inside": view.inside}
        if rng.random() < 0.5:
            item = {key: np.ascontiguousarray(value[:, ::-1]) for key, value in item.items()}
        return item

    def _scene(self, rng: np.random.Generator) -> OccludedScene | None:
        """Draw an object, and hide a part of it or not; None where this draw gives none."""
        drawn = self._object(rng)
        if drawn is None:
            return None
        image, whole = jitter_colour(drawn[0], rng), drawn[1]
        kind = float(rng.random())
        if kind < self.config.alone:
            return OccludedScene(image, whole, whole)
        for _ in range(_TRIES):
            other = self._object(rng)
            if other is None:
                continue
            part = cut_out(*other)
            part = CutOut(jitter_colour(part.pixels, rng), part.mask)
            scene = occlude(image, whole, part, rng, kind < self.config.alone + self.config.behind)
            if scene is not None:
                return scene
        return None

    def _object(self, rng: np.random.Generator) -> tuple[RGB, Bool] | None:
        """Any object of any image, or None where the image drawn has none that is large enough."""
        pack = self.packs[int(rng.choice(len(self.packs), p=self.shares))]
        sample = pack[int(rng.integers(len(pack)))]
        ids, areas = ids_and_areas(sample.mask)
        ids = ids[areas >= _MIN_PIXELS]
        if not len(ids):
            return None
        image, mask = np.asarray(sample.image), sample.mask == int(rng.choice(ids))
        return (image[:, ::-1], mask[:, ::-1]) if rng.random() < 0.5 else (image, mask)


def faulty(mask: Bool, rng: np.random.Generator) -> Bool:
    """A mask as a segmenter would give it: smoother, a little larger or smaller, and uneven along its edge."""
    size = float(np.sqrt(mask.sum()))
    blurred = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), max(0.3, float(rng.uniform(0, 0.04)) * size))
    cells = tuple(max(2, round(8 * side / max(size, 8))) for side in mask.shape)
    noise = cv2.resize(rng.standard_normal(cells).astype(np.float32), mask.shape[::-1], interpolation=cv2.INTER_LINEAR)
    shift = float(rng.uniform(-0.2, 0.2)) + float(rng.uniform(0, 0.25)) * noise
    return np.asarray(blurred > np.clip(0.5 + shift, 0.05, 0.95), bool)


def compressed(image: RGB, rng: np.random.Generator) -> RGB:
    """Half of the images as JPEG of some quality, one in three blurred before: seams of pasting are not to be told."""
    if rng.random() < 1 / 3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), float(rng.uniform(0.4, 1.5))), np.uint8)
    if rng.random() < 0.5:
        return image
    _, code = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(30, 95))])
    return np.asarray(cv2.imdecode(code, cv2.IMREAD_COLOR), np.uint8)
