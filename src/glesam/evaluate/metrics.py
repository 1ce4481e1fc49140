"""Agreement of two masks: IoU, Dice, pixel accuracy and boundary IoU.

All take bool arrays `(H, W)` and give a float in [0, 1]. What a ratio 0 / 0 means is decided as follows:

============  ====================  ===================
metric        both masks empty      one mask empty
============  ====================  ===================
IoU           0 (GleSAM protocol)   0
Dice          0 (GleSAM protocol)   0
accuracy      1 (all pixels agree)  share of empty agreement
boundary IoU  0 (as IoU)            0
============  ====================  ===================

GleSAM's protocol counts an image without an object as 0. Its code leaves boundary IoU of two empty masks undefined
(NaN), which would spoil every mean; here it follows IoU. The benchmark never asks for empty objects, so the choice
shows only for callers of these functions.
"""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np

from glesam.common.arrays import Bool
from glesam.common.boxes import pixel_box
from glesam.errors import ConfigError, DataError


class Scores(NamedTuple):
    """All four metrics of one prediction."""

    iou: float
    dice: float
    pixel_accuracy: float
    boundary_iou: float


def iou(prediction: Bool, truth: Bool) -> float:
    """Intersection over union (Jaccard index) of two `(H, W)` bool masks; 0 when both are empty.

    Raises:
        DataError: a mask is not bool and two-dimensional, or the sizes differ.
    """
    _check(prediction, truth)
    return _ratio(_count(prediction & truth), _count(prediction | truth))


def dice(prediction: Bool, truth: Bool) -> float:
    """Dice coefficient `2 |A & B| / (|A| + |B|)` of two `(H, W)` bool masks; 0 when both are empty.

    Raises:
        DataError: a mask is not bool and two-dimensional, or the sizes differ.
    """
    _check(prediction, truth)
    total = _count(prediction) + _count(truth)
    return _ratio(2 * _count(prediction & truth), total)


def pixel_accuracy(prediction: Bool, truth: Bool) -> float:
    """Share of pixels on which two `(H, W)` bool masks agree; 1 when both are empty.

    Raises:
        DataError: a mask is not bool and two-dimensional, or the sizes differ.
    """
    _check(prediction, truth)
    return _ratio(_count(prediction == truth), prediction.size)


def boundary_iou(prediction: Bool, truth: Bool, dilation_ratio: float = 0.02) -> float:
    """IoU of the masks' inner boundary bands (Cheng et al., CVPR 2021); 0 when both masks are empty.

    A mask's band holds its pixels within `d` pixels (chessboard distance) of a pixel outside, where what lies beyond
    the image counts as outside, and `d = max(1, round(dilation_ratio * diagonal))`.

    Args:
        prediction: `(H, W)` bool.
        truth: `(H, W)` bool.
        dilation_ratio: width of the band as a share of the image's diagonal.

    Raises:
        DataError: a mask is not bool and two-dimensional, or the sizes differ.
        ConfigError: `dilation_ratio` is not above 0.
    """
    _check(prediction, truth)
    if not dilation_ratio > 0:
        raise ConfigError(f"expected a dilation ratio above 0, got {dilation_ratio}; the usual value is 0.02")
    width = max(1, round(dilation_ratio * float(np.hypot(*truth.shape))))
    window = _bounding_window(prediction, truth)
    bands = [_inner_band(mask[window], width) for mask in (prediction, truth)]
    return _ratio(_count(bands[0] & bands[1]), _count(bands[0] | bands[1]))


def measure(prediction: Bool, truth: Bool) -> Scores:
    """All four metrics of an `(H, W)` bool prediction against the `(H, W)` bool truth.

    Raises:
        DataError: a mask is not bool and two-dimensional, or the sizes differ.
    """
    return Scores(
        iou(prediction, truth),
        dice(prediction, truth),
        pixel_accuracy(prediction, truth),
        boundary_iou(prediction, truth),
    )


def _check(prediction: Bool, truth: Bool) -> None:
    """Refuse what would broadcast or count wrongly without a word."""
    for mask in (prediction, truth):
        if mask.dtype != np.bool_ or mask.ndim != 2 or mask.size == 0:
            raise DataError(
                f"expected a mask of type bool and shape (H, W), got {mask.dtype} {mask.shape}; compare with 0 first"
            )
    if prediction.shape != truth.shape:
        raise DataError(f"expected two masks of one size, got {prediction.shape} and {truth.shape}; resize one of them")


def _count(mask: Bool) -> int:
    """Number of true pixels."""
    return int(np.count_nonzero(mask))


def _ratio(part: int, whole: int) -> float:
    """`part / whole`, and 0 for 0 / 0."""
    return float(part / whole) if whole else 0.0


def _bounding_window(prediction: Bool, truth: Bool) -> tuple[slice, slice]:
    """Rows and columns that hold every pixel of either mask; an empty window when there is none."""
    x0, y0, x1, y1 = pixel_box(prediction | truth) or (0, 0, 0, 0)
    return slice(y0, y1), slice(x0, x1)


def _inner_band(mask: Bool, width: int) -> Bool:
    """Pixels of a cropped mask within `width` pixels of its outside.

    One ring of zeros is enough: erosion ignores what lies beyond the array, and the ring reaches `width` pixels in.
    """
    if mask.size == 0:
        return mask
    framed = np.pad(mask, 1).view(np.uint8)
    side = 2 * width + 1
    core = cv2.erode(framed, np.ones((side, side), np.uint8))[1:-1, 1:-1]
    return np.asarray(mask & (core == 0), bool)
