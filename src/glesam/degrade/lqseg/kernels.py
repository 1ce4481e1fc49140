"""Blur kernels of the two-order degradation, their random choice, and filtering with them.

Kernels are `(size, size)` float64, sum to one, and have their centre at `size // 2`. With `q` the squared
Mahalanobis distance from the centre: Gaussian `exp(-q / 2)`, generalised Gaussian `exp(-q^beta / 2)` (Liu et al.,
arXiv 1907.07352), plateau `1 / (1 + q^beta)`, sinc the ideal circular low-pass filter. Which of them, and with what
parameters, is that of Real-ESRGAN (arXiv 2107.10833, section 3.1) as GleSAM uses it.
"""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.special import j1

from glesam.degrade.draws import Draws
from glesam.degrade.lqseg.config import KERNEL_SIZE, KERNEL_TYPES, BlurConfig, Interval, SharpenConfig

Kernel: TypeAlias = NDArray[np.float64]
"""`(size, size)` float64 that sums to one."""

Floats: TypeAlias = NDArray[np.float32]
"""`(H, W, 3)` float32 RGB, 0 black and 1 white."""

# Sinc kernels of fewer pixels than this get no cutoff below pi/3: they could not hold its lobes.
_SMALL_SINC = 13
# Largest difference between a kernel and a product of column and row that passes as one: far below float32's 6e-8.
_SEPARABLE = 1e-12


def gaussian(size: int, sigma_x: float, sigma_y: float | None = None, theta: float = 0.0) -> Kernel:
    """Gaussian kernel.

    Args:
        size: side in pixels, odd.
        sigma_x: standard deviation along the first axis, in pixels.
        sigma_y: along the second; the first when not given.
        theta: angle from the x axis to the first axis, in radians, towards larger y.
    """
    return _normalised(np.exp(-0.5 * _distance(size, sigma_x, sigma_y, theta)))


def generalised_gaussian(
    size: int, beta: float, sigma_x: float, sigma_y: float | None = None, theta: float = 0.0
) -> Kernel:
    """Generalised Gaussian kernel; `beta` 1 is the Gaussian, more is flatter with steeper flanks."""
    return _normalised(np.exp(-0.5 * _distance(size, sigma_x, sigma_y, theta) ** beta))


def plateau(size: int, beta: float, sigma_x: float, sigma_y: float | None = None, theta: float = 0.0) -> Kernel:
    """Plateau-shaped kernel; the larger `beta`, the flatter its top."""
    return _normalised(1.0 / (1.0 + _distance(size, sigma_x, sigma_y, theta) ** beta))


def sinc(size: int, cutoff: float) -> Kernel:
    """Circular low-pass kernel: `cutoff J1(cutoff r) / (2 pi r)`, which rings as sharpened and recoded images do.

    Args:
        size: side in pixels, odd.
        cutoff: angular frequency in radians per pixel, 0 to pi.
    """
    x, y = _grid(size)
    radius = np.hypot(x, y)
    centre = size // 2
    radius[centre, centre] = 1.0
    kernel = cutoff * j1(cutoff * radius) / (2.0 * math.pi * radius)
    kernel[centre, centre] = cutoff**2 / (4.0 * math.pi)
    return _normalised(kernel)


