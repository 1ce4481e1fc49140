"""Reader of the plain layout: `<root>/images/<name>.<ext>` beside `<root>/masks/<name>.png`."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from PIL import Image

from glesam.common.fingerprints import Digests
from glesam.data.base import Sample
from glesam.errors import DataError

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp"})
MASK_SUFFIXES = frozenset({".png"})


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
                    f"expected a folder {self.root / part}, found none; lay the set out as images/NAME.jpg + "
                    f"masks/NAME.png"
                )
        self._images = files_by_stem(self.root / "images", IMAGE_SUFFIXES)
        self._masks = files_by_stem(self.root / "masks", MASK_SUFFIXES)
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

    def fingerprint(self, index: int, digests: Digests) -> str:
        """Digest of a sample's two files; see `FileBacked`."""
        name = self._names[index]
        return digests.joint([self._images[name], self._masks[name]])

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

    OpenCV, since data sets are read by the thousand; users' photos go through `glesam.images`, which knows more
    formats.

    Raises:
        DataError: the file cannot be decoded, or is cut short.
    """
    image = None if _is_cut_jpeg(path) else cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise DataError(f"expected a readable picture, got {path} that cannot be decoded; replace or remove it")
    return np.ascontiguousarray(image[..., ::-1])


def read_mask(path: Path) -> npt.NDArray[np.int32]:
    """Read an 8- or 16-bit PNG of instance ids; 0/255 pictures become ids 0/1.

    A file of 8 bits whose only values are 0 and 255 is a binary mask drawn for the eye, not object number 255. A
    palette picture holds its ids as palette entries, its colours are for the eye only. In a colour picture each colour
    is one object and black is the background.

    Raises:
        DataError: the file cannot be decoded.
    """
    mask: npt.NDArray[Any] | None = _palette_entries(path)
    if mask is None:
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if mask is None:
        raise DataError(f"expected a readable mask, got {path} that cannot be decoded; replace or remove it")
    if mask.ndim == 3:
        mask = _colours_to_ids(mask)
    ids = mask.astype(np.int32)
    return np.minimum(ids, 1) if mask.dtype == np.uint8 and set(np.unique(ids)) <= {0, 255} else ids


def files_by_stem(folder: Path, suffixes: frozenset[str]) -> dict[str, Path]:
    """Map file stems to the files of the given suffixes in `folder`; hidden files are left out.

    Raises:
        DataError: the folder cannot be read, or two files share a stem.
    """
    found: dict[str, Path] = {}
    try:
        paths = sorted(folder.iterdir())
    except OSError as error:
        raise DataError(
            f"expected a readable folder {folder}, got '{error.strerror}'; check its name and rights"
        ) from error
    for path in paths:
        if path.suffix.lower() not in suffixes or path.name.startswith("."):
            continue
        if path.stem in found:
            raise DataError(
                f"expected one file for each name in {folder}, got {found[path.stem].name} and {path.name}; rename one"
            )
        found[path.stem] = path
    return found


def _is_cut_jpeg(path: Path) -> bool:
    """Whether a JPEG lacks the end marker after its last start of scan; OpenCV 4 fills the rest with grey, silently."""
    if path.suffix.lower() not in {".jpg", ".jpeg"} or not path.is_file():
        return False
    content = path.read_bytes()
    return content.startswith(b"\xff\xd8") and content.rfind(b"\xff\xd9") < content.rfind(b"\xff\xda")


def _palette_entries(path: Path) -> npt.NDArray[np.uint8] | None:
    """The entry numbers of a palette picture, `(H, W)`; None for any other kind. OpenCV gives only the colours."""
    try:
        with Image.open(path) as picture:
            return np.asarray(picture, dtype=np.uint8) if picture.mode == "P" else None
    # Pillow's ways to say that a PNG is broken, or larger than it opens: the caller tries it and reports it.
    except (OSError, SyntaxError, Image.DecompressionBombError):
        return None


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


def _listing(suffixes: frozenset[str]) -> str:
    """Suffixes as text, for messages."""
    return ", ".join(sorted(suffixes))
