"""TIFF layouts that Pillow reads wrongly or not at all: planes apart, more than four bands, wide or signed colour.

Such a file gets another directory in memory, which calls its bytes grey pixels: each plane by itself, or interleaved
bands as one wide row. So Pillow's decoder (libtiff) undoes any compression that does not look at what samples mean, and
what the bytes are is told here. TIFF 6.0 (Adobe, 1992), sections 14, 15 and 18.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import Image, TiffImagePlugin

from glesam.common.documents import one_line
from glesam.errors import ImageError

_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 277, 278, 279
_PLANAR, _PREDICTOR, _TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_BYTES = 284, 317, 322, 323, 324, 325
_EXTRA_SAMPLES, _SAMPLE_FORMAT = 338, 339
_KINDS = {1: "u", 2: "i", 3: "f", 4: "u"}
_GREY, _RGB = (0, 1), (2,)
_ALPHA = {1: "associated", 2: "straight"}
# None, LZW, deflate (two numbers), PackBits, LZMA, Zstandard: compressions that do not look at what samples mean.
_COMPRESSIONS = frozenset({1, 5, 8, 32946, 32773, 34925, 50000})


@dataclass(frozen=True)
class TiffLayout:
    """What a TIFF's first directory says of its samples.

    Attributes:
        width: pixels in a row.
        height: rows.
        bands: samples of a pixel.
        bits: bits of each sample.
        kind: numpy's letter for the type: u, i or f.
        photometric: TIFF's number: 0 white is zero, 1 black is zero, 2 RGB.
        planar: whether each band is stored by itself.
        alpha: "straight", "associated" (colours multiplied already) or None: what the last band is.
        directory: all entries, by tag.
        prefix: the file's header, which tells byte order and kind of TIFF.
    """

    width: int
    height: int
    bands: int
    bits: tuple[int, ...]
    kind: str
    photometric: int
    planar: bool
    alpha: str | None
    directory: dict[int, Any]
    prefix: bytes

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples, in the file's byte order."""
        order = "<" if self.prefix[:2] == b"II" else ">"
        return np.dtype(f"{order}{self.kind}{self.bits[0] // 8}")

    @property
    def is_plain(self) -> bool:
        """Whether Pillow reads it as it should: 8 bits unsigned of at most four bands, or one band."""
        if self.photometric not in (*_GREY, *_RGB):
            return not (self.planar and max(self.bits) > 8)
        if self.bands == 1:
            return max(self.bits) < 8 or self.kind != "i" or self.bits[0] > 8
        return self.kind == "u" and max(self.bits) <= 8 and self.bands <= 4


def layout_of(stream: IO[bytes]) -> TiffLayout | None:
    """Read the first directory of a TIFF; None where the stream holds none, or its directory is broken."""
    stream.seek(0)
    prefix = stream.read(16)
    prefix = prefix if prefix[:4] == b"II+\0" else prefix[:8]
    if prefix[:4] not in (b"II*\0", b"MM\0*", b"II+\0"):
        return None
    try:
        entries = TiffImagePlugin.ImageFileDirectory_v2(prefix)
        stream.seek(entries.next)
        entries.load(stream)
        return _layout(dict(entries), prefix)
    except Exception:  # Pillow's reader raises whatever broken bytes lead it to; it will say so again when it decodes
        return None


def read_bands(content: bytes, layout: TiffLayout, chosen: Sequence[int], name: str) -> npt.NDArray[Any]:
    """Decode bands of a TIFF.

    Args:
        content: the file.
        layout: as `layout_of` gave it.
        chosen: numbers of the bands, from 0.
        name: what messages call it.

    Returns:
        `(H, W, len(chosen))` in the file's own type, byte order that of the machine.

    Raises:
        ImageError: a layout without a way, or damaged data.
    """
    _check(layout, name)
    if layout.planar:
        planes = [_samples(content, _plane(layout, band), 1, layout, name) for band in chosen]
        return np.concatenate(planes, axis=-1)
    values = _samples(content, layout.directory, layout.bands, layout, name)
    return values if list(chosen) == list(range(layout.bands)) else values[..., list(chosen)]


def _layout(entries: dict[int, Any], prefix: bytes) -> TiffLayout:
    bits = tuple(int(b) for b in entries.get(_BITS, (1,)))
    bands = int(entries.get(_SAMPLES, len(bits)))
    formats = set(entries.get(_SAMPLE_FORMAT, (1,)))
    extra = tuple(entries.get(_EXTRA_SAMPLES, ()))
    return TiffLayout(
        int(entries[_WIDTH]), int(entries[_LENGTH]), bands, bits,
        _KINDS.get(formats.pop(), "?") if len(formats) == 1 else "?",
        int(entries.get(_PHOTOMETRIC, 1)),
        int(entries.get(_PLANAR, 1)) == 2 and bands > 1,
        _ALPHA.get(int(extra[-1])) if extra else None,
        entries, prefix,
    )  # fmt: skip


