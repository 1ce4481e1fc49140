"""Reading images: a path, bytes, a Pillow image or an array becomes `(H, W, 3)` uint8 RGB, as the user sees it.

EXIF orientation is applied, transparency is laid on white, 16 bits are scaled to 8 (see `glesam.images.pixels` and
`glesam.images.ranges`). Files of several frames or pages give the first, with an `ImageWarning`.
"""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image

from glesam.common.messages import shown
from glesam.errors import ConfigError, ImageError
from glesam.images import tiff
from glesam.images.opening import (
    check_heif,
    check_size,
    damaged,
    decode_cv2,
    filled,
    has_frames,
    identified,
    open_known,
    opened,
)
from glesam.images.pixels import (
    RGB,
    ImageWarning,
    from_array,
    from_pillow_scaled,
    from_samples,
    orientation,
    strips,
    upright,
)
from glesam.images.ranges import Range, Scale, parse_range

MAX_PIXELS = 2**28
"""Default limit, 268 million pixels (16384 x 16384): above the largest cameras (200 million), 0.75 GiB as RGB.

A file of a few kilobytes can claim to be larger than any memory; the limit is checked before pixels are decoded.
"""

ImageInput = str | os.PathLike[str] | bytes | bytearray | memoryview | Image.Image | npt.NDArray[Any]
"""What `read` takes."""

_JPEG_END = b"\xff\xd9"
_SAMPLE_BYTES = 6
"""Bytes of samples for each pixel of the limit: what RGB of 16 bits needs. Files of more bands get fewer pixels."""
_PNG_SAMPLE_BYTES = 5
"""As `_SAMPLE_BYTES`, where OpenCV decodes and holds the samples twice meanwhile."""


@dataclass(frozen=True)
class ReadOptions:
    """How images are read.

    Attributes:
        max_pixels: width times height above which an encoded image is refused before it is decoded.
        values: range of wide samples that becomes 0 to 255; see `glesam.images.ranges`.
        bands: those that become red, green and blue, from 1, of all that a TIFF has, of the three of another image;
            None for the first three.
    """

    max_pixels: int = MAX_PIXELS
    values: Range = "auto"
    bands: tuple[int, int, int] | None = None

    @classmethod
    def parse(cls, values: str | None = None, bands: str | None = None) -> ReadOptions:
        """Options from a command's texts: `auto`, `full` or `LOW,HIGH`; `R,G,B`.

        Raises:
            ConfigError: one of them is malformed.
        """
        options = cls() if values is None else cls(values=parse_range(values))
        if bands is None:
            return options
        numbers = [int(part) if part.strip().isdecimal() else 0 for part in bands.split(",")]
        if len(numbers) != 3 or min(numbers) < 1:
            raise ConfigError(f"expected three numbers of bands from 1, got {bands!r}; such as 4,3,2")
        return replace(options, bands=(numbers[0], numbers[1], numbers[2]))


@dataclass(frozen=True)
class ReadImage:
    """An image, and what was decided about its samples.

    Attributes:
        pixels: `(H, W, 3)` uint8 RGB.
        facts: `range` (low and high value that became 0 and 255) where samples were wide, `bands` where there were
            more than four; as JSON holds it.
    """

    pixels: RGB
    facts: dict[str, Any]


def read(source: ImageInput, max_pixels: int = MAX_PIXELS, *, name: str | None = None) -> RGB:
    """Read one image.

    Args:
        source: path, encoded bytes, Pillow image (its current frame), or uint8 array `(H, W)` grey, `(H, W, 3)` RGB
            or `(H, W, 4)` RGBA. OpenCV arrays are BGR: pass `array[..., ::-1]`.
        max_pixels: width times height above which an encoded image is refused before it is decoded.
        name: what messages call the image; the path when not given.

    Returns:
        `(H, W, 3)` uint8 RGB, contiguous and writable. A suitable array is passed through, not copied.

    Raises:
        ImageError: missing, empty, no image, damaged, cut short, too large, or of unsuitable dtype or shape.
    """
    return read_with(source, ReadOptions(max_pixels), name=name).pixels


def read_with(source: ImageInput, options: ReadOptions, *, name: str | None = None) -> ReadImage:
    """Read one image as `read` does, with options, and report what was decided about its samples.

    Raises:
        ImageError: as `read`; or a band that is not there.
    """
    if isinstance(source, np.ndarray):
        return ReadImage(from_array(source, name or "the given array"), {})
    if isinstance(source, Image.Image):
        given = getattr(source, "filename", "") or "the given Pillow image"
        return _load(source, name or shown(given), options)
    if isinstance(source, (bytes, bytearray, memoryview)):
        return _read_bytes(bytes(source), name or "the given bytes", options)
    if isinstance(source, (str, os.PathLike)):
        return _read_file(Path(source).expanduser(), shown(name or source), options)
    kind = type(source).__name__
    raise ImageError(f"expected a path, bytes, a PIL.Image or a numpy array, got {kind}; convert it to one of these")


