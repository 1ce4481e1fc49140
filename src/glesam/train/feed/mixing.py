"""Mixed qualities: statistics of another image, or several degradations at once, for kinds that no table holds.

What a model learns from a fixed list of degradations it knows for that list. Mixing fills the room between and around
them: MixStyle (Zhou et al., ICLR 2021) takes means and deviations from another sample, AugMix (Hendrycks et al., ICLR
2020) averages several versions of one. Pixels keep their places in both.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Float
from glesam.images.pixels import RGB

_BANDS = 4
_MOST_GAIN = 4.0
"""The most that a band is strengthened or weakened: a flat image has bands of next to nothing."""


def mix_statistics(image: RGB, other: RGB, rng: np.random.Generator) -> RGB:
    """Move mean and deviation of each colour, in each band of sizes, toward those of another image.

    MixStyle's equations on the bands of a Laplacian pyramid (Burt & Adelson, IEEE Trans. Communications 1983) in place
    of feature maps: the coarsest band's mean and deviation make colour and contrast, the finer ones' deviations
    sharpness and grain. Each band has a share of its own, drawn from Beta(1/2, 1/2): mostly near 0 or 1.

    Args:
        image: `(H, W, 3)` uint8; stays as it is.
        other: `(h, w, 3)` uint8 image of any size and content.
        rng: draws the shares.

    Returns:
        `(H, W, 3)` uint8.
    """
    bands, aims = _pyramid(image), _pyramid(other)
    count = min(len(bands), len(aims))
    mixed = list(bands)
    for i, share in zip(range(-1, -count - 1, -1), rng.beta(0.5, 0.5, count), strict=True):
        mixed[i] = _moved(bands[i], aims[i], float(share), with_mean=i == -1)
    return _collapse(mixed)


def mix_versions(image: RGB, versions: Sequence[RGB], rng: np.random.Generator) -> RGB:
    """Average degraded versions of an image, and that with the image itself (AugMix, algorithm 1).

    Args:
        image: `(H, W, 3)` uint8, the clear image.
        versions: at least one degraded version of the same size.
        rng: draws the shares: of the versions from Dirichlet(1), of the clear image from Beta(1, 1).

    Returns:
        `(H, W, 3)` uint8.
    """
    weights = rng.dirichlet(np.ones(len(versions)))
    mean = np.zeros(image.shape, np.float32)
    for weight, version in zip(weights, versions, strict=True):
        mean += np.float32(weight) * version
    share = np.float32(rng.beta(1, 1))
    return _uint8(share * image + (1 - share) * mean)


def _moved(band: Float, aim: Float, share: float, with_mean: bool) -> Float:
    """A band with its deviation, and if wanted its mean, a share of the way to those of another."""
    mean, deviation = band.mean(axis=(0, 1)), band.std(axis=(0, 1))
    other_mean, other_deviation = aim.mean(axis=(0, 1)), aim.std(axis=(0, 1))
    wanted = (1 - share) * deviation + share * other_deviation
    gain = np.clip(wanted / np.maximum(deviation, 1e-3), 1 / _MOST_GAIN, _MOST_GAIN)
    centre = (1 - share) * mean + share * other_mean if with_mean else mean
    return np.asarray((band - mean) * gain + centre, np.float32)


def _pyramid(image: RGB) -> list[Float]:
    """Bands of an image, finest first, the last one what remains; fewer for images of a few pixels."""
    bands: list[Float] = []
    rest = np.asarray(image, np.float32)
    while len(bands) < _BANDS and min(rest.shape[:2]) >= 8:
        smaller = np.asarray(cv2.pyrDown(rest), np.float32)
        bands.append(np.asarray(rest - _enlarged(smaller, rest), np.float32))
        rest = smaller
    return [*bands, rest]


def _collapse(bands: Sequence[Float]) -> RGB:
    """The image of a pyramid."""
    image = bands[-1]
    for band in reversed(bands[:-1]):
        image = np.asarray(_enlarged(image, band) + band, np.float32)
    return _uint8(image)


def _enlarged(small: Float, like: Float) -> Float:
    return np.asarray(cv2.pyrUp(small, dstsize=(like.shape[1], like.shape[0])), np.float32)


def _uint8(image: npt.NDArray[np.floating]) -> RGB:
    return np.asarray(np.clip(np.rint(image), 0, 255), np.uint8)
