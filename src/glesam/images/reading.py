"""Reading pictures: a path, bytes, a Pillow picture or an array becomes `(H, W, 3)` uint8 RGB, as the user sees it.

EXIF orientation is applied, transparency is laid on white, 16 bits are scaled to 8 (see `glesam.images.pixels`).
Files of several frames or pages give the first, with an `ImageWarning`.
"""

from __future__ import annotations

import hashlib
import io
import os
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from glesam.errors import ImageError
from glesam.images.pixels import RGB, ImageWarning, from_array, from_pillow

MAX_PIXELS = 2**28
"""Default limit, 268 million pixels (16384 x 16384): above the largest cameras (200 million), 0.75 GiB as RGB.

A file of a few kilobytes can claim to be larger than any memory; the limit is checked before pixels are decoded.
"""

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF")
"""Pillow's names of the formats that are tried. A closed list: others, such as EPS, start foreign programs."""

ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | npt.NDArray[Any]
"""What `read` takes."""

_KINDS = "JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, JPEG 2000 or AVIF"
_pillow_limit = threading.Lock()


def read(source: ImageInput, max_pixels: int = MAX_PIXELS, *, name: str | None = None) -> RGB:
    """Read one picture.

    Args:
        source: path, encoded bytes, Pillow picture (its current frame), or uint8 array `(H, W)` grey, `(H, W, 3)` RGB
            or `(H, W, 4)` RGBA. OpenCV arrays are BGR: pass `array[..., ::-1]`.
        max_pixels: width times height above which an encoded picture is refused before it is decoded.
        name: what messages call the picture; the path when not given.

    Returns:
        `(H, W, 3)` uint8 RGB, contiguous and writable. A suitable array is passed through, not copied.

    Raises:
        ImageError: missing, empty, no picture, damaged, cut short, too large, or of unsuitable dtype or shape.
    """
    if isinstance(source, np.ndarray):
        return from_array(source, name or "the given array")
    if isinstance(source, Image.Image):
        given = getattr(source, "filename", "") or "the given Pillow picture"
        return _load(source, name or str(given), max_pixels)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _read_bytes(bytes(source), name or "the given bytes", max_pixels)
    if isinstance(source, (str, os.PathLike)):
        return _read_file(Path(source).expanduser(), name or str(source), max_pixels)
    kind = type(source).__name__
    raise ImageError(f"expected a path, bytes, a PIL.Image or a numpy array, got {kind}; convert it to one of these")


def content_hash(image: RGB) -> str:
    """Key of a picture's content: equal for equal shape and pixels, whatever file they came from.

    Args:
        image: `(H, W, 3)` uint8, or any array.

    Returns:
        32 hex digits (BLAKE2b of 128 bits over shape, dtype and bytes).
    """
    digest = hashlib.blake2b(f"{image.shape}{image.dtype.str}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _read_file(path: Path, name: str, max_pixels: int) -> RGB:
    """Read a file, or a pipe with a path, such as a shell's `<(...)`."""
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise ImageError(f"expected a picture, found no file {name}; check the path") from None
    except IsADirectoryError:
        raise ImageError(f"expected a picture, got the folder {name}; name a file in it") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"expected a readable file, got {name} ({_reason(error)}); check path and rights") from error
    with stream:
        if not stream.seekable():
            return _read_bytes(stream.read(), name, max_pixels)
        if stream.seek(0, io.SEEK_END) == 0:
            raise _empty(name)
        stream.seek(0)
        return _decode(stream, name, max_pixels)


def _read_bytes(data: bytes, name: str, max_pixels: int) -> RGB:
    """Decode encoded bytes."""
    if not data:
        raise _empty(name)
    return _decode(io.BytesIO(data), name, max_pixels)


def _decode(stream: IO[bytes], name: str, max_pixels: int) -> RGB:
    """Open a stream, check the claimed size, decode the first frame."""
    try:
        image = _open(stream)
    except UnidentifiedImageError:
        raise ImageError(
            f"expected a picture ({_KINDS}), got {name}, which is none of them or damaged; convert it to JPEG or PNG"
        ) from None
    except Exception as error:  # Pillow's plugins raise whatever damaged bytes lead them to (struct.error, ...)
        raise _damaged(name, error) from error
    with image:
        rgb = _load(image, name, max_pixels)
        # Phones append previews and gain maps to photos (MPO); nobody would call such a photo animated.
        if image.format != "MPO" and _has_frames(image):
            text = f"{name}: {image.format} with several frames or pages, only the first is used"
            warnings.warn(text, ImageWarning, stacklevel=4)
    return rgb


def _load(image: Image.Image, name: str, max_pixels: int) -> RGB:
    """Check the size and decode the current frame."""
    width, height = image.size
    if width * height > max_pixels:
        raise ImageError(
            f"expected at most {max_pixels} pixels, got {width}x{height} in {name}; shrink it or raise max_pixels"
        )
    if width * height == 0:
        raise ImageError(f"expected a picture with pixels, got {width}x{height} in {name}; check how it was made")
    try:
        image.load()
    except Exception as error:  # as in _decode
        raise _damaged(name, error) from error
    return from_pillow(image, name)


def _open(stream: IO[bytes]) -> Image.Image:
    """Read the header with one of `FORMATS`, under our own size limit instead of Pillow's."""
    Image.init()
    known = [kind for kind in FORMATS if kind in Image.OPEN]
    with _own_limit():
        return Image.open(stream, formats=known)


@contextmanager
def _own_limit() -> Iterator[None]:
    """Lift Pillow's bomb check while a header is read: it is global, and warns at sizes that cameras reach.

    Decoding starts only after `_load` has checked the size. The lock keeps threads from restoring each other's value.
    """
    with _pillow_limit:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def _has_frames(image: Image.Image) -> bool:
    """Whether more than one frame follows; a file whose later frames are damaged still has its first."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # as in _decode
        return True


def _empty(name: str) -> ImageError:
    """The error for no bytes at all."""
    return ImageError(f"expected a picture, got no bytes from {name}: it is empty; save or send it again")


def _damaged(name: str, error: Exception) -> ImageError:
    """The error for a file that starts like a picture and does not go on like one."""
    return ImageError(
        f"expected a whole picture, got {name}, damaged or cut short ({_reason(error)}); fetch or save it again"
    )


def _reason(error: Exception) -> str:
    """The text of a foreign error, on one line."""
    text = getattr(error, "strerror", None) or str(error)
    return " ".join(text.split()) or type(error).__name__
