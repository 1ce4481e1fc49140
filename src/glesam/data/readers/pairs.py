"""What most layouts come down to: image files, and mask files of the same name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from glesam.common.arrays import Ids
from glesam.common.fingerprints import Digests
from glesam.data.base import Sample
from glesam.data.files import read_grey, read_image
from glesam.errors import DataError

# The paper's evaluation takes a ground-truth pixel as object when its grey value is above 128.
_OBJECT_ABOVE = 128


class PairDataset:
    """Images with one mask file each.

    Args:
        name: name of the set in tables.
        images: sample name to image file.
        masks: sample name to mask file; those without an image are left alone.
        read: makes `(H, W)` int32 ids of a mask file.
        home: where to get the data set, for the message when masks are missing.

    Raises:
        DataError: there is no image, or an image has no mask.
    """

    def __init__(
        self,
        name: str,
        images: Mapping[str, Path],
        masks: Mapping[str, Path],
        read: Callable[[Path], Ids],
        home: str = "where it is from",
    ) -> None:
        self.name = name
        if not images:
            raise DataError(f"expected images in the data set {name}, found none; get it from {home}")
        lacking = sorted(set(images) - set(masks))
        if lacking:
            raise DataError(
                f"expected a mask for each image of {name}, {len(lacking)} of {len(images)} are missing, first that "
                f"of {images[lacking[0]]}; get the set from {home}"
            )
        self._images, self._masks, self._read = dict(images), dict(masks), read
        self._names = sorted(images)

    @property
    def names(self) -> list[str]:
        """Names of all samples, sorted."""
        return self._names

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._names)

    def fingerprint(self, index: int, digests: Digests) -> str:
        """Digest of a sample's two files; see `FileBacked`."""
        name = self._names[index]
        return digests.joint([self._images[name], self._masks[name]])

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            DataError: a file is unreadable, or image and mask differ in size.
        """
        name = self._names[index]
        image, mask = read_image(self._images[name]), self._read(self._masks[name])
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"expected a mask of {image.shape[1]}x{image.shape[0]} pixels for {self._images[name]}, got "
                f"{mask.shape[1]}x{mask.shape[0]} in {self._masks[name]}; make both the same size"
            )
        return Sample(name, image, mask)


def read_binary_mask(path: Path) -> Ids:
    """Read a mask of one object, hard (0/1, 0/255) or with soft edges (0..255), to `(H, W)` ids 0/1.

    Of a soft mask the pixels above 128 are the object, as in the paper's evaluation.

    Raises:
        DataError: the file cannot be decoded.
    """
    grey = read_grey(path)
    above = 0 if grey.max() <= 1 else _OBJECT_ABOVE
    return np.asarray(grey > above, dtype=np.int32)


def flat_name(relative: str) -> str:
    """A sample name without folders, so that it can name a file: `val2017/0001` becomes `val2017__0001`."""
    return relative.replace("\\", "/").strip("/").replace("/", "__")
