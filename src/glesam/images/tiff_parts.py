"""Strips and tiles of a TIFF, decoded a few at a time: each part becomes a small TIFF of one byte a pixel in memory.

So Pillow's decoder (libtiff) undoes any compression that does not look at what samples mean, and what is held at once
stays at some megabytes. TIFF 6.0 (Adobe, 1992), sections 2 and 15.
"""

from __future__ import annotations

import io
import struct
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import IO, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from glesam.common.messages import one_line
from glesam.errors import ImageError
from glesam.images.opening import open_known
from glesam.images.pixels import strips

_WIDTH, _LENGTH, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_STRIP_OFFSETS, _SAMPLES, _ROWS_PER_STRIP, _STRIP_BYTES = 273, 277, 278, 279
_TILE_WIDTH, _TILE_LENGTH, _TILE_OFFSETS, _TILE_BYTES = 322, 323, 324, 325
_SHORT = frozenset({_BITS, _SAMPLES, _PHOTOMETRIC, _COMPRESSION})
_PART_BYTES = 1 << 25
"""Bytes of samples that are decoded at once, where strips and tiles allow it."""


class TiffSource(NamedTuple):
    """A file, and what its parts are made with.

    Attributes:
        stream: can be sought in.
        prefix: the file's header, which tells byte order and kind of TIFF.
        width: pixels in a row.
        height: rows.
        name: what messages call it.
    """

    stream: IO[bytes]
    prefix: bytes
    width: int
    height: int
    name: str


def rows_of_bytes(
    source: TiffSource, directory: dict[int, Any], size: int
) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Decode an image, some rows at a time.

    Args:
        source: the file.
        directory: of the image, or of one of its planes.
        size: bytes of a pixel.

    Yields:
        Number of the first row, and `(h, width * size)` bytes as they were stored, before predictors.

    Raises:
        ImageError: the directory does not say where all strips or tiles are, or they are damaged or cut short.
    """
    for top, part in _parts(source, directory, size):
        for row, stored in _bytes(part, source.name):
            yield top + row, stored


def _parts(source: TiffSource, directory: dict[int, Any], size: int) -> Iterator[tuple[int, bytes]]:
    """Small TIFFs of one byte a pixel, each of some strips or rows of tiles, with the number of its first row.

    Raises:
        ImageError: the directory does not say where all strips or tiles are, or they lie beyond the file's end.
    """
    row = source.width * size
    try:
        pieces = _pieces(directory, row, source)
        step = max(1, _PART_BYTES // max(1, pieces.rows * row))
        for first in range(0, -(-source.height // pieces.rows), step):
            top = first * pieces.rows
            places = pieces.places[first * pieces.across : (first + step) * pieces.across]
            held = [_read(source, *place) for place in places]
            changed = _directory_of(directory, size, held, pieces, source)
            changed |= {_LENGTH: (min(step * pieces.rows, source.height - top),), _WIDTH: (row,)}
            yield top, _with_directory(b"".join([source.prefix, *held]), changed, source.prefix)
    # What a broken directory leads to: entries of other kinds, numbers that fit nothing.
    except (ArithmeticError, LookupError, TypeError, ValueError, struct.error) as error:
        raise broken(source.name, one_line(error)) from error


class _Pieces(NamedTuple):
    """Strips or tiles in the order of the image: place and length of each, rows of one, how many lie side by side."""

    places: list[tuple[int, int]]
    rows: int
    across: int


def _pieces(directory: dict[int, Any], row: int, source: TiffSource) -> _Pieces:
    """Where the strips or tiles of a directory are, `row` bytes to a row of the image.

    Raises:
        ArithmeticError, LookupError, TypeError, ValueError: the directory is broken.
    """
    if _TILE_WIDTH in directory:
        rows, across = _numbers(directory[_TILE_LENGTH])[0], -(-source.width // _numbers(directory[_TILE_WIDTH])[0])
        offsets, lengths = _numbers(directory[_TILE_OFFSETS]), _numbers(directory[_TILE_BYTES])
    else:
        rows, across = min(_numbers(directory.get(_ROWS_PER_STRIP, source.height))[0], source.height), 1
        offsets = _numbers(directory[_STRIP_OFFSETS])
        if _numbers(directory.get(_COMPRESSION, 1)) == (1,):
            return _uncompressed(offsets, rows, row, source.height)
        lengths = _numbers(directory[_STRIP_BYTES])
    needed = across * -(-source.height // rows)
    if rows < 1 or across < 1 or min(len(offsets), len(lengths)) < needed:
        raise ValueError(f"{min(len(offsets), len(lengths))} of {needed} strips or tiles")
    return _Pieces(list(zip(offsets[:needed], lengths[:needed], strict=True)), rows, across)


def _uncompressed(offsets: tuple[int, ...], rows: int, row: int, height: int) -> _Pieces:
    """Strips without compression, whose lengths are known; a single one is taken in parts, however long it is."""
    needed = -(-height // rows)
    if rows < 1 or len(offsets) < needed:
        raise ValueError(f"{len(offsets)} of {needed} strips")
    if needed == 1:
        rows = max(1, min(height, _PART_BYTES // max(1, row)))
        offsets = tuple(range(offsets[0], offsets[0] + height * row, rows * row))
    return _Pieces([(start, row * min(rows, height - index * rows)) for index, start in enumerate(offsets)], rows, 1)


def _directory_of(
    directory: dict[int, Any], size: int, held: Sequence[bytes], pieces: _Pieces, source: TiffSource
) -> dict[int, tuple[int, ...]]:
    """Entries of a small TIFF, whose strips or tiles follow its header one after the other; without its size."""
    lengths = tuple(map(len, held))
    places = tuple(len(source.prefix) + before for before in (0, *accumulate(lengths[:-1])))
    found: dict[int, tuple[int, ...]] = {_BITS: (8,), _SAMPLES: (1,), _PHOTOMETRIC: (1,)}
    found[_COMPRESSION] = _numbers(directory.get(_COMPRESSION, 1))
    if _TILE_WIDTH not in directory:
        return found | {_ROWS_PER_STRIP: (pieces.rows,), _STRIP_OFFSETS: places, _STRIP_BYTES: lengths}
    width = _numbers(directory[_TILE_WIDTH])[0] * size
    return found | {
        _TILE_WIDTH: (width,),
        _TILE_LENGTH: (pieces.rows,),
        _TILE_OFFSETS: places,
        _TILE_BYTES: lengths,
    }


def _read(source: TiffSource, start: int, length: int) -> bytes:
    """Bytes of the file."""
    source.stream.seek(start)
    found = source.stream.read(length)
    if not 0 <= length <= len(found):
        raise broken(source.name, f"{len(found)} of {length} bytes")
    return found


def _bytes(content: bytes, name: str) -> Iterator[tuple[int, npt.NDArray[np.uint8]]]:
    """Decode what is called a grey image: some rows of bytes at a time, each with the number of its first."""
    try:
        with open_known(io.BytesIO(content)) as image:
            for top, strip in strips(image):
                yield top, np.array(strip)
    except Exception as error:  # Pillow's plugin raises whatever damaged bytes lead it to
        raise broken(name, one_line(error)) from error


def broken(name: str, reason: str) -> ImageError:
    """The error for a TIFF that does not hold what its directory says."""
    return ImageError(f"expected a whole TIFF, got {name}, damaged or cut short ({reason}); fetch or save it again")


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
