"""Reader of the plain layout: `<root>/images/<name>.<ext>` beside `<root>/masks/<name>.png`."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from glesam.data.base import Sample
from glesam.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})


class FolderDataset:
    """Pictures in `images/`, masks of the same stem in `masks/` (PNG: ids 1..N, or 0/1, or 0/255).

    Args:
        root: folder that holds `images` and `masks`.
        name: name of the set in tables; the folder's name when not given.

    Raises:
        DataError: a folder is missing or empty, or a picture has no mask.
    """

    def __init__(self, root: str | Path, name: str | None = None) -> None:
        self.root = Path(root)
        self.name = name or self.root.name
        for part in ("images", "masks"):
            if not (self.root / part).is_dir():
                raise DataError(
                    f"expected a folder {self.root / part}, found none; lay the set out as images/NAME.jpg + masks/NAME.png"
                )
        self._images = _by_stem(self.root / "images", IMAGE_SUFFIXES)
        self._masks = _by_stem(self.root / "masks", frozenset({".png"}))
        if not self._images:
            raise DataError(f"expected pictures in {self.root / 'images'}, found none ({_listing(IMAGE_SUFFIXES)})")
        lacking = sorted(set(self._images) - set(self._masks))
        if lacking:
            raise DataError(
                f"expected a mask for each picture in {self.root / 'masks'}, {len(lacking)} are missing, first "
                f"{lacking[0]}.png; add them or take the pictures away"
            )
        self._names = sorted(self._images)

    @property
    def names(self) -> list[str]:
        """Names of all samples, sorted."""
        return self._names

    def __len__(self) -> int:
        """Number of samples."""
        return len(self._names)

    def __getitem__(self, index: int) -> Sample:
        """Read one sample.

        Raises:
            DataError: a file is unreadable, or picture and mask differ in size.
        """
        name = self._names[index]
        image, mask = read_image(self._images[name]), read_mask(self._masks[name])
        if image.shape[:2] != mask.shape:
            raise DataError(
                f"expected a mask of {image.shape[1]}x{image.shape[0]} pixels for {name}, got "
                f"{mask.shape[1]}x{mask.shape[0]}; make both the same size"
            )
        return Sample(name, image, mask)


def read_image(path: Path) -> npt.NDArray[np.uint8]:
    """Decode a training picture to `(H, W, 3)` uint8 RGB.

    OpenCV, since data sets are read by the thousand; users' photos go through `glesam.images`, which knows more formats.

    Raises:
        DataError: the file cannot be decoded.
    """
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"expected a readable picture, got {path} that cannot be decoded; replace or remove it")
    return np.ascontiguousarray(image[..., ::-1])


def read_mask(path: Path) -> npt.NDArray[np.int32]:
    """Read an 8- or 16-bit PNG of instance ids; 0/255 pictures become ids 0/1.

    A file whose only values are 0 and 255 is a binary mask drawn for the eye, not object number 255.

    Raises:
        DataError: the file cannot be decoded.
    """
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if mask is None:
        raise DataError(f"expected a readable mask, got {path} that cannot be decoded; replace or remove it")
    if mask.ndim == 3:
        mask = mask[..., 0] if mask.shape[2] == 1 else mask[..., :3].max(axis=2)
    ids = mask.astype(np.int32)
    return np.minimum(ids, 1) if set(np.unique(ids)) <= {0, 255} else ids


def _by_stem(folder: Path, suffixes: frozenset[str]) -> dict[str, Path]:
    """Map file stems to files of the given suffixes."""
    return {p.stem: p for p in sorted(folder.iterdir()) if p.suffix.lower() in suffixes and not p.name.startswith(".")}


def _listing(suffixes: frozenset[str]) -> str:
    """Suffixes as text, for messages."""
    return ", ".join(sorted(suffixes))
