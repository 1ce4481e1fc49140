"""The order of pixels in which an upscaled map keeps the pixels of a cell together.

Cells come row by row; within a cell its four quarters, each row by row, and within a quarter its pixels.
"""

from __future__ import annotations

from torch import Tensor


def nest(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """Reorder `(M, C, f * h, f * w)`, f a power of two and `size` = `(h, w)`, to `(M, f * f * h * w, C)`."""
    count, channels, height, _ = maps.shape
    levels = (height // size[0]).bit_length() - 1
    # Channels last from the start: pixels then move as whole vectors, there and in the gradient, which is three times
    # as fast as moving their channels one by one.
    split = maps.permute(0, 2, 3, 1).reshape(count, size[0], *(2,) * levels, size[1], *(2,) * levels, channels)
    rows, columns = range(1, 2 + levels), range(2 + levels, 3 + 2 * levels)
    order = [axis for pair in zip(rows, columns, strict=True) for axis in pair]
    return split.permute(0, *order, 3 + 2 * levels).reshape(count, -1, channels)


def unnest(pixels: Tensor, size: tuple[int, int], levels: int = 2) -> Tensor:
    """Bring `(M, K, 4**levels * h * w)` pixels back to images, `(M, K, 2**levels * h, 2**levels * w)`."""
    split = pixels.reshape(*pixels.shape[:2], *size, *(2,) * (2 * levels))
    rows, columns = range(2, 4 + 2 * levels, 2), range(3, 4 + 2 * levels, 2)
    factor = 2**levels
    return split.permute(0, 1, *rows, *columns).reshape(*pixels.shape[:2], factor * size[0], factor * size[1])
