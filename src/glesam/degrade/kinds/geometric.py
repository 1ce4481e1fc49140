"""The two kinds of RobustSeg that move pixels: elastic deformation and frosted glass. Their masks move along."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from glesam.degrade.draws import Draws
from glesam.degrade.kind import Moved
from glesam.degrade.optics.warping import grid, reflect, warp_image
from glesam.images.pixels import RGB


def elastic(image: RGB, draws: Draws, *, alpha: float, sigma: float, affine: float) -> Moved:
    """Elastic deformation after Simard, Steinkraus & Platt (ICDAR 2003, section 2), with a random affine map before it.

    Each pixel is displaced by white noise in -1..1, smoothed by a Gaussian of `sigma` and multiplied by `alpha`. The
    affine map moves three corners of the image's middle square by up to `affine` in x and y.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws.
        alpha: factor on the smoothed noise, in pixels.
        sigma: deviation of the Gaussian, in pixels.
        affine: largest shift of a corner, in pixels.
    """
    height, width = image.shape[:2]
    columns, rows = grid(height, width)
    matrix = _corner_shift(height, width, affine, draws)
    noise = draws.field("displacement").uniform(-1.0, 1.0, size=(height, width, 2)).astype(np.float32)
    field = cv2.GaussianBlur(noise, (0, 0), sigma) * np.float32(alpha)
    map_x = reflect(matrix[0, 0] * columns + matrix[0, 1] * rows + matrix[0, 2] + field[..., 0], width)
    map_y = reflect(matrix[1, 0] * columns + matrix[1, 1] * rows + matrix[1, 2] + field[..., 1], height)
    return Moved(warp_image(image, map_x, map_y), map_x, map_y)


def frosted_glass(image: RGB, draws: Draws, *, reach: float) -> Moved:
    """Frosted glass: every pixel shows one of its neighbours, drawn evenly from a square.

    The mask is taken through the very same draws: each of its pixels keeps the object of the pixel that is shown
    there. Edges of masks become as ragged as those of the image, which is what the image shows; who wants the
    object behind the glass instead keeps the mask from before.

    Args:
        image: (H, W, 3) uint8 RGB.
        draws: named draws.
        reach: half the side of the square, in whole pixels.
    """
    height, width = image.shape[:2]
    columns, rows = grid(height, width)
    shifts = draws.field("shifts").integers(-int(reach), int(reach) + 1, size=(2, height, width), dtype=np.int16)
    map_x = reflect(columns + shifts[0], width)
    map_y = reflect(rows + shifts[1], height)
    return Moved(image[map_y.astype(np.intp), map_x.astype(np.intp)], map_x, map_y)


def _corner_shift(height: int, width: int, largest: float, draws: Draws) -> NDArray[np.float32]:
    """Affine map (2, 3), output to input pixels, that moves three corners of a middle square by up to `largest`."""
    third = min(height, width) / 3.0
    x, y = width / 2.0, height / 2.0
    corners = np.array([[x + third, y + third], [x + third, y - third], [x - third, y - third]], dtype=np.float32)
    moves = [draws.uniform(f"corner_{corner}_{axis}", -largest, largest) for corner in range(3) for axis in "xy"]
    moved = corners + np.array(moves, dtype=np.float32).reshape(3, 2)
    matrix: NDArray[np.float32] = cv2.getAffineTransform(moved, corners).astype(np.float32)
    return matrix
