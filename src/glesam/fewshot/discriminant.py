"""Where an image looks like the marked objects: a linear discriminant on dense features, in closed form.

Fisher's discriminant (1936) between the cells inside the marks and all other cells of the reference images. It weighs
features by how much they tell the two apart, which a cosine to the mean feature (PerSAM, Matcher) does not; the ridge
stands for the few cells that there are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from glesam.common.arrays import Bool, Float
from glesam.fewshot.features import ImageFeatures

RIDGE = 1.0
"""Times the mean variance of a feature, added to every variance."""

_INSIDE, _OUTSIDE = 0.5, 0.05
"""Cells covered by more than the first share are the object's, by less than the second the surroundings'."""


@dataclass(frozen=True, eq=False)
class Discriminant:
    """A direction in feature space, scaled so that surroundings have mean 0 and objects mean 1.

    Attributes:
        weight: `(C,)` float32.
        bias: added to the product.
    """

    weight: Tensor
    bias: float

    def map(self, features: ImageFeatures) -> Float:
        """`(h, w)` float32 of an image's cells at stride 16: about 1 on things like the marked, about 0 elsewhere."""
        values = torch.einsum("c,chw->hw", self.weight, features.joined()) + self.bias
        return np.asarray(values.numpy(), np.float32)

    def of(self, vectors: Tensor) -> Tensor:
        """`(n,)` of vectors `(n, C)`: about 1 for those like the first group, about 0 for those like the second."""
        return vectors @ self.weight + self.bias


def fit_discriminant(
    images: Sequence[ImageFeatures], objects: Sequence[Bool], others: Sequence[Bool], ridge: float = RIDGE
) -> Discriminant:
    """Tell marked cells from all others.

    Args:
        images: features of the reference images.
        objects: `(H, W)` bool for each: all that is marked as wanted; may be empty in some.
        others: `(H, W)` bool for each: which pixels may serve as surroundings.
        ridge: see `RIDGE`.
    """
    inside, outside = [], []
    for features, marked, rest in zip(images, objects, others, strict=True):
        cells, share = features.joined().flatten(1).T, features.covered(marked).flatten()
        chosen = share > _INSIDE
        if marked.any() and not chosen.any():
            chosen[share.argmax()] = True  # smaller than half a cell
        inside.append(cells[chosen])
        outside.append(cells[(share < _OUTSIDE) & (features.covered(rest).flatten() > _INSIDE)])
    return fisher(torch.cat(inside), torch.cat(outside), ridge)


def fisher(inside: Tensor, outside: Tensor, ridge: float = RIDGE) -> Discriminant:
    """The discriminant of two groups of vectors, `(n, C)` each; an empty group outside counts as 0."""
    mean = inside.mean(dim=0)
    rest = outside.mean(dim=0) if len(outside) else torch.zeros_like(mean)
    centred = torch.cat([inside - mean, outside - rest])
    scatter = centred.T @ centred / len(centred)
    scatter += torch.eye(len(scatter)) * (ridge * scatter.diagonal().mean() + 1e-8)
    weight = torch.linalg.solve(scatter, mean - rest)
    high, low = float(mean @ weight), float(rest @ weight)
    span = max(high - low, 1e-8)
    return Discriminant(weight / span, -low / span)