def padded(kernel: Kernel, size: int = KERNEL_SIZE) -> Kernel:
    """Zeros around a kernel, to `size` pixels a side."""
    return np.pad(kernel, (size - kernel.shape[0]) // 2)


def draw_kernel(draws: Draws, name: str, config: BlurConfig) -> Kernel:
    """Draw one blur kernel as `config` says; every draw is named `<name>.<what>`."""
    size = draws.choice(f"{name}.size", config.sizes)
    if draws.flag(f"{name}.sinc", config.sinc_probability):
        return _draw_sinc(draws, name, size, math.pi / 3 if size < _SMALL_SINC else math.pi / 5)
    shape = draws.choice(f"{name}.type", KERNEL_TYPES, config.type_weights)
    sigma_x = draws.uniform(f"{name}.sigma_x", *config.sigma)
    sigma_y, theta = sigma_x, 0.0
    if shape.endswith("aniso"):
        sigma_y = draws.uniform(f"{name}.sigma_y", *config.sigma)
        theta = draws.uniform(f"{name}.theta", -math.pi, math.pi)
    if shape.startswith("generalised"):
        beta = _draw_beta(draws, name, config.generalised_beta)
        return generalised_gaussian(size, beta, sigma_x, sigma_y, theta)
    if shape.startswith("plateau"):
        return plateau(size, _draw_beta(draws, name, config.plateau_beta), sigma_x, sigma_y, theta)
    return gaussian(size, sigma_x, sigma_y, theta)


def draw_final_sinc(draws: Draws, name: str, probability: float, sizes: tuple[int, ...]) -> Kernel | None:
    """Draw the sinc kernel that ends the pipeline; None, which leaves the image as it is, in the other cases."""
    if not draws.flag(f"{name}.applied", probability):
        return None
    return _draw_sinc(draws, name, draws.choice(f"{name}.size", sizes), math.pi / 3)


def blur(image: Floats, kernel: Kernel) -> Floats:
    """Correlate each channel with a kernel; the border is mirrored without its outermost pixel.

    The kernel is not padded first: zeros change nothing but the time, up to tenfold. A kernel that is the product of
    a column and a row, as round Gaussians are, runs as two passes, to the same end up to the rounding of float32.
    """
    border = cv2.BORDER_REFLECT_101
    centre = kernel.shape[0] // 2
    row, column = kernel[centre], kernel[:, centre] / kernel[centre, centre]
    if np.abs(np.outer(column, row) - kernel).max() < _SEPARABLE:
        return _floats(cv2.sepFilter2D(image, -1, row, column, borderType=border))
    return _floats(cv2.filter2D(image, -1, kernel, borderType=border))


def unsharp_mask(image: Floats, config: SharpenConfig) -> Floats:
    """Sharpen where the image differs from its blurred self by more than a threshold, with a soft transition.

    Args:
        image: `(H, W, 3)` float32 in [0, 1].
        config: window, weight and threshold.
    """
    window = config.radius + (1 - config.radius % 2)
    residual = image - _floats(cv2.GaussianBlur(image, (window, window), 0))
    # In place where it can be: these are the largest moments of a whole degradation.
    edges = np.abs(residual)
    edges *= 255.0
    edges[...] = edges > config.threshold
    softness = _floats(cv2.GaussianBlur(edges, (window, window), 0))
    del edges
    residual *= config.weight
    residual += image
    sharp = np.clip(residual, 0.0, 1.0, out=residual)
    sharp -= image
    sharp *= softness
    sharp += image
    return sharp


def _draw_sinc(draws: Draws, name: str, size: int, lowest: float) -> Kernel:
    """Draw the cutoff of a sinc kernel."""
    return sinc(size, draws.uniform(f"{name}.cutoff", lowest, math.pi))


def _draw_beta(draws: Draws, name: str, ends: Interval) -> float:
    """Draw a shape parameter: below and above 1 with equal chance, evenly within each part.

    A range that begins at 1, as the plateau's, hence gives exactly 1 half of the time; so do the published ones.
    """
    low, high = ends
    middle = min(max(1.0, low), high)
    if draws.flag(f"{name}.beta_low", 0.5):
        return draws.uniform(f"{name}.beta", low, middle)
    return draws.uniform(f"{name}.beta", middle, high)


def _distance(size: int, sigma_x: float, sigma_y: float | None, theta: float) -> Kernel:
    """Squared Mahalanobis distance of each pixel from the centre."""
    x, y = _grid(size)
    along = math.cos(theta) * x + math.sin(theta) * y
    across = math.cos(theta) * y - math.sin(theta) * x
    squared = (along / sigma_x) ** 2 + (across / (sigma_x if sigma_y is None else sigma_y)) ** 2
    return np.asarray(squared, dtype=np.float64)


def _grid(size: int) -> tuple[Kernel, Kernel]:
    """Columns and rows of a `(size, size)` grid, counted from its centre."""
    steps = np.arange(size, dtype=np.float64) - size // 2
    x, y = np.meshgrid(steps, steps)
    return x, y


def _normalised(kernel: Kernel) -> Kernel:
    """Scale to a sum of one."""
    return np.asarray(kernel / kernel.sum(), dtype=np.float64)


def _floats(array: Any) -> Floats:
    """Name OpenCV's result by its type."""
    return np.asarray(array, dtype=np.float32)
