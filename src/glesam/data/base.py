"""What every data-set reader offers: a list of names, and the picture and instance mask of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True)
class Sample:
    """One picture with its objects.

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


def object_ids(mask: npt.NDArray[np.int32], min_share: float = 0.0) -> list[int]:
    """Ids of the objects in an `(H, W)` instance mask that cover at least `min_share` of the picture, sorted."""
    ids, counts = np.unique(mask, return_counts=True)
    return [int(i) for i, n in zip(ids, counts, strict=True) if i > 0 and n >= min_share * mask.size]
