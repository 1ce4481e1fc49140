"""What every data-set reader offers: a list of names, and the image and instance mask of each."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import value_counts
from glesam.common.fingerprints import Digests
from glesam.images.sources import SUFFIXES


class DataWarning(UserWarning):
    """A sample was read, but not all of it was used."""


@dataclass(frozen=True)
class Sample:
    """One image with its objects.

    Attributes:
        name: stable name within the set (file stem, or relative path without suffix); prompts and degradations are
            derived from it, never from the order of files.
        image: `(H, W, 3)` uint8 RGB.
        mask: `(H, W)` int32 instance ids, 0 = background.
    """

    name: str
    image: npt.NDArray[np.uint8]
    mask: npt.NDArray[np.int32]


@runtime_checkable
class SegmentationDataset(Protocol):
    """Readers are lazy sequences of samples. Iteration order is the sorted order of `names`."""

    name: str

    @property
    def names(self) -> list[str]:
        """Names of all samples, sorted."""
        ...

    def __len__(self) -> int:
        """Number of samples."""
        ...

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            DataError: a file is missing or unreadable, or sizes differ.
        """
        ...


@runtime_checkable
class FileBacked(Protocol):
    """A data set with a fingerprint for each sample, by which outdated results are recognised."""

    def fingerprint(self, index: int, digests: Digests) -> str:
        """Digest of all that decides a sample: the content of its files, and its part of a file of annotations.

        Raises:
            OSError: a file cannot be read.
        """
        ...


def fingerprint(dataset: SegmentationDataset, indices: Iterable[int], digests: Digests | None = None) -> str | None:
    """Digest of some samples' sources, in the order given; None for a data set that is not made of files.

    Args:
        dataset: any reader.
        indices: of the samples.
        digests: keeps the digests of files between calls; without it all files are read.

    Raises:
        OSError: a file cannot be read.
    """
    if not isinstance(dataset, FileBacked):
        return None
    digests = Digests() if digests is None else digests
    joined = hashlib.sha256()
    for index in indices:
        joined.update(f"{dataset.fingerprint(index, digests)}\n".encode())
    return joined.hexdigest()


def object_ids(mask: npt.NDArray[np.int32], min_share: float = 0.0) -> list[int]:
    """Ids of the objects in an `(H, W)` instance mask that cover at least `min_share` of the image, sorted."""
    ids, counts = value_counts(mask)
    return [int(i) for i, n in zip(ids, counts, strict=True) if i > 0 and n >= min_share * mask.size]


def is_kept_aside(name: str) -> bool:
    """Whether an image of a training set is kept for measuring: one in five, by the SHA-256 of its name.

    Args:
        name: as a data set names it; a folder before it and an image file's ending do not count, other dots do.
    """
    path = PurePosixPath(name)
    return is_fifth(path.stem if path.suffix.lower() in SUFFIXES else path.name)


def is_fifth(text: str) -> bool:
    """Whether a text is one of five: `int(sha256(text), 16) % 5 == 0`."""
    return int(hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest(), 16) % 5 == 0
