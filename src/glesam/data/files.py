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

from glesam.common.documents import shown
from glesam.errors import DataError, ImageError
from glesam.images.opening import check_size, decode_cv2, identified, opened
from glesam.images.reading import MAX_PIXELS, read

VOID = 255
"""Value of the border, and of what is too hard, in masks of PASCAL VOC (Everingham et al., IJCV 2010)."""
_VOID_COLOUR = (224, 224, 192)
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
    values, void = read_mask_file(path)
    if values.ndim == 3:
        values = _colours_to_ids(values)
    if void and not keep_void:
        values = np.where(values == VOID, 0, values)
    ids = values.astype(np.int32)
    return np.minimum(ids, 1) if values.dtype == np.uint8 and set(np.unique(ids)) <= {0, 255} else ids


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


def _unreadable(name: str) -> DataError:
    return DataError(f"expected a readable mask, got {name} that cannot be decoded; replace or remove it")


def _entries(image: Image.Image) -> MaskFile:
    """The entry numbers of a palette image, `(H, W)`."""
    values = np.array(image, dtype=np.uint8)
    colours = image.getpalette() or []
    border = values == VOID
    if not border.any() or not (~border & (values > 0)).any():
        return MaskFile(values)
    if tuple(colours[3 * VOID : 3 * VOID + 3]) == _VOID_COLOUR:
        return MaskFile(values, void=True)
    reach = cv2.distanceTransform(np.pad(border, 1).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    return MaskFile(values, void=bool(reach.max() <= _VOID_REACH))


def _colours_to_ids(mask: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Ids of an `(H, W, C)` mask: the value itself when it is grey, else one id per colour, in order of the colours."""
    colours = mask[..., :3].astype(np.int64)
    if (colours == colours[..., :1]).all():
        grey: npt.NDArray[Any] = mask[..., 0]
        return grey
    packed = colours[..., 0] << 32 | colours[..., 1] << 16 | colours[..., 2]
    distinct, ids = np.unique(packed, return_inverse=True)
    offset = 0 if distinct[0] == 0 else 1
    return np.asarray(ids.reshape(packed.shape) + offset, dtype=np.int32)
