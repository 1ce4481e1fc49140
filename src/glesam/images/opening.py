"""Opening encoded images: which formats are known, the limit on pixels, and what is said of damaged files."""

from __future__ import annotations

import io
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, UnidentifiedImageError

from glesam.common.messages import one_line
from glesam.errors import ImageError

FORMATS = ("JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM", "JPEG2000", "AVIF", "HEIF")
"""Pillow's names of the formats that are tried. A closed list: others, such as EPS, start foreign programs."""

_KINDS = "JPEG, PNG, WebP, TIFF, BMP, GIF, PPM, JPEG 2000 or AVIF"
_HEIF_BRANDS = frozenset({b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"})
_BRANDS_END = 256
"""Bytes of a file in which its brands are looked for."""
_pillow_limit = threading.Lock()


@contextmanager
def opened(path: Path, name: str) -> Iterator[IO[bytes]]:
    """Open a file for reading; a pipe with a path, such as a shell's `<(...)`, is read whole.

    Raises:
        ImageError: it is missing, a folder, unreadable or empty.
    """
    try:
        stream = path.open("rb")
    except FileNotFoundError:
        raise ImageError(f"expected an image, found no file {name}; check the path") from None
    except IsADirectoryError:
        raise ImageError(f"expected an image, got the folder {name}; name a file in it") from None
    except (OSError, ValueError) as error:
        raise ImageError(f"expected a readable file, got {name} ({one_line(error)}); check path and rights") from error
    with stream:
        if not stream.seekable():
            yield filled(io.BytesIO(stream.read()), name)
            return
        yield filled(stream, name)


def identified(stream: IO[bytes], name: str) -> Image.Image:
    """Read the header of an image with one of `FORMATS`, under our own size limit instead of Pillow's.

    Raises:
        ImageError: it is none of them, or its header is damaged.
    """
    try:
        return open_known(stream)
    except UnidentifiedImageError:
        raise ImageError(
            f"expected an image ({_KINDS}), got {name}, which is none of them or damaged; convert it to JPEG or PNG"
        ) from None
    except Exception as error:  # Pillow's plugins raise whatever damaged bytes lead them to (struct.error, ...)
        raise damaged(name, error) from error


def check_size(width: int, height: int, most: int, name: str) -> None:
    """Refuse an image of no or of too many pixels, before they are decoded.

    Raises:
        ImageError: it has none, or more than `most`.
    """
    if width * height > most:
        raise ImageError(
            f"expected at most {most} pixels, got {width}x{height} in {name}; shrink it or raise max_pixels"
        )
    if width * height <= 0:
        raise ImageError(f"expected an image with pixels, got {width}x{height} in {name}; check how it was made")


def filled(stream: IO[bytes], name: str) -> IO[bytes]:
    """The stream at its start, unless there is nothing in it."""
    if stream.seek(0, io.SEEK_END) == 0:
        raise ImageError(f"expected an image, got no bytes from {name}: it is empty; save or send it again")
    stream.seek(0)
    return stream


def decode_cv2(content: bytes, flags: int) -> npt.NDArray[Any] | None:
    """Decode an image from memory by OpenCV, None where it cannot; it gets no name, since it cannot open all names."""
    import cv2

    try:
        return cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error:
        return None


def open_known(stream: IO[bytes]) -> Image.Image:
    """Read the header with one of `FORMATS`."""
    Image.init()
    known = [kind for kind in FORMATS if kind in Image.OPEN]
    with _own_limit():
        return Image.open(stream, formats=known)


def check_heif(stream: IO[bytes], name: str) -> None:
    """Register the reader of HEIC where the file is one; it is an extra.

    Raises:
        ImageError: the extra is not installed.
    """
    head = stream.read(_BRANDS_END)
    stream.seek(0)
    if head[4:8] != b"ftyp" or head[8:12] not in _HEIF_BRANDS:
        return
    end = min(len(head), int.from_bytes(head[:4], "big"))
    if b"avif" in (head[start : start + 4] for start in range(16, end, 4)):
        return  # AVIF under a general brand, which Pillow reads itself
    try:
        from pillow_heif import register_heif_opener
    except ImportError:
        raise ImageError(
            f"expected the extra for HEIC images, which {name} is; pip install 'glesam[heif]', or convert it to JPEG"
        ) from None
    register_heif_opener()


@contextmanager
def _own_limit() -> Iterator[None]:
    """Lift Pillow's bomb check while a header is read: it is global, and warns at sizes that cameras reach.

    Decoding starts only after the size was checked. The lock keeps threads from restoring each other's value.
    """
    with _pillow_limit:
        before = Image.MAX_IMAGE_PIXELS
        Image.MAX_IMAGE_PIXELS = None
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = before


def has_frames(image: Image.Image) -> bool:
    """Whether more than one frame follows; a file whose later frames are damaged still has its first."""
    try:
        return bool(getattr(image, "is_animated", False))
    except Exception:  # as in identified
        return True


def damaged(name: str, error: Exception) -> ImageError:
    """The error for a file that starts like an image and does not continue like one."""
    return ImageError(
        f"expected a whole image, got {name}, damaged or cut short ({one_line(error)}); fetch or save it again"
    )
