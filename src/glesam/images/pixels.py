"""From any Pillow mode or array layout to `(H, W, 3)` uint8 RGB: depth, palette, transparency, orientation.

Transparent pictures are laid on white: it is what browsers and viewers put behind them, so the model sees what the user
sees, and the colours that files hold under fully transparent pixels are arbitrary (often left-overs or black).
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from glesam.errors import ImageError

RGB = npt.NDArray[np.uint8]

_WIDE_MODES = ("I", "I;16", "I;16L", "I;16B", "I;16N")
_EXIF_ORIENTATION = 0x0112
_TIFF_BITS_PER_SAMPLE = 258


class ImageWarning(UserWarning):
    """A picture was read, but not all of it was used: further frames, unreadable EXIF data."""


def from_array(array: npt.NDArray[Any], name: str) -> RGB:
    """Bring an array to RGB.

    Args:
        array: uint8 of shape `(H, W)` grey, `(H, W, 1)` grey, `(H, W, 3)` RGB or `(H, W, 4)` RGBA.
        name: what messages call the picture.

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
        hint = "call .transpose(1, 2, 0)" if array.ndim == 3 and array.shape[0] in (1, 3, 4) else "pass one picture"
        raise ImageError(f"expected (H, W), (H, W, 3) RGB or (H, W, 4) RGBA, got {array.shape} for {name}; {hint}")
    if array.size == 0:
        raise ImageError(f"expected a picture with pixels, got shape {array.shape} for {name}; check how it was cut")
    if array.shape[2] == 4:
        return _on_white(array)
    rgb = array if array.shape[2] == 3 else np.repeat(array, 3, axis=2)
    return np.require(rgb, requirements=["C", "W"])


def from_pillow(image: Image.Image, name: str) -> RGB:
    """Bring a loaded Pillow picture of any mode to `(H, W, 3)` uint8 RGB, turned as its EXIF orientation says.

    Raises:
        ImageError: floating or 32-bit pixels, whose range nobody can know, or a mode without a way to RGB.
    """
    rgb = _from_wide(image, name) if image.mode in _WIDE_MODES else _from_bytes(image, name)
    return np.require(_upright(rgb, orientation(image, name)), requirements=["C", "W"])


def orientation(image: Image.Image, name: str) -> int:
    """EXIF orientation 1 to 8; 1 (as stored) when absent, unknown or unreadable, the last with an `ImageWarning`."""
    try:
        value = image.getexif().get(_EXIF_ORIENTATION, 1)
    except Exception as error:  # Pillow's EXIF reader raises whatever the damaged bytes lead it to
        text = f"{name}: the EXIF data are damaged ({type(error).__name__}), so the picture is used as it is stored"
        warnings.warn(text, ImageWarning, stacklevel=2)
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _upright(rgb: RGB, code: int) -> RGB:
    """Undo an EXIF orientation (EXIF 2.32, tag 0x0112): 5 to 8 are stored on their side."""
    if code >= 5:
        rgb = rgb.transpose(1, 0, 2)
    if code in (3, 4, 7, 8):
        rgb = rgb[::-1]
    if code in (2, 3, 6, 7):
        rgb = rgb[:, ::-1]
    return rgb


def _from_bytes(image: Image.Image, name: str) -> RGB:
    """Convert modes of 8 bits or fewer a channel."""
    if image.mode == "F":
        raise ImageError(
            f"expected 8 or 16 bits a channel, got floating pixels in {name}, whose range is unknown; save it as 8 bits"
        )
    try:
        if image.has_transparency_data:
            straight = image.convert("LA") if image.mode == "La" else image  # Pillow has no way from La to RGBA
            return _on_white(np.array(straight.convert("RGBA")))
        return np.array(image if image.mode == "RGB" else image.convert("RGB"))
    except (ValueError, KeyError, OSError) as error:
        raise ImageError(
            f"expected a picture with a way to RGB, got mode {image.mode} in {name}; save as RGB"
        ) from error


def _from_wide(image: Image.Image, name: str) -> RGB:
    """Scale 12- or 16-bit grey to 8 bits over its full range (rounded, not cut), so that white stays white."""
    values = np.asarray(image).astype(np.int64)
    if values.min() < 0 or values.max() > 65535:
        raise ImageError(
            f"expected 8 or 16 bits a channel, got 32-bit pixels in {name}, whose range is unknown; save it as 16 bits"
        )
    bits = getattr(image, "tag_v2", {}).get(_TIFF_BITS_PER_SAMPLE, (16,))
    white = 4095 if bits == (12,) else 65535
    grey = ((values * 255 + white // 2) // white).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=2)


def _on_white(rgba: npt.NDArray[np.uint8]) -> RGB:
    """Composite `(H, W, 4)` on white, rounded."""
    colour, alpha = rgba[..., :3].astype(np.uint16), rgba[..., 3:].astype(np.uint16)
    # At most 255 * 255 + 127, which uint16 holds.
    return ((colour * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)


def _cure(array: npt.NDArray[Any]) -> str:
    """How to bring an array of another dtype to uint8."""
    if array.dtype == np.bool_:
        return "pass array.astype(np.uint8) * 255"
    if array.dtype == np.uint16:
        return "pass (array // 257).astype(np.uint8) if its range is 0 to 65535"
    return "scale it to 0..255 and pass array.round().astype(np.uint8)"
