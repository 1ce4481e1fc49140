"""Image and mask files of data sets: images as everywhere else in glesam, masks by value.

Files are read here and decoded from memory, within the limit of pixels: OpenCV gets no name, since it dies by one that
is not UTF-8, and the size that a file claims is known before memory is taken for it.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from glesam.common.arrays import row_slices
from glesam.common.messages import shown
from glesam.errors import DataError, ImageError
from glesam.images.opening import check_size, decode_cv2, identified, opened
from glesam.images.reading import MAX_PIXELS, read

VOID = 255
"""Value of the border, and of what is too hard, in masks of PASCAL VOC (Everingham et al., IJCV 2010)."""
_VOID_COLOUR = (224, 224, 192)
_SAMPLE_BYTES = 4
_VOID_REACH = 4.0
"""Pixels from the middle to the rim of a void border, which VOC draws five pixels wide, with its corners."""


class MaskFile(NamedTuple):
    """A mask as its file has it.

    Attributes:
        values: `(H, W)` or `(H, W, C)`; of a palette image the numbers of its entries.
        void: whether 255 marks VOC's void border, not an object.
    """

    values: npt.NDArray[Any]
    void: bool = False


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Read a data set's image as `glesam.images.read` does, to `(H, W, 3)` uint8 RGB.

    Raises:
        DataError: the file cannot be decoded, or is cut short.
    """
    try:
        return read(path)
    except ImageError as error:
        raise DataError(str(error)) from error


def read_mask(path: Path, keep_void: bool = False) -> npt.NDArray[np.int32]:
    """Read an 8- or 16-bit PNG of instance ids; 0/255 images become ids 0/1.

    A file of 8 bits whose only values are 0 and 255 is a binary mask drawn for the eye, not object number 255. A
    palette image holds its ids as palette entries, its colours are for the eye only; there 255 is VOC's void border
    where it looks like one (VOC's colour for it, or thin between others) and becomes background. In a colour image each
    colour is one object and black is the background.

    Args:
        path: the file.
        keep_void: take 255 in a palette image for an object like any other.

    Raises:
        DataError: the file cannot be decoded.
    """
    return ids_of(read_mask_file(path), keep_void)


def ids_of(mask: MaskFile, keep_void: bool = False) -> npt.NDArray[np.int32]:
    """What `read_mask` makes of a decoded file; large ones are converted in strips.

    Args:
        mask: as `read_mask_file` gave it.
        keep_void: as in `read_mask`.

    Returns:
        `(H, W)` int32.
    """
    values = _colours_to_ids(mask.values) if mask.values.ndim == 3 else mask.values
    ids = values.astype(np.int32)
    if mask.void and not keep_void:
        np.putmask(ids, values == VOID, 0)
    elif values.dtype == np.uint8 and all(np.isin(ids[rows], (0, VOID)).all() for rows in row_slices(ids)):
        np.minimum(ids, 1, out=ids)
    return ids


def read_mask_file(path: Path) -> MaskFile:
    """Decode a mask file without taking its values for anything.

    Raises:
        DataError: the file cannot be decoded, is cut short, or has more pixels than an image may have.
    """
    content = _content(path, cv2.IMREAD_UNCHANGED)
    return content if isinstance(content, MaskFile) else MaskFile(content)


def read_grey(path: Path) -> npt.NDArray[np.uint8]:
    """Decode a mask file to `(H, W)` grey values, a palette's colours included.

    Raises:
        DataError: as `read_mask_file`.
    """
    grey = _content(path, cv2.IMREAD_GRAYSCALE)
    return np.asarray(grey, np.uint8)


def decode_pixels(path: Path) -> npt.NDArray[Any]:
    """Decode a file to what OpenCV makes of it unchanged: `(H, W)` or `(H, W, C)`, colours as BGR.

    Raises:
        DataError: as `read_mask_file`.
    """
    pixels = _content(path, cv2.IMREAD_UNCHANGED, palettes=False)
    return np.asarray(pixels)


