"""Objects of semantic labels: sets that colour each pixel by its class, without telling objects apart."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Ids
from glesam.data.files import decode_pixels
from glesam.errors import DataError

IGNORED = 255
LEAST_PIXELS = 100
"""Smaller patches of a class are seams between others rather than things."""


def read_regions(path: Path, ignored: Sequence[int] = (IGNORED,)) -> Ids:
    """Read 8-bit class labels to `(H, W)` ids: each connected patch of a class is an object, largest first.

    Args:
        path: the label file.
        ignored: labels that are no class.

    Raises:
        DataError: the file is no single-channel 8-bit image.
    """
    labels = decode_pixels(path)
    if labels.ndim != 2 or labels.dtype != np.uint8:
        raise DataError(
            f"expected 8-bit class labels in {path}, got {labels.dtype} of shape {labels.shape}; take the label files, "
            "not the coloured ones"
        )
    found: list[tuple[int, npt.NDArray[np.bool_]]] = []
    for value in np.unique(labels):
        if int(value) in ignored:
            continue
        _, patches, statistics, _ = cv2.connectedComponentsWithStats((labels == value).astype(np.uint8), connectivity=8)
        for number in range(1, len(statistics)):
            area = int(statistics[number, cv2.CC_STAT_AREA])
            if area >= LEAST_PIXELS:
                found.append((area, patches == number))
    ids = np.zeros(labels.shape, np.int32)
    for number, (_, patch) in enumerate(sorted(found, key=lambda pair: -pair[0]), start=1):
        ids[patch] = number
    return ids
