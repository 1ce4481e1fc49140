"""Clicks that hold: logits changed around clicks that the decoder did not follow, and nowhere else.

A click is an observation of the mask's logits. Where the logits disagree, a Gaussian process whose kernel knows place
and brightness carries the correction to the pixels around that look alike (the view of Zhou et al., "Interactive
Segmentation as Gaussian Process Classification", CVPR 2023, here on the decoder's finished logits): near clicks the
answer obeys, far from them it stays the decoder's. Clicks that were followed already hold the correction back.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Float
from glesam.prompts.prompts import Prompts

Grey: TypeAlias = npt.NDArray[np.uint8]
Whole: TypeAlias = npt.NDArray[np.int64]
Window: TypeAlias = tuple[slice, slice]


@dataclass(frozen=True)
class Clicks:
    """The clicks on one object.

    Attributes:
        pixels: `(K, 2)` int64 `(x, y)`.
        labels: `(K,)` int64, 1 foreground, 0 background.
        has_box: whether there was a box too: then it, and no click, says which parts belong to the object.
    """

    pixels: Whole
    labels: Whole
    has_box: bool = False

    @classmethod
    def of(cls, points: npt.ArrayLike, labels: npt.ArrayLike, has_box: bool = False) -> Clicks:
        """Clicks of `(K, 2)` points in pixels; those of other labels, such as padding, are left out."""
        spots, marks = np.asarray(points, np.float64).reshape(-1, 2), np.asarray(labels, np.int64).reshape(-1)
        real = np.isin(marks, (0, 1))
        return cls(np.floor(spots[real]).astype(np.int64), marks[real], has_box)

    def within(self, window: Window) -> Clicks:
        """The clicks in a window of rows and columns, in its pixels."""
        low = np.array([window[1].start, window[0].start])
        high = np.array([window[1].stop, window[0].stop])
        inside = ((self.pixels >= low) & (self.pixels < high)).all(axis=1)
        return Clicks(self.pixels[inside] - low, self.labels[inside], self.has_box)

    def scaled(self, factors: float | npt.NDArray[np.float64]) -> Clicks:
        """The clicks in an image that is so much larger; `factors` is one, or one each for x and y."""
        return Clicks(np.floor((self.pixels + 0.5) * factors).astype(np.int64), self.labels, self.has_box)

    def values(self, array: npt.NDArray[Any], label: int | None = None) -> npt.NDArray[Any]:
        """What an `(H, W)` array holds where the clicks are, or those of one label."""
        x, y = (self.pixels if label is None else self.pixels[self.labels == label]).T
        return np.asarray(array[y, x])


@dataclass(frozen=True)
class Reach:
    """How far a click's correction goes.

    Attributes:
        share: standard deviation of the kernel in pixels, as a share of the square root of the object's area.
        least: smallest standard deviation, in pixels.
        grey: standard deviation of the kernel in grey values of 0 to 1.
        margin: logit that a click asks for, positive or negative.
        jitter: added to the kernel's diagonal, so that clicks side by side can be solved for.
    """

    share: float = 0.25
    least: float = 3.0
    grey: float = 0.3
    margin: float = 1.0
    jitter: float = 1e-3


REACH = Reach()


def obey(logits: Float, grey: Grey, clicks: Clicks, area: int, reach: Reach = REACH) -> Float:
    """Change logits so that each click has its label.

    Args:
        logits: `(H, W)` float32, above 0 inside.
        grey: `(H, W)` uint8, the image at the same size.
        clicks: in pixels of this size.
        area: the object's pixels, at least; the reach of a correction grows with it.
        reach: bounds.

    Returns:
        `(H, W)` float32: the same array where every click holds already.
    """
    signs = np.where(clicks.labels == 1, 1.0, -1.0)
    found = signs * clicks.values(logits)
    if not len(found) or found.min() > 0:
        return logits
    wanted = np.where(found > 0, 0.0, (reach.margin - found) * signs)
    sigma = max(reach.least, reach.share * max(area, 1) ** 0.5)
    spots, values = clicks.pixels, clicks.values(grey).astype(np.float64) / 255
    gram = _kernel(spots[:, None] - spots[None], values[:, None] - values[None], sigma, reach.grey)
    weights = np.linalg.solve(gram + reach.jitter * np.eye(len(gram)), wanted)
    result: Float = logits.copy()
    for spot, value, weight in zip(spots.tolist(), values.tolist(), weights.tolist(), strict=True):
        _add(result, grey, spot, value, weight, sigma, reach)
    return result


def _kernel(offsets: Whole, values: npt.NDArray[np.float64], sigma: float, grey: float) -> npt.NDArray[np.float64]:
    """Squared exponential of place, `(..., 2)` pixels, times that of brightness, `(...)`."""
    place = (offsets.astype(np.float64) ** 2).sum(axis=-1) / (2 * sigma**2)
    return np.asarray(np.exp(-place - values**2 / (2 * grey**2)), np.float64)


def _add(logits: Float, grey: Grey, spot: list[int], value: float, weight: float, sigma: float, reach: Reach) -> None:
    """Add one click's weighted kernel, where it is more than nothing."""
    if not weight:
        return
    far = int(np.ceil(3 * sigma))
    x, y = spot
    window = slice(max(0, y - far), y + far + 1), slice(max(0, x - far), x + far + 1)
    ys = np.arange(window[0].start, min(window[0].stop, grey.shape[0]), dtype=np.float32) - y
    xs = np.arange(window[1].start, min(window[1].stop, grey.shape[1]), dtype=np.float32) - x
    place = np.exp(-(ys**2) / (2 * sigma**2))[:, None] * np.exp(-(xs**2) / (2 * sigma**2))[None]
    unlike = np.arange(256) / 255 - value
    alike = (weight * np.exp(-(unlike**2) / (2 * reach.grey**2))).astype(np.float32)
    logits[window] += place * cv2.LUT(grey[window], alike)


def clicks_of(prompts: Prompts) -> list[Clicks | None]:
    """The clicks of each of N objects, None where it has none."""
    if prompts.points is None or prompts.labels is None:
        return [None] * len(prompts)
    rows = zip(prompts.points, prompts.labels, prompts.has_box.tolist(), strict=True)
    made = [Clicks.of(points, labels, box) for points, labels, box in rows]
    return [clicks if len(clicks.labels) else None for clicks in made]