def _check(layout: TiffLayout, name: str) -> None:
    """Refuse what has no way, by its name."""
    predictor, compression = layout.directory.get(_PREDICTOR, 1), layout.directory.get(_COMPRESSION, 1)
    bits = sorted(set(layout.bits))
    if len(bits) > 1 or layout.kind == "?" or (layout.kind, bits[0]) not in _TYPES:
        kind = {"u": "whole", "i": "signed", "f": "floating", "?": "mixed"}[layout.kind]
        sizes = ", ".join(map(str, bits))
        raise ImageError(
            f"expected TIFF samples of 8, 16, 32 or 64 bits, all alike, got {kind} ones of {sizes} bits in {name}; "
            "save it as 16 bits"
        )
    if layout.photometric not in (*_GREY, *_RGB):
        raise ImageError(
            f"expected grey or RGB in a TIFF with planes apart, got colour space {layout.photometric} in {name}; save "
            "it as RGB"
        )
    if compression not in _COMPRESSIONS or predictor not in (1, 2) or (layout.kind == "f" and predictor != 1):
        raise ImageError(
            f"expected a TIFF of {layout.bands} bands in LZW, deflate or without compression, got compression "
            f"{compression} with predictor {predictor} in {name}; save it with another"
        )


_SHORT = frozenset({_BITS, _SAMPLES, _PHOTOMETRIC, _COMPRESSION})
_KEPT = (
    *(_LENGTH, _COMPRESSION, _STRIP_OFFSETS, _STRIP_BYTES, _ROWS_PER_STRIP),
    *(_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_BYTES),
)
_TYPES = frozenset({(kind, bits) for kind in "ui" for bits in (8, 16, 32, 64)} | {("f", b) for b in (16, 32, 64)})


def _plane(layout: TiffLayout, band: int) -> dict[int, Any]:
    """The directory of one band stored by itself, as a grey image."""
    changed = dict(layout.directory)
    for offsets, sizes in ((_STRIP_OFFSETS, _STRIP_BYTES), (_TILE_OFFSETS, _TILE_BYTES)):
        if offsets in changed:
            each = len(changed[offsets]) // layout.bands
            for tag in (offsets, sizes):
                changed[tag] = tuple(changed[tag][band * each : (band + 1) * each])
    return changed


def _samples(content: bytes, directory: dict[int, Any], bands: int, layout: TiffLayout, name: str) -> npt.NDArray[Any]:
    """`(H, W, bands)` samples that a directory says are interleaved."""
    size = bands * layout.dtype.itemsize
    changed = {tag: _numbers(directory[tag]) for tag in _KEPT if tag in directory}
    changed |= {_BITS: (8,), _SAMPLES: (1,), _PHOTOMETRIC: (1,), _WIDTH: (layout.width * size,)}
    if _TILE_WIDTH in changed:
        changed[_TILE_WIDTH] = (changed[_TILE_WIDTH][0] * size,)
    stored = _bytes(_with_directory(content, changed, layout.prefix), name).view(layout.dtype)
    values = stored.astype(layout.dtype.newbyteorder("="), copy=False)
    values = values.reshape(layout.height, layout.width, bands)
    return _undo_differences(values, layout) if layout.directory.get(_PREDICTOR, 1) == 2 else values


def _bytes(content: bytes, name: str) -> npt.NDArray[np.uint8]:
    """Decode what is called a grey image, `(H, bytes of a row)`."""
    try:
        with Image.open(io.BytesIO(content), formats=["TIFF"]) as image:
            return np.array(image)
    except Exception as error:  # Pillow's plugin raises whatever damaged bytes lead it to
        raise ImageError(
            f"expected a whole TIFF, got {name}, damaged or cut short ({one_line(error)}); fetch or save it again"
        ) from error


def _numbers(value: Any) -> tuple[int, ...]:
    """A directory's entry as whole numbers."""
    return tuple(int(each) for each in (value if isinstance(value, tuple) else (value,)))


def _with_directory(content: bytes, entries: dict[int, tuple[int, ...]], prefix: bytes) -> bytes:
    """The file with another first directory, at its end; numbers are 16-bit where TIFF wants them so, else offsets."""
    order, big = "<" if prefix[:2] == b"II" else ">", len(prefix) == 16
    offset, kind, size = ("Q", 16, 8) if big else ("L", 4, 4)
    start = len(content) + len(content) % 2
    place = start + struct.calcsize(order + ("Q" if big else "H")) + len(entries) * (20 if big else 12) + size
    table, beyond = struct.pack(order + ("Q" if big else "H"), len(entries)), b""
    for tag, values in sorted(entries.items()):
        short = tag in _SHORT
        data = struct.pack(f"{order}{len(values)}{'H' if short else offset}", *values)
        table += struct.pack(f"{order}HH{offset}", tag, 3 if short else kind, len(values))
        if len(data) <= size:
            table += data.ljust(size, b"\0")
        else:
            table += struct.pack(order + offset, place + len(beyond))
            beyond += data + b"\0" * (len(data) % 2)
    head = prefix[:-size] + struct.pack(order + offset, start)
    return b"".join([head, content[len(head) :], b"\0" * (len(content) % 2), table, bytes(size), beyond])


def _undo_differences(values: npt.NDArray[Any], layout: TiffLayout) -> npt.NDArray[Any]:
    """Undo predictor 2: each pixel was stored as the difference to the one on its left, anew in each tile."""
    step = int(layout.directory.get(_TILE_WIDTH, layout.width))
    for left in range(0, layout.width, step):
        part = values[:, left : left + step]
        values[:, left : left + step] = np.cumsum(part, axis=1, dtype=values.dtype)
    return values
