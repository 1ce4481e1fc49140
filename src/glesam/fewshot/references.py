"""What was marked: reference images with their objects, and how much a candidate looks like one of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.common.arrays import Bool, Float
from glesam.common.boxes import pixel_box
from glesam.errors import PromptError
from glesam.fewshot.discriminant import Discriminant, fisher, fit_discriminant
from glesam.fewshot.features import Backbone, ImageFeatures, close_features
from glesam.images.pixels import RGB

DEFAULT_THRESHOLD = 0.5
"""Likeness from which on a candidate counts as the same kind, where references are too few to choose it by: as near to
the wanted objects as to everything else that the references show."""

_STEEP = 4.0
"""Likeness is the logistic function of so many times the discriminant's distance from the middle of both groups."""


@dataclass(frozen=True, eq=False)
class Reference:
    """One image with marked objects.

    All objects of the kind should be marked: what is not counts as something else.

    Attributes:
        image: `(H, W, 3)` uint8 RGB.
        features: of the image.
        masks: `(n, H, W)` bool, the marked objects, none of them empty.
        is_negative: they show what is NOT wanted, though it may look alike.
        looks: `(n, D)` float32 of unit length, see `looks_of`.
        alike: `(m, D)`, the same of masks that the decoder made of marked objects.
        others: `(k, D)`, the same of masks that it made of anything else in the image.
    """

    image: RGB
    features: ImageFeatures
    masks: Bool
    is_negative: bool
    looks: Tensor
    alike: Tensor | None = None
    others: Tensor | None = None

    @classmethod
    def of(cls, backbone: Backbone, image: RGB, features: ImageFeatures, masks: Bool, negative: bool) -> Reference:
        """Look at the marked objects.

        Raises:
            PromptError: masks of another size than the image, or one without a pixel.
        """
        check_marks(image, masks)
        return cls(image, features, masks, negative, looks_of(backbone, image, features, list(masks)))

    @property
    def sizes(self) -> list[tuple[float, float]]:
        """`(width, height)` of each object, as shares of the longer side of the image."""
        longer = max(self.image.shape[:2])
        boxes = np.array([pixel_box(mask) for mask in self.masks], np.int64).tolist()
        return [((x1 - x0) / longer, (y1 - y0) / longer) for x0, y0, x1, y1 in boxes]


def check_marks(image: RGB, masks: Bool, named: str = "the reference image") -> None:
    """Compare marks with the image that they are of; `named` is what messages call it.

    Raises:
        PromptError: masks of another size than the image, or one without a pixel.
    """
    if masks.ndim != 3 or masks.shape[1:] != image.shape[:2]:
        (height, width), got = image.shape[:2], masks.shape
        raise PromptError(f"expected masks (n, {height}, {width}) for {named}, got {got}; resize them")
    if not len(masks) or not masks.any(axis=(1, 2)).all():
        raise PromptError(f"expected a marked object in each mask for {named}, got none; paint the object above 0")


def check_likeness(threshold: float) -> None:
    """Refuse what is no likeness.

    Raises:
        PromptError: not from 0 to 1.
    """
    if not 0 <= threshold <= 1:
        raise PromptError(f"expected a threshold from 0 to 1, got {threshold}; the default is chosen by itself")


def looks_of(backbone: Backbone, image: RGB, features: ImageFeatures, masks: Sequence[Bool]) -> Tensor:
    """How objects look: in their image (stride 16), and cut out from near (strides 16 and 32).

    Returns:
        `(n, D)` float32 of unit length; the product of two is the mean of the three cosines.
    """
    near = close_features(backbone, image, masks)
    inside = torch.stack([features.pooled(mask)[0] for mask in masks])
    return F.normalize(torch.cat([near, inside], dim=1), dim=1)


