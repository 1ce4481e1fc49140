"""Point-spread functions with soft edges (disc, line) and their use on images."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

_Distance: TypeAlias = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]


def disc(radius: float) -> NDArray[np.float32]:
    """Kernel of an unsharp lens: an even disc, its edge pixels weighted by how far the disc reaches into them.

    Args:
        radius: in pixels, >= 0; below half a pixel nothing is spread.

    Returns:
        (2n + 1, 2n + 1) float32 that sums to 1.
    """
    return _normalised(np.hypot, radius, math.ceil(radius))


def line(length: float, angle: float, thickness: float = 1.0) -> NDArray[np.float32]:
    """Kernel of an even straight movement.

    Args:
        length: way in pixels, >= 1; 1 is no movement.
        angle: direction in radians, 0 along +x, counted towards +y (downwards).
        thickness: in pixels, >= 1.

    Returns:
        (2n + 1, 2n + 1) float32 that sums to 1.
    """
    half = (length - 1.0) / 2.0

    def distance(x: NDArray[np.float64], y: NDArray[np.float64]) -> NDArray[np.float64]:
        along = x * math.cos(angle) + y * math.sin(angle)
        across = y * math.cos(angle) - x * math.sin(angle)
        return np.hypot(np.maximum(np.abs(along) - half, 0.0), across)

    return _normalised(distance, thickness / 2.0, math.ceil(half + thickness / 2.0))


def spread(values: NDArray[np.float32], kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """Filter a plane or image with a kernel, mirrored at the border, same size and type."""
    filtered: NDArray[np.float32] = cv2.filter2D(values, -1, kernel, borderType=cv2.BORDER_REFLECT_101)
    return filtered


def _normalised(distance: _Distance, radius: float, reach: int) -> NDArray[np.float32]:
    """Coverage of each pixel by the shape within `radius` of zero distance, scaled to sum 1."""
    rows, columns = np.mgrid[-reach : reach + 1, -reach : reach + 1].astype(np.float64)
    coverage = np.clip(radius + 0.5 - distance(columns, rows), 0.0, 1.0)
    # A shape narrower than a pixel still holds its centre.
    coverage[reach, reach] = max(coverage[reach, reach], 1e-3)
    kernel: NDArray[np.float32] = (coverage / coverage.sum()).astype(np.float32)
    return kernel
