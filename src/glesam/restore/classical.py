"""Restorers without weights: median, non-local means, deblocking, gamma and CLAHE, all by OpenCV."""

from __future__ import annotations

import math
from collections.abc import Callable

import cv2
import numpy as np

from glesam.errors import ConfigError
from glesam.images.pixels import RGB
from glesam.restore.base import Restorer, Setting

NOISE_FLOOR = 2.0
"""Standard deviation in grey values below which an image counts as free of noise."""

_BLOCK, _SHARE, _SHRINKAGE = 8, 0.1, 0.8
"""Side of the blocks of the noise estimate, the share of them that it trusts, and what these make of pure noise."""

DARK_MEAN, WANTED_MEAN = 0.35, 0.45
"""Mean luma, 0 to 1: below the first an image is dark, and is lifted to the second."""

SHIFTS = tuple((y, x) for y in range(0, 8, 2) for x in range(0, 8, 2))
"""Places of the 8 x 8 grid that deblocking averages over."""


class Classical(Restorer):
    """A restorer that a function and its settings describe.

    Args:
        name: as in the registry.
        function: image and settings to image.
        settings: keyword arguments of the function.
    """

    def __init__(self, name: str, function: Callable[..., RGB], **settings: Setting) -> None:
        super().__init__(name, settings)
        self._function = function

    def apply(self, image: RGB, name: str | None) -> RGB:
        """Call the function."""
        return self._function(image, **self.settings)


def open_median(argument: str) -> Restorer:
    """`median[:SIZE]`: the median of SIZE x SIZE pixels, 3 by default; against salt and pepper.

    Raises:
        ConfigError: SIZE is no odd number of 3 to 15.
    """
    size = _number("median", argument, 3, 3, 15)
    if size % 2 != 1:
        raise ConfigError(f"expected an odd size after median:, got {argument!r}; such as median:3")
    return Classical("median", median, size=int(size))


def open_nlm(argument: str) -> Restorer:
    """`nlm[:STRENGTH]`: non-local means; the strength follows the noise of each image unless it is given.

    Raises:
        ConfigError: STRENGTH is no number of 0.1 to 100.
    """
    return Classical("nlm", non_local_means, strength=_number("nlm", argument, 10, 0.1, 100) if argument else None)


def open_deblock(argument: str) -> Restorer:
    """`deblock[:QUALITY]`: JPEG deblocking for files of about this quality, 30 by default.

    Raises:
        ConfigError: QUALITY is no number of 1 to 95.
    """
    return Classical("deblock", deblock, quality=int(_number("deblock", argument, 30, 1, 95)))


def open_gamma(argument: str) -> Restorer:
    """`gamma[:EXPONENT]`: brightening; without an exponent dark images only, each to the same mean.

    Raises:
        ConfigError: EXPONENT is no number of 0.1 to 10.
    """
    return Classical("gamma", gamma, exponent=_number("gamma", argument, 1, 0.1, 10) if argument else None)


def open_clahe(argument: str) -> Restorer:
    """`clahe[:LIMIT]`: contrast by histogram equalisation within tiles, limited to LIMIT, 2 by default.

    Raises:
        ConfigError: LIMIT is no number of 0.1 to 40.
    """
    return Classical("clahe", clahe, limit=_number("clahe", argument, 2, 0.1, 40))


def median(image: RGB, size: int) -> RGB:
    """The median of `size` x `size` pixels for each channel of `(H, W, 3)`."""
    return np.asarray(cv2.medianBlur(image, size), np.uint8)


def non_local_means(image: RGB, strength: float | None) -> RGB:
    """Non-local means on luma and colour (Buades et al., IPOL 2011), patches of 7 in windows of 21 pixels.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        strength: OpenCV's `h`, in grey values; None takes the noise's standard deviation, and leaves an image without
            noise as it is.
    """
    if strength is None:
        strength = noise_level(image)
        if strength < NOISE_FLOOR:
            return image
    bgr = cv2.cvtColor(image, cv2.COLOR_RGB2BGR)  # the function turns BGR into Lab itself
    clean = cv2.fastNlMeansDenoisingColored(bgr, None, strength, strength, 7, 21)
    return np.asarray(cv2.cvtColor(clean, cv2.COLOR_BGR2RGB), np.uint8)


