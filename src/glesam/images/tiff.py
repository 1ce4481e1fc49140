"""TIFF layouts that Pillow reads wrongly or not at all: planes apart, more than four bands, wide colour, wide grey.

Such a file gets another directory in memory, which calls its bytes grey pixels: each plane by itself, or interleaved
bands as one wide row. So Pillow's decoder (libtiff) undoes any compression that does not look at what samples mean, and
what the bytes mean is worked out here. TIFF 6.0 (Adobe, 1992), sections 14, 15 and 18.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import IO, Any

import numpy as np
import numpy.typing as npt
from PIL import TiffImagePlugin

from glesam.common.messages import one_line
from glesam.errors import ImageError
from glesam.images.tiff_parts import TiffSource, broken, rows_of_bytes

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
        more: whether another page follows.
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
    more: bool = False

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the samples, in the file's byte order."""
        order = "<" if self.prefix[:2] == b"II" else ">"
        return np.dtype(f"{order}{self.kind}{self.bits[0] // 8}")

    @property
    def has_bands(self) -> bool:
        """Whether its bands can be read one by one: grey or colours, not mixed by their compression."""
        compression = self.directory.get(_COMPRESSION, 1)
        return self.photometric in (*_GREY, *_RGB) and compression in _COMPRESSIONS

    @property
    def is_plain(self) -> bool:
        """Whether Pillow reads it as it should: 8 bits unsigned of at most four bands; or one, to 16 bits or floating.

        Other bands Pillow holds as int32, where unsigned ones of 32 bits wrap round, and types are forgotten.
        """
        if self.photometric not in (*_GREY, *_RGB):
            return not (self.planar and max(self.bits) > 8)
        if self.bands == 1:
            return max(self.bits) < 8 or self.kind in "f?" or (self.kind == "u" and max(self.bits) <= 16)
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
        first = entries.next
        stream.seek(first)
        entries.load(stream)  # leaves `next` as it is where the file ends before it
        return _layout(dict(entries), prefix, entries.next not in (0, first))
    except Exception:  # Pillow's reader raises whatever broken bytes lead it to; it will say so again when it decodes
        return None


def read_bands(stream: IO[bytes], layout: TiffLayout, chosen: Sequence[int], name: str) -> npt.NDArray[Any]:
    """Decode bands of a TIFF, some of its strips or tiles at a time.

    Args:
        stream: the file; can be sought in.
        layout: as `layout_of` gave it.
        chosen: numbers of the bands, from 0.
        name: what messages call it.

    Returns:
        `(H, W, len(chosen))` in the file's own type, byte order that of the machine.

    Raises:
        ImageError: a layout without a way, or damaged data.
    """
    _check(layout, name)
    source = TiffSource(stream, layout.prefix, layout.width, layout.height, name)
    out = np.empty((layout.height, layout.width, len(chosen)), layout.dtype.newbyteorder("="))
    try:
        _fill(out, source, layout, chosen)
    # What a broken directory leads to: entries that are missing, of other kinds, numbers that fit nothing.
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise broken(name, one_line(error)) from error
    return out


def _fill(out: npt.NDArray[Any], source: TiffSource, layout: TiffLayout, chosen: Sequence[int]) -> None:
    """Decode bands into an array of `(H, W, len(chosen))`."""
    if layout.planar:
        for place, band in enumerate(chosen):
            for top, values in _samples(source, _plane(layout, band), 1, layout):
                out[top : top + len(values), :, place] = values[..., 0]
    else:
        for top, values in _samples(source, layout.directory, layout.bands, layout):
            out[top : top + len(values)] = values[..., list(chosen)]


def _layout(entries: dict[int, Any], prefix: bytes, more: bool) -> TiffLayout:
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
        entries, prefix, more,
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


def _samples(
    source: TiffSource, directory: dict[int, Any], bands: int, layout: TiffLayout
) -> Iterator[tuple[int, npt.NDArray[Any]]]:
    """Samples that a directory says are interleaved: rows `(h, W, bands)`, each with the number of its first."""
    for top, stored in rows_of_bytes(source, directory, bands * layout.dtype.itemsize):
        values = stored.view(layout.dtype).astype(layout.dtype.newbyteorder("="), copy=False)
        values = values.reshape(len(stored), layout.width, bands)
        if layout.directory.get(_PREDICTOR, 1) == 2:
            _undo_differences(values, layout)
        yield top, values


def _undo_differences(values: npt.NDArray[Any], layout: TiffLayout) -> None:
    """Undo predictor 2 in place: each pixel is stored as the difference to its left one, tile by tile."""
    step = int(layout.directory.get(_TILE_WIDTH, layout.width))
    for left in range(0, layout.width, step):
        part = values[:, left : left + step]
        np.cumsum(part, axis=1, dtype=values.dtype, out=part)