def _content(path: Path, flags: int, palettes: bool = True) -> npt.NDArray[Any] | MaskFile:
    """Check a file's header, and decode it from memory."""
    name = shown(path)
    try:
        with opened(path, name) as stream:
            content = stream.read()
            stream.seek(0)
            with identified(stream, name) as image:
                check_size(image.width, image.height, MAX_PIXELS, name)
                _check_samples(image, content, name)
                if image.mode == "P" and palettes and flags == cv2.IMREAD_UNCHANGED:
                    return _entries(image)
                image.verify()  # a PNG's chunks by their sums: OpenCV fills what is missing, without a word
        pixels = decode_cv2(content, flags)
    except ImageError as error:
        raise DataError(str(error)) from error
    except Exception as error:  # Pillow's plugins raise whatever damaged bytes lead them to
        raise _unreadable(name) from error
    if pixels is None:
        raise _unreadable(name)
    return pixels


def _check_samples(image: Image.Image, content: bytes, name: str) -> None:
    """Refuse a mask whose samples would take more than four bytes for each pixel that an image may have.

    Raises:
        ImageError: they would.
    """
    wide = content[24] == 16 if image.format == "PNG" else max(getattr(image, "tag_v2", {}).get(258, (8,))) > 8
    needed = image.width * image.height * len(image.getbands()) * (2 if wide else 1)
    if needed > _SAMPLE_BYTES * MAX_PIXELS:
        raise ImageError(
            f"expected at most {_SAMPLE_BYTES * MAX_PIXELS} bytes of samples, got {needed} in {name}; save the mask "
            "with a palette or as grey ids"
        )


def _unreadable(name: str) -> DataError:
    return DataError(f"expected a readable mask, got {name} that cannot be decoded; replace or remove it")


def _entries(image: Image.Image) -> MaskFile:
    """The entry numbers of a palette image, `(H, W)`."""
    values = np.array(image, dtype=np.uint8)
    colours = image.getpalette() or []
    border = values == VOID
    if not border.any() or all(np.isin(values[rows], (0, VOID)).all() for rows in row_slices(values)):
        return MaskFile(values)
    named = tuple(colours[3 * VOID : 3 * VOID + 3]) == _VOID_COLOUR
    return MaskFile(values, void=named or _is_thin(border))


def _is_thin(border: npt.NDArray[np.bool_]) -> bool:
    """Whether no pixel of a border is further than `_VOID_REACH` from what is none; beyond the image nothing is."""
    margin = int(_VOID_REACH) + 1  # rows further away than that change nothing
    for rows in row_slices(border):
        top = max(0, rows.start - margin)
        part = np.pad(border[top : rows.stop + margin], 1).astype(np.uint8)
        reach = cv2.distanceTransform(part, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1]
        if reach[rows.start - top : rows.stop - top].max() > _VOID_REACH:
            return False
    return True


def _colours_to_ids(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Ids of an `(H, W, C)` mask: the value itself when it is grey, else one id per colour, in order of the colours."""
    if all((mask[rows, :, 1:3] == mask[rows, :, :1]).all() for rows in row_slices(mask)):
        grey: npt.NDArray[Any] = mask[..., 0]
        return grey
    distinct = np.unique(np.concatenate([np.unique(_packed(mask[rows])) for rows in row_slices(mask)]))
    ids = np.empty(mask.shape[:2], np.int32)
    for rows in row_slices(mask):
        ids[rows] = np.searchsorted(distinct, _packed(mask[rows])) + (0 if distinct[0] == 0 else 1)
    return ids


def _packed(colours: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Each colour as one number, in order of blue, green, red."""
    wide = colours[..., :3].astype(np.int64)
    return np.asarray(wide[..., 0] << 32 | wide[..., 1] << 16 | wide[..., 2])