def content_hash(image: RGB) -> str:
    """Key of an image's content: equal for equal shape and pixels, whatever file they came from.

    Args:
        image: `(H, W, 3)` uint8, or any array.

    Returns:
        32 hex digits (BLAKE2b of 128 bits over shape, dtype and bytes).
    """
    digest = hashlib.blake2b(f"{image.shape}{image.dtype.str}".encode(), digest_size=16)
    digest.update(np.ascontiguousarray(image).data)
    return digest.hexdigest()


def _read_file(path: Path, name: str, options: ReadOptions) -> ReadImage:
    with opened(path, name) as stream:
        return _decode(stream, name, options)


def _read_bytes(data: bytes, name: str, options: ReadOptions) -> ReadImage:
    """Decode encoded bytes."""
    return _decode(filled(io.BytesIO(data), name), name, options)


def _decode(stream: IO[bytes], name: str, options: ReadOptions) -> ReadImage:
    """Choose the decoder: ours for what Pillow reads wrongly or not at all, else Pillow."""
    check_heif(stream, name)
    layout = tiff.layout_of(stream)
    if layout is not None and (not layout.is_plain or _are_own(layout, options.bands)):
        return _decode_tiff(stream, layout, name, options)
    stream.seek(0)
    if _is_wide_png(stream.read(32)):
        return _chosen(_decode_wide_png(stream, name, options), options, name)
    stream.seek(0)
    with identified(stream, name) as image:
        check_size(image.width, image.height, options.max_pixels, name)  # before `_with_end` decodes anything
        try:
            found = _load(image, name, options)
        except ImageError:
            whole = _with_end(stream) if image.format == "JPEG" else None
            if whole is None:
                raise
            return _load(identified(whole, name), name, options)
        # Phones append previews and gain maps to images (MPO); nobody would call such an image animated.
        if image.format != "MPO" and has_frames(image):
            _tell_of_frames(name, image.format)
    return _chosen(found, options, name)


def _tell_of_frames(name: str, kind: str | None) -> None:
    """Warn that a file holds more than what is read."""
    text = f"{name}: {kind} with several frames or pages, only the first is used"
    warnings.warn(text, ImageWarning, stacklevel=6)


def _chosen(found: ReadImage, options: ReadOptions, name: str) -> ReadImage:
    """The three channels of an image in the order that was asked for.

    Raises:
        ImageError: a band that is not there.
    """
    if options.bands is None:
        return found
    if max(options.bands) > 3:
        raise ImageError(f"expected bands of 1 to 3 for {name}, got {','.join(map(str, options.bands))}; choose others")
    pixels = np.ascontiguousarray(found.pixels[..., [band - 1 for band in options.bands]])
    return ReadImage(pixels, {**found.facts, "bands": list(options.bands)})


def _load(image: Image.Image, name: str, options: ReadOptions) -> ReadImage:
    """Check the size and decode the current frame."""
    check_size(image.width, image.height, options.max_pixels, name)
    try:
        image.load()
    except Exception as error:  # as in identified
        raise damaged(name, error) from error
    pixels, scale = from_pillow_scaled(image, name, options.values)
    return ReadImage(pixels, _told(scale))


