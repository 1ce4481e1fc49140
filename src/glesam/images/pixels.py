"""From any Pillow mode or array layout to `(H, W, 3)` uint8 RGB: depth, palette, transparency, orientation.

Transparent images are laid on white: it is what browsers and viewers put behind them, so the model sees what the user
sees, and the colours that files hold under fully transparent pixels are arbitrary (often left-overs or black).
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from glesam.common.arrays import row_slices
from glesam.common.messages import one_line
from glesam.errors import ImageError
from glesam.images.ranges import ImageWarning, Range, Scale, scale_of, to_bytes

__all__ = ["RGB", "ImageWarning", "from_array", "from_pillow", "from_samples", "orientation", "strips", "upright"]

RGB = npt.NDArray[np.uint8]

_WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N", "F")
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS_PER_SAMPLE, _TIFF_PHOTOMETRIC, _TIFF_SAMPLE_FORMAT = 258, 262, 339
_STRIP_PIXELS = 1 << 20
"""Pixels converted at once, so that what a conversion needs beside source and result stays at some megabytes."""


def from_array(array: npt.NDArray[Any], name: str) -> RGB:
    """Bring an array to RGB.

    Args:
        array: uint8 of shape `(H, W)` grey, `(H, W, 1)` grey, `(H, W, 3)` RGB or `(H, W, 4)` RGBA.
        name: what messages call the image.

    Returns:
        `(H, W, 3)` uint8, contiguous and writable; the very array given when it already is all that.

    Raises:
        ImageError: another dtype or shape, or no pixels.
    """
    if array.dtype != np.uint8:
        raise ImageError(f"expected a uint8 array with values 0 to 255, got {array.dtype} for {name}; {_cure(array)}")
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        hint = "call .transpose(1, 2, 0)" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else "pass one image"
        raise ImageError(f"expected (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, got {array.shape} for {name}; {hint}")
    if array.size == 0:
        raise ImageError(f"expected an image with pixels, got shape {array.shape} for {name}; check how it was cut")
    if array.shape[2] == 4:
        return _on_white(array)
    rgb = array if array.shape[2] == 3 else np.repeat(array, 3, axis=2)
    return np.require(rgb, requirements=["C", "W"])


def from_pillow(image: Image.Image, name: str, wish: Range = "auto") -> RGB:
    """Bring a loaded Pillow image of any mode to `(H, W, 3)` uint8 RGB, turned as its EXIF orientation says.

    Raises:
        ImageError: a mode without a way to RGB.
    """
    return from_pillow_scaled(image, name, wish)[0]


def from_pillow_scaled(image: Image.Image, name: str, wish: Range = "auto") -> tuple[RGB, Scale | None]:
    """As `from_pillow`, with the range that wide samples were scaled from; None for 8 bits."""
    code = orientation(image, name)
    if image.mode not in _WIDE_MODES:
        return upright(_from_bytes(image, name), code), None
    tags = getattr(image, "tag_v2", {})
    white = 4095.0 if tags.get(_TIFF_BITS_PER_SAMPLE) == (12,) else None
    scale = scale_of((values for _, values in _wide_strips(image)), wish, name, white)
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    for top, values in _wide_strips(image):
        grey = to_bytes(values, scale, inverted=tags.get(_TIFF_PHOTOMETRIC) == 0)
        rgb[top : top + len(values)] = grey[..., None]
    return upright(rgb, code), scale


def _wide_strips(image: Image.Image) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Samples of a wide mode from top to bottom, `(h, W)` in the file's own type, each part with its first row.

    Pillow holds many types as int32: 16 bits of PGM, which it scales to 0 to 65535; signed 16 bits; and unsigned 32
    bits, which wrap round, and come back where they are converted.
    """
    dtype: type[np.generic] | None = None
    if image.mode == "I":
        tags = getattr(image, "tag_v2", {})
        stored = tags.get(_TIFF_SAMPLE_FORMAT, (1,)), tags.get(_TIFF_BITS_PER_SAMPLE)
        dtype = np.uint16 if image.format == "PPM" else _HELD_AS_INT32.get(stored)
    for top, strip in strips(image):
        values = np.asarray(strip)
        yield top, values if dtype is None else values.astype(dtype)


_HELD_AS_INT32: dict[Any, type[np.generic]] = {((1,), (32,)): np.uint32, ((2,), (16,)): np.int16}
"""Types by TIFF's sample format and bits."""


