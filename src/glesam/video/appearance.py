"""How an object looks and where the same look is found again: colour histogram and template search."""

from __future__ import annotations

import cv2
import numpy as np

from glesam.common.arrays import Bool, Float
from glesam.images.pixels import RGB

BINS = (12, 4, 4)
"""Bins of hue, saturation and value: colour decides, and grey objects still differ in brightness."""

SEARCH_SIDE = 256
"""Pixels of the longer side of the frame in which templates are searched: 2 ms a search at this size on one core."""

LEAST_TEMPLATE = 6
"""Pixels of a template's shorter side below which a match says nothing."""


def histogram(image: RGB, mask: Bool) -> Float:
    """Colours of the pixels inside a mask.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        mask: `(H, W)` bool.

    Returns:
        `(192,)` float32 that sums to 1; zeros for an empty mask.
    """
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV)
    counts = cv2.calcHist([hsv], [0, 1, 2], mask.astype(np.uint8), list(BINS), [0, 180, 0, 256, 0, 256])
    flat = np.asarray(counts, np.float32).ravel()
    return flat / max(float(flat.sum()), 1.0)


def similarity(one: Float, other: Float) -> float:
    """Intersection of two histograms (Swain and Ballard, "Color Indexing", 1991): 0 nothing in common, 1 equal."""
    return float(np.minimum(one, other).sum())


def search_scale(size: tuple[int, int]) -> float:
    """Factor that brings a frame `(H, W)` to the size in which templates are searched; at most 1."""
    return min(1.0, SEARCH_SIDE / max(size))


def shrink(image: RGB, scale: float) -> RGB:
    """A frame by a factor of at most 1."""
    if scale == 1.0:
        return image
    size = (max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale)))
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.uint8)


def crop(image: RGB, box: Float) -> RGB:
    """The pixels inside `(x0, y0, x1, y1)`, cut at the edges; may be empty. A copy: the frame is let go."""
    height, width = image.shape[:2]
    x0, y0 = max(0, int(np.floor(box[0]))), max(0, int(np.floor(box[1])))
    x1, y1 = min(width, int(np.ceil(box[2]))), min(height, int(np.ceil(box[3])))
    return np.array(image[y0 : max(y0, y1), x0 : max(x0, x1)])


def likely_place(image: RGB, colours: Float, size: tuple[int, int]) -> tuple[float, float]:
    """Where a window of a size holds most pixels of an object's colours, by histogram back-projection.

    Each pixel counts as the share of its colour in the object over that in the frame, at most 1 (Swain and Ballard,
    1991): colours that the ground has too count little. It does not matter how the object is turned.

    Args:
        image: `(H, W, 3)` uint8 RGB, the shrunken frame.
        colours: the object's `histogram`.
        size: `(w, h)` of the window.

    Returns:
        `(x, y)` of the window's middle.
    """
    ground = histogram(image, np.ones(image.shape[:2], bool))
    ratio = np.minimum(1.0, colours / np.maximum(ground, 1e-6)) * (colours > 0)
    hsv = cv2.cvtColor(image, cv2.COLOR_RGB2HSV).astype(np.int64)
    bins = [hsv[..., 0] * BINS[0] // 180, hsv[..., 1] * BINS[1] // 256, hsv[..., 2] * BINS[2] // 256]
    likely = np.asarray(ratio[(bins[0] * BINS[1] + bins[1]) * BINS[2] + bins[2]], np.float32)
    summed = cv2.boxFilter(likely, -1, size, borderType=cv2.BORDER_CONSTANT)
    _, _, _, (x, y) = cv2.minMaxLoc(summed)
    return float(x), float(y)


def find(image: RGB, template: RGB, window: Float | None = None) -> tuple[float, tuple[float, float]]:
    """Where a template fits best, by normalised cross-correlation of the colours' deviations.

    Args:
        image: `(H, W, 3)` uint8, the shrunken frame.
        template: `(h, w, 3)` uint8 at the same scale.
        window: `(x0, y0, x1, y1)` to search in; the whole frame when None.

    Returns:
        Correlation, -1 to 1, and the `(x, y)` of the template's top left corner; -1 where it does not fit in, or
        is of one colour.
    """
    origin = (0, 0)
    if window is not None:
        origin = (max(0, int(np.floor(window[0]))), max(0, int(np.floor(window[1]))))
        image = crop(image, window)
    height, width = template.shape[:2]
    if min(height, width) < LEAST_TEMPLATE or image.shape[0] < height or image.shape[1] < width:
        return -1.0, (0.0, 0.0)
    if not template.std(axis=(0, 1)).any():
        return -1.0, (0.0, 0.0)  # one colour correlates with nothing, and OpenCV calls it perfect everywhere
    response = np.nan_to_num(cv2.matchTemplate(image, template, cv2.TM_CCOEFF_NORMED), nan=-1.0, posinf=-1.0)
    _, best, _, (x, y) = cv2.minMaxLoc(response)
    return float(best), (float(x + origin[0]), float(y + origin[1]))