def noise_level(image: RGB) -> float:
    """Standard deviation of the noise in grey values: Immerkaer's Laplacian (CVIU 1996) in the smoothest blocks.

    Over the whole image texture counts as noise: clear images of 400 pixels would have 4 grey values of it.
    """
    if min(image.shape[:2]) < _BLOCK + 2:
        return 0.0
    grey = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    kernel = np.array([[1, -2, 1], [-2, 4, -2], [1, -2, 1]], np.float32)
    response = np.abs(cv2.filter2D(grey, -1, kernel)[1:-1, 1:-1])
    rows, columns = (length // _BLOCK for length in response.shape)
    blocks = response[: rows * _BLOCK, : columns * _BLOCK].reshape(rows, _BLOCK, columns, _BLOCK).mean(axis=(1, 3))
    return float(np.quantile(blocks, _SHARE)) * math.sqrt(math.pi / 2) / 6 / _SHRINKAGE


def deblock(image: RGB, quality: int) -> RGB:
    """Compress again on shifted grids and average (Nosratinia, J. VLSI Signal Processing 27, 2001).

    On each shifted grid the old blocks' edges lie inside of blocks, where quantisation removes them.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        quality: JPEG quality, 1 to 95, near that of the file.
    """
    height, width = image.shape[:2]
    padded = cv2.copyMakeBorder(image, 8, 8, 8, 8, cv2.BORDER_REPLICATE)
    total = np.zeros(image.shape, np.float32)
    for y, x in SHIFTS:
        # Colour at full resolution: halving it would blur it once more.
        flags = [cv2.IMWRITE_JPEG_QUALITY, quality, cv2.IMWRITE_JPEG_SAMPLING_FACTOR, 0x111111]
        _, data = cv2.imencode(".jpg", np.ascontiguousarray(padded[y:, x:, ::-1]), flags)
        again = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR))[..., ::-1]
        total += again[8 - y : 8 - y + height, 8 - x : 8 - x + width]
    return np.rint(total / len(SHIFTS)).astype(np.uint8)


def gamma(image: RGB, exponent: float | None) -> RGB:
    """Raise values, scaled to 0..1, to a power.

    Args:
        image: `(H, W, 3)` uint8 RGB.
        exponent: below 1 brightens; None takes what brings the mean luma of a dark image near `WANTED_MEAN`.
    """
    if exponent is None:
        mean = float(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).mean()) / 255
        if mean >= DARK_MEAN:
            return image
        exponent = math.log(WANTED_MEAN) / math.log(max(mean, 1 / 255))
    table = np.rint(255 * (np.arange(256) / 255) ** exponent).astype(np.uint8)
    return table[image]


def clahe(image: RGB, limit: float) -> RGB:
    """Contrast-limited adaptive histogram equalisation (Zuiderveld, Graphics Gems IV, 1994) of Lab's lightness."""
    lab = cv2.cvtColor(image, cv2.COLOR_RGB2LAB)
    lab[..., 0] = cv2.createCLAHE(limit, (8, 8)).apply(lab[..., 0])
    return np.asarray(cv2.cvtColor(lab, cv2.COLOR_LAB2RGB), np.uint8)


def _number(name: str, argument: str, default: float, low: float, high: float) -> float:
    """Read the number after a restorer's name."""
    try:
        value = float(argument) if argument else default
    except ValueError:
        value = math.nan
    if not low <= value <= high:
        raise ConfigError(f"expected a number of {low:g} to {high:g} after {name}:, got {argument!r}; or {name} alone")
    return value