def from_samples(
    values: npt.NDArray[Any], name: str, wish: Range, alpha: str | None = None, inverted: bool = False
) -> tuple[RGB, Scale]:
    """Bring samples of any numeric type to RGB.

    Args:
        values: `(H, W, C)`: C of 1 grey, 3 RGB, or one more with alpha as the last.
        name: what messages call the image.
        wish: see `glesam.images.ranges`.
        alpha: "straight", "associated" (colours are multiplied by it already), or None for no alpha.
        inverted: whether 0 is white.

    Returns:
        `(H, W, 3)` uint8, and the range of the colours.
    """
    colours = values if alpha is None else values[..., :-1]
    scale = scale_of((colours[rows] for rows in row_slices(colours)), wish, name)
    most = float(np.iinfo(values.dtype).max) if values.dtype.kind in "ui" else 1.0
    rgb = np.empty((*values.shape[:2], 3), np.uint8)
    for strip in row_slices(colours, _STRIP_PIXELS):
        part = to_bytes(colours[strip], scale, inverted)  # one channel becomes three where it is put
        if alpha is not None:
            cover = to_bytes(values[strip, :, -1:], Scale(0.0, most, chosen=False))
            part = _covered(part, cover, alpha)
        rgb[strip] = part
    return rgb, scale


def orientation(image: Image.Image, name: str) -> int:
    """EXIF orientation 1 to 8; 1 (as stored) when absent, unknown or unreadable, the last with an `ImageWarning`."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception as error:  # Pillow's EXIF reader raises whatever the damaged bytes lead it to
        text = f"{name}: the EXIF data are damaged ({one_line(error)}), so the image is used as it is stored"
        warnings.warn(text, ImageWarning, stacklevel=2)
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def upright(rgb: RGB, code: int) -> RGB:
    """Undo an EXIF orientation (EXIF 2.32, tag 0x0112): 5 to 8 are stored on their side. Contiguous and writable."""
    if code >= 5:
        rgb = rgb.transpose(1, 0, 2)
    if code in (3, 4, 7, 8):
        rgb = rgb[::-1]
    if code in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    return np.require(rgb, requirements=["C", "W"])


def _from_bytes(image: Image.Image, name: str) -> RGB:
    """Convert modes of 8 bits or fewer a channel, strip by strip."""
    rgb = np.empty((image.height, image.width, 3), np.uint8)
    try:
        for top, strip in strips(image):
            rgb[top : top + strip.height] = _strip(strip)
    except (ValueError, KeyError, OSError) as error:
        raise ImageError(
            f"expected an image with a way to RGB, got mode {image.mode} in {name}; save as RGB"
        ) from error
    return rgb


def strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """Parts of an image from top to bottom, each with its first row."""
    rows = max(1, _STRIP_PIXELS // max(1, image.width))
    if rows >= image.height:
        yield 0, image
        return
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _strip(image: Image.Image) -> RGB:
    if image.has_transparency_data:
        straight = image.convert("LA") if image.mode == "La" else image  # Pillow has no way from La to RGBA
        return _on_white(np.asarray(straight.convert("RGBA")))
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB"))


def _covered(colours: RGB, cover: RGB, alpha: str) -> RGB:
    """Lay `(h, W, C)` colours with `(h, W, 1)` cover on white."""
    if alpha == "associated":
        whole: RGB = np.minimum(colours.astype(np.uint16) + (255 - cover), 255).astype(np.uint8)
        return whole
    rgb = np.broadcast_to(colours, (*cover.shape[:2], 3))
    return _on_white(np.concatenate([rgb, cover], axis=2))


def _on_white(rgba: npt.NDArray[np.uint8]) -> RGB:
    """Composite `(H, W, 4)` on white, rounded, some rows at a time."""
    out = np.empty((*rgba.shape[:2], 3), np.uint8)
    for rows in row_slices(rgba, 4 * _STRIP_PIXELS):
        part = rgba[rows]
        colour, alpha = part[..., :3].astype(np.uint16), part[..., 3:].astype(np.uint16)
        # At most 255 * 255 + 127, which uint16 holds.
        out[rows] = (colour * alpha + 255 * (255 - alpha) + 127) // 255
    return out


def _cure(array: npt.NDArray[Any]) -> str:
    """How to bring an array of another dtype to uint8."""
    if array.dtype == np.bool_:
        return "pass array.astype(np.uint8) * 255"
    if array.dtype == np.uint16:
        return "pass (array // 257).astype(np.uint8) if its range is 0 to 65535"
    return "scale it to 0..255 and pass array.round().astype(np.uint8)"
