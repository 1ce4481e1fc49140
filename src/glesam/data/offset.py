"""How far the masks of a data set lie off their images, and images moved under their masks.

Tools that shrink masks by the pixel under a corner, and the drawing of polygons, leave masks up to a pixel right of and
below their images. A model learns such a shift, or blurs its edges where views are flipped.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.seeds import generator
from glesam.data.base import SegmentationDataset
from glesam.images.pixels import RGB

REACH = 4
"""Pixels on each side of a mask's edge in which the image's edge is looked for."""

_LEAST_EDGE = 30
"""Pixels of edge along each axis that an image needs to count."""

_LEAST_IMAGES = 5
_RESAMPLES = 100


@dataclass(frozen=True)
class MaskOffset:
    """Where masks lie, relative to their images, in pixels of these.

    Attributes:
        x, y: how far right and below; negative for left and above.
        error_x, error_y: standard errors, by a bootstrap over images.
        images: how many counted.
    """

    x: float
    y: float
    error_x: float
    error_y: float
    images: int


def mask_offset(dataset: SegmentationDataset, images: int = 120, seed: int = 0) -> MaskOffset | None:
    """Measure how far masks lie off their images: the grey gradient across the masks' edges peaks at the true edge.

    Args:
        dataset: images with masks; those that are spread evenly over it are read.
        images: how many.
        seed: of the bootstrap.

    Returns:
        The offset; None where fewer than five images have enough edges, or their gradients have no peak near them.
    """
    chosen = np.linspace(0, len(dataset) - 1, min(images, len(dataset))).astype(int)
    found = [profile for index in chosen if (profile := _profiles(dataset, int(index))) is not None]
    if len(found) < _LEAST_IMAGES:
        return None
    rows, rng = np.stack(found), generator("mask offset", dataset.name, seed)
    places = _peaks(rows.mean(axis=0))
    if places is None:
        return None
    draws = (_peaks(rows[rng.integers(0, len(rows), len(rows))].mean(axis=0)) for _ in range(_RESAMPLES))
    errors = np.std([each for each in draws if each is not None], axis=0)
    x, y, error_x, error_y = (round(float(value), 3) for value in (*-places, *errors))
    return MaskOffset(x, y, error_x, error_y, len(rows))


def _profiles(dataset: SegmentationDataset, index: int) -> npt.NDArray[np.float64] | None:
    """Mean gradients `(2, 2 * REACH + 1)` across the edges of one image's masks, along x and y, each of mean 1."""
    sample = dataset[index]
    grey = cv2.cvtColor(np.ascontiguousarray(sample.image), cv2.COLOR_RGB2GRAY).astype(np.float64)
    rows = []
    for mask, values in ((sample.mask, grey), (sample.mask.T, grey.T)):
        slope, edges = np.abs(np.diff(values, axis=1)), mask[:, 1:] != mask[:, :-1]
        edges[:, : REACH + 1] = edges[:, -REACH - 1 :] = False
        ys, xs = np.nonzero(edges)
        if len(ys) < _LEAST_EDGE:
            return None
        means = np.array([slope[ys, xs + step].mean() for step in range(-REACH, REACH + 1)])
        rows.append(means / max(float(means.mean()), 1e-6))
    return np.stack(rows)


def _peaks(profiles: npt.NDArray[np.float64]) -> npt.NDArray[np.float64] | None:
    """Places of the peaks of two profiles, by a parabola through the highest value and its neighbours."""
    places = []
    for profile in profiles:
        top = int(profile.argmax())
        if not 0 < top < len(profile) - 1:
            return None
        (left, middle), (_, right) = pairwise(profile[top - 1 : top + 2])
        places.append(top - REACH + (left - right) / (2 * (left - 2 * middle + right)))
    return np.array(places)


def moved(image: RGB, x: float, y: float) -> RGB:
    """An image moved right by x and down by y pixels, by cubic interpolation; what comes in repeats the border.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        x: pixels.
        y: pixels.
    """
    matrix, size = np.array([[1, 0, x], [0, 1, y]], np.float64), (image.shape[1], image.shape[0])
    return np.asarray(
        cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE), np.uint8
    )