@dataclass(frozen=True, eq=False)
class References:
    """All that was marked.

    Attributes:
        items: at least one of them positive.
        threshold: likeness from which on a candidate counts as found.

    Raises:
        PromptError: no positive reference.
    """

    items: tuple[Reference, ...]
    threshold: float = DEFAULT_THRESHOLD

    def __post_init__(self) -> None:
        if all(item.is_negative for item in self.items):
            raise PromptError("expected at least one example of what is wanted, got none; mark one with --like")

    def __len__(self) -> int:
        """Number of reference images."""
        return len(self.items)

    @property
    def positives(self) -> tuple[Reference, ...]:
        """References of what is wanted."""
        return tuple(item for item in self.items if not item.is_negative)

    def without(self, index: int) -> References:
        """All references but one positive, by its place among the positives."""
        left_out = self.positives[index]
        return replace(self, items=tuple(item for item in self.items if item is not left_out))

    @cached_property
    def discriminant(self) -> Discriminant:
        """Tells cells of wanted objects from all other cells of the references."""
        unions = [np.asarray(item.masks.any(axis=0), bool) for item in self.items]
        wanted = [
            np.zeros_like(union) if item.is_negative else union for item, union in zip(self.items, unions, strict=True)
        ]
        # Of an image with unwanted things only these are known; the wanted may be in it too.
        others = [union if item.is_negative else ~union for item, union in zip(self.items, unions, strict=True)]
        return fit_discriminant([item.features for item in self.items], wanted, others)

    def map(self, features: ImageFeatures) -> Float:
        """`(h, w)` likeness of an image's cells: about 1 on things like the wanted, about 0 elsewhere."""
        return self.discriminant.map(features)

    def sizes(self, cells: tuple[int, int]) -> list[tuple[float, float]]:
        """`(width, height)` of the wanted objects in cells of an image with so many rows and columns."""
        longer = max(cells)
        return [(width * longer, height * longer) for item in self.positives for width, height in item.sizes]

    @cached_property
    def verifier(self) -> Discriminant:
        """Tells looks of wanted objects from those of everything else that the references show."""
        inside = [part for item in self.positives for part in (item.looks, item.alike) if part is not None]
        outside = [item.others for item in self.items if item.others is not None]
        outside += [item.looks for item in self.items if item.is_negative]
        return fisher(torch.cat(inside), torch.cat(outside) if outside else inside[0][:0])

    def promise(self, inside: Tensor) -> Float:
        """How much candidates promise by what they look like in their image alone, before they are looked at from near.

        The mean and the largest cosine to wanted objects, less half of the largest to anything else in the references.

        Args:
            inside: `(n, C)`, see `ImageFeatures.inside`.
        """
        near = (_inside_of(torch.cat([item.looks for item in self.positives]), inside) @ inside.T).T
        promised = (near.amax(dim=1) + near.mean(dim=1)) / 2
        others = [item.others for item in self.items if item.others is not None and len(item.others)]
        others += [item.looks for item in self.items if item.is_negative]
        if others:
            promised = promised - 0.5 * (inside @ _inside_of(torch.cat(others), inside).T).amax(dim=1)
        return np.asarray(promised.numpy(), np.float32)

    def likeness(self, looks: Tensor) -> npt.NDArray[np.float32]:
        """Likeness of `(n, D)` looks to the wanted objects, 0 to 1; 0 where an unwanted one is nearer than a wanted."""
        values = torch.sigmoid(_STEEP * (self.verifier.of(looks) - 0.5))
        unwanted = [item.looks for item in self.items if item.is_negative]
        if unwanted:
            wanted = (looks @ torch.cat([item.looks for item in self.positives]).T).amax(dim=1)
            values = torch.where((looks @ torch.cat(unwanted).T).amax(dim=1) > wanted, torch.zeros_like(values), values)
        return np.asarray(values.numpy(), np.float32)


def _inside_of(looks: Tensor, inside: Tensor) -> Tensor:
    """The part of looks that was seen in the image, of unit length; see `looks_of`."""
    return F.normalize(looks[:, -inside.shape[1] :], dim=1)


def best_threshold(scores: Sequence[float], is_true: Sequence[bool], objects: int) -> float | None:
    """The threshold of highest F1 on candidates whose truth is known; the middle of the gap that it lies in.

    Args:
        scores: of the candidates.
        is_true: whether each is one of the objects.
        objects: number of objects, found or not.

    Returns:
        The threshold, or None where no candidate is true.
    """
    order = np.argsort(-np.asarray(scores, float), kind="stable")
    values, truth = np.asarray(scores, float)[order], np.asarray(is_true, bool)[order]
    if not truth.any():
        return None
    f1 = 2 * np.cumsum(truth) / (np.arange(1, len(truth) + 1) + objects)
    # Equal scores stand or fall together.
    f1[:-1][values[:-1] == values[1:]] = -1
    last = int(f1.argmax())
    below = values[last + 1] if last + 1 < len(values) else values[last] - 0.05
    return float((values[last] + below) / 2)
