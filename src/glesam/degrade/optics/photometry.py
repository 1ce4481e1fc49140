"""Light and its encoding: uint8 and float, sRGB and linear light, luminance, transmission."""

from __future__ import annotations

from functools import cache

import numpy as np
from numpy.typing import NDArray

_LEVELS = 65536
_STRIP = 2**20
# Rec. 709 luminance weights of linear RGB (ITU-R BT.709-6, item 3.2).
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], dtype=np.float32)


def to_float(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 to float32 in 0..1."""
    values: NDArray[np.float32] = image.astype(np.float32) / np.float32(255)
    return values


def to_uint8(values: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Real numbers in 0..1 (others are clipped) to the nearest of 256 levels."""
    levels = np.empty(values.shape, np.uint8)
    # Some rows at a time: three copies of a large image in float would be the most memory of a whole degradation.
    rows = max(1, _STRIP // max(1, values[:1].size))
    for top in range(0, len(values), rows):
        part = np.clip(values[top : top + rows], 0.0, 1.0) * 255.0
        levels[top : top + rows] = np.rint(part, out=part)
    return levels


def srgb_to_linear(encoded: NDArray[np.floating]) -> NDArray[np.floating]:
    """Transfer function of sRGB, display to light (IEC 61966-2-1), on values in 0..1."""
    return np.where(encoded <= 0.04045, encoded / 12.92, ((encoded + 0.055) / 1.055) ** 2.4)


def linear_to_srgb(light: NDArray[np.floating]) -> NDArray[np.floating]:
    """Transfer function of sRGB, light to display (IEC 61966-2-1), on values in 0..1."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def decode(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """uint8 sRGB to linear light, float32 in 0..1, by table."""
    return _decoding()[image]


def encode(light: NDArray[np.floating]) -> NDArray[np.uint8]:
    """Linear light (clipped to 0..1) to uint8 sRGB, by a table fine enough to invert `decode` on all 256 levels."""
    return _encoding()[light_levels(light)]


def light_levels(light: NDArray[np.floating]) -> NDArray[np.uint16]:
    """Linear light (clipped to 0..1) as one of 65,536 even levels: the index of a tone table."""
    levels: NDArray[np.uint16] = (np.clip(light, 0.0, 1.0) * (_LEVELS - 1) + 0.5).astype(np.uint16)
    return levels


def veil(
    image: NDArray[np.floating], transmission: NDArray[np.floating], airlight: NDArray[np.floating]
) -> NDArray[np.floating]:
    """Koschmieder's law: `I = J t + A (1 - t)`.

    Args:
        image: (H, W, 3) scene J.
        transmission: (H, W, 1) or (H, W, 3) share t of the scene's light that arrives.
        airlight: (3,) colour A of the scattered light.
    """
    veiled: NDArray[np.floating] = image - airlight
    for operation, other in ((np.multiply, transmission), (np.add, airlight)):
        veiled = operation(veiled, other, out=_in_place(veiled, other))
    return veiled


def _in_place(values: NDArray[np.floating], other: NDArray[np.floating]) -> NDArray[np.floating] | None:
    """Where the result of an operation on both may go: into the first, unless the other makes it larger or finer."""
    fits = np.broadcast_shapes(values.shape, other.shape) == values.shape
    return values if fits and np.result_type(values, other) == values.dtype else None


@cache
def _decoding() -> NDArray[np.float32]:
    """The 256 linear values of the sRGB levels."""
    return srgb_to_linear(np.arange(256) / 255.0).astype(np.float32)


@cache
def _encoding() -> NDArray[np.uint8]:
    """The sRGB level of each of 65,536 linear values."""
    return to_uint8(linear_to_srgb(np.arange(_LEVELS) / (_LEVELS - 1)))
