"""Wide samples to 8 bits: 16 and 32 bits, signed and floating ones, whose range a file need not use in full.

A 12-bit camera's values in a 16-bit file, scaled over the full range, give an image that is nearly black. So the range
is chosen (`auto`), or given, and the choice is reported.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import STRIP
from glesam.errors import ConfigError, ImageError

Range = Literal["auto", "full"] | tuple[float, float]
"""How wide samples become 0 to 255: `auto`, over the type's `full` range, or from a low to a high value."""

_USES_ITS_RANGE = 16384
"""16-bit values from here on: the file uses its range. Below lie cameras of 10, 12 and 14 bits, stored as they are."""


class ImageWarning(UserWarning):
    """An image was read, but not all of it was used, or not as it stands in the file."""


@dataclass(frozen=True)
class Scale:
    """A range of samples that becomes 0 to 255.

    Attributes:
        low: value that becomes 0.
        high: value that becomes 255.
        chosen: whether the range was taken from the values, rather than from their type or from the caller.
    """

    low: float
    high: float
    chosen: bool


def parse_range(text: str) -> Range:
    """Read `auto`, `full`, or `LOW,HIGH`.

    Raises:
        ConfigError: it is none of these.
    """
    word = text.strip().lower()
    if word == "auto" or word == "full":
        return "auto" if word == "auto" else "full"
    try:
        low, high = (float(part) for part in word.split(","))
    except ValueError:
        raise ConfigError(f"expected a range auto, full or LOW,HIGH, got {text!r}; such as 0,4095") from None
    if not (np.isfinite([low, high]).all() and low < high):
        raise ConfigError(f"expected a range whose low value is below its high one, got {text!r}; such as 0,4095")
    return low, high


def scale_of(parts: Iterable[npt.NDArray[Any]], wish: Range, name: str, white: float | None = None) -> Scale:
    """Choose the range of an image's samples.

    Args:
        parts: all samples, of one numeric type, in parts of any shape; looked at one after the other.
        wish: what was asked for.
        name: what messages call the image.
        white: value of full white where the file says it (4095 for 12 bits); else that of the type.

    Raises:
        ImageError: no sample is a finite number.
    """
    if isinstance(wish, tuple):
        return Scale(*wish, chosen=False)
    low, high, dtype = _extent(parts, name)
    whole = dtype.kind in "ui"
    full = white if white is not None else float(np.iinfo(dtype).max) if whole else 1.0
    if wish == "full" or white is not None:
        return Scale(float(np.iinfo(dtype).min) if whole else 0.0, full, chosen=False)
    if whole and low >= 0 and _USES_ITS_RANGE <= high <= 65535:
        return Scale(0.0, 65535.0, chosen=False)
    if dtype == np.uint8:
        return Scale(0.0, 255.0, chosen=False)
    low = min(0.0, low)
    if high <= low:
        high = low + 1.0
    warnings.warn(
        f"{name}: {dtype} values from {low:g} to {high:g} are stretched to 0..255; give another range to choose",
        ImageWarning,
        stacklevel=2,
    )
    return Scale(low, high, chosen=True)


def to_bytes(values: npt.NDArray[Any], scale: Scale, inverted: bool = False) -> npt.NDArray[np.uint8]:
    """Scale samples of any shape to uint8, rounded; values outside the range are cut to its ends, NaN to its low."""
    flat, out = values.reshape(-1), np.empty(values.size, np.uint8)
    whole = values.dtype.kind in "ui" and scale.low == 0 and float(scale.high).is_integer() and scale.high < 2**31
    for start in range(0, flat.size, STRIP):
        part = flat[start : start + STRIP]
        if whole:
            high = int(scale.high)
            level = (np.clip(part.astype(np.int64), 0, high) * 255 + high // 2) // high
        else:
            plain = np.clip(np.nan_to_num(part.astype(np.float64), nan=scale.low), scale.low, scale.high)
            level = np.floor((plain - scale.low) / (scale.high - scale.low) * 255 + 0.5)
        out[start : start + STRIP] = level
    if inverted:
        np.subtract(255, out, out=out)
    return out.reshape(values.shape)


def _extent(parts: Iterable[npt.NDArray[Any]], name: str) -> tuple[float, float, np.dtype[Any]]:
    """Least and largest finite sample, and their type."""
    low, high, dtype = np.inf, -np.inf, np.dtype(np.uint8)
    for part in parts:
        dtype = part.dtype
        if dtype.kind == "f":
            part = part[np.isfinite(part)]
        if part.size:
            low, high = min(low, float(part.min())), max(high, float(part.max()))
    if low > high:
        raise ImageError(f"expected samples that are numbers in {name}, all are infinite or none; save the image again")
    return low, high, dtype