def _decode_tiff(stream: IO[bytes], layout: tiff.TiffLayout, name: str, options: ReadOptions) -> ReadImage:
    """Decode a TIFF band by band."""
    check_size(layout.width, layout.height, options.max_pixels, name)
    chosen, alpha = _bands(layout, options, name)
    held = layout.bands if not layout.planar else len(chosen)
    _check_samples(layout.width * layout.height * held * (max(layout.bits) // 8 or 1), _SAMPLE_BYTES, options, name)
    values = tiff.read_bands(stream, layout, chosen, name)
    wide = values.dtype != np.uint8
    wish = options.values if wide else "full"
    pixels, scale = from_samples(values, name, wish, alpha, inverted=layout.photometric == 0)
    if layout.more:
        _tell_of_frames(name, "TIFF")
    facts = _told(scale) if wide else {}
    if layout.bands > 4 or options.bands is not None:
        facts["bands"] = [band + 1 for band in chosen[:3]]
    return ReadImage(upright(pixels, _tiff_orientation(layout)), facts)


def _are_own(layout: tiff.TiffLayout, bands: tuple[int, int, int] | None) -> bool:
    """Whether bands were chosen that are others than the colours that Pillow makes of them."""
    return bands is not None and layout.bands > 3 and (layout.has_bands or max(bands) > 3)


def _check_samples(needed: int, each: int, options: ReadOptions, name: str) -> None:
    """Refuse an image whose samples take more than `each` bytes for each pixel of the limit."""
    most = each * options.max_pixels
    if needed > most:
        raise ImageError(
            f"expected at most {most} bytes of samples, got {needed} in {name}; cut or shrink it, or save 8 bits"
        )


def _bands(layout: tiff.TiffLayout, options: ReadOptions, name: str) -> tuple[list[int], str | None]:
    """Numbers of the bands to use, from 0, and what the last of them is, where it is alpha."""
    if options.bands is not None:
        if max(options.bands) > layout.bands:
            raise ImageError(
                f"expected bands of 1 to {layout.bands} for {name}, got {','.join(map(str, options.bands))}; choose "
                "others"
            )
        return [band - 1 for band in options.bands], None
    colours = layout.bands - (layout.alpha is not None)
    if colours > 3:
        text = f"{name}: {layout.bands} bands, the first three are used as red, green and blue; or choose by number"
        warnings.warn(text, ImageWarning, stacklevel=6)
    used = list(range(3 if colours >= 3 else 1))
    return (used, None) if layout.alpha is None else ([*used, layout.bands - 1], layout.alpha)


def _tiff_orientation(layout: tiff.TiffLayout) -> int:
    """The orientation that a TIFF's directory says (the same numbers as EXIF's)."""
    code = layout.directory.get(274, 1)
    return code if isinstance(code, int) and 1 <= code <= 8 else 1


def _is_wide_png(head: bytes) -> bool:
    """Whether a file is a PNG of 16 bits in colour or with alpha, of which Pillow keeps the upper byte only."""
    return head[:8] == b"\x89PNG\r\n\x1a\n" and len(head) >= 26 and head[24] == 16 and head[25] in (2, 4, 6)


def _decode_wide_png(stream: IO[bytes], name: str, options: ReadOptions) -> ReadImage:
    """Decode a PNG of 16 bits a channel by OpenCV, which keeps them."""
    import cv2

    has_exif = _has_chunk(stream, b"eXIf")
    stream.seek(0)
    with identified(stream, name) as image:
        check_size(image.width, image.height, options.max_pixels, name)
        _check_samples(2 * image.width * image.height * len(image.getbands()), _PNG_SAMPLE_BYTES, options, name)
        try:
            image.verify()  # checks every chunk, where OpenCV fills what is missing
        except Exception as error:  # as in identified
            raise damaged(name, error) from error
    stream.seek(0)
    code = orientation(identified(stream, name), name) if has_exif else 1
    stream.seek(0)
    values = decode_cv2(stream.read(), cv2.IMREAD_UNCHANGED)
    if values is None or values.ndim != 3 or values.dtype != np.uint16:
        raise damaged(name, ValueError("the pixels cannot be decoded"))
    alpha = "straight" if values.shape[2] == 4 else None
    _swap_ends(values)
    pixels, scale = from_samples(values, name, options.values, alpha)
    return ReadImage(upright(pixels, code), _told(scale))


def _has_chunk(stream: IO[bytes], kind: bytes) -> bool:
    """Whether a PNG has a chunk of a kind; it may come after the pixels."""
    stream.seek(8)
    while len(head := stream.read(8)) == 8:
        if head[4:] == kind:
            return True
        stream.seek(int.from_bytes(head[:4], "big") + 4, io.SEEK_CUR)
    return False


def _swap_ends(values: npt.NDArray[np.uint16]) -> None:
    """From OpenCV's blue, green, red to red, green, blue in place: a copy of a large image costs two gigabytes."""
    for row in values:
        row[:, :3] = row[:, 2::-1].copy()


def _with_end(stream: IO[bytes]) -> IO[bytes] | None:
    """A JPEG that lacks nothing but its end marker, with one; None for one that was cut in its data.

    Where the data are whole, the decoder does not care what follows them: two endings give the same pixels.
    """
    stream.seek(0)
    content = stream.read()
    if content.endswith(_JPEG_END) or len(content) < 4:
        return None
    content = content.removesuffix(b"\xff")
    endings = (content + filling * 64 + _JPEG_END for filling in (b"", b"\x55", b"\x2a"))
    try:
        found = {_hash_of(open_known(io.BytesIO(ending))) for ending in endings}  # one at a time: they may be large
    except Exception:  # as in identified: it was damaged elsewhere, which the first error reports
        return None
    return io.BytesIO(content + _JPEG_END) if len(found) == 1 else None


def _hash_of(image: Image.Image) -> str:
    """Key of a Pillow image's pixels."""
    digest = hashlib.blake2b(digest_size=16)
    for _, strip in strips(image):
        digest.update(strip.tobytes())
    return digest.hexdigest()


def _told(scale: Scale | None) -> dict[str, Any]:
    """The range of wide samples as a fact."""
    return {} if scale is None else {"range": [scale.low, scale.high]}
