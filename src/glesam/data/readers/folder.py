"""Reader of the plain layout: `<root>/images/<name>.<ext>` beside `<root>/masks/<name>.png`."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path

from glesam.common.fingerprints import Digests
from glesam.data.files import read_image, read_mask
from glesam.data.readers.pairs import PairDataset
from glesam.errors import DataError
from glesam.images.sources import SUFFIXES

__all__ = ["IMAGE_SUFFIXES", "MASK_SUFFIXES", "FolderDataset", "files_by_stem", "read_image", "read_mask"]

IMAGE_SUFFIXES = SUFFIXES
MASK_SUFFIXES = frozenset({".png"})
MASK_MARK = ".mask"
"""What `glesam segment` puts between the name of an image and `.png`."""


class FolderDataset(PairDataset):
    """Images in `images/`, masks of the same stem in `masks/` (PNG: ids 1..N, or 0/1, or 0/255; `NAME.mask.png` too).

    Args:
        root: folder that holds `images` and `masks`.
        name: name of the set in tables; the folder's name when not given.
        keep_void: whether the border that VOC's masks mark with 255 is an object; see `read_mask`.

    Raises:
        DataError: a folder is missing or empty, or an image has no mask.
    """

    def __init__(self, root: str | Path, name: str | None = None, keep_void: bool = False) -> None:
        self.root = Path(root)
        for part in ("images", "masks"):
            if not (self.root / part).is_dir():
                raise DataError(
                    f"expected a folder {self.root / part}, found none; lay the set out as images/NAME.jpg + "
                    f"masks/NAME.png"
                )
        images, masks = told_apart(
            files_by_stem(self.root / "images", IMAGE_SUFFIXES), files_by_stem(self.root / "masks", MASK_SUFFIXES)
        )
        if not images:
            raise DataError(f"expected images in {self.root / 'images'}, found none ({_listing(IMAGE_SUFFIXES)})")
        lacking = sorted(set(images) - set(masks))
        if lacking:
            raise DataError(
                f"expected a mask for each image in {self.root / 'masks'}, {len(lacking)} are missing, first "
                f"{lacking[0]}.png; add them or take the images away"
            )
        super().__init__(name or self.root.name, images, masks, partial(read_mask, keep_void=keep_void))
        self._keep_void = keep_void

    def fingerprint(self, index: int, digests: Digests) -> str:
        """Digest of a sample's two files, and whether 255 is an object in them; see `FileBacked`."""
        files = super().fingerprint(index, digests)
        # Only where it is kept, so that what was packed or built without stays valid.
        return f"{files} keep_void" if self._keep_void else files


def files_by_stem(folder: Path, suffixes: frozenset[str]) -> dict[str, Path]:
    """Map file stems to the files of the given suffixes in `folder`; hidden files, folders and pipes are left out.

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
        if path.suffix.lower() not in suffixes or path.name.startswith(".") or _is_no_file(path):
            continue
        if path.stem in found:
            raise DataError(
                f"expected one file for each name in {folder}, got {found[path.stem].name} and {path.name}; rename one"
            )
        found[path.stem] = path
    return found


def _is_no_file(path: Path) -> bool:
    """Whether it is something that is there and is no file; a broken link is told where it is read."""
    return os.path.exists(path) and not os.path.isfile(path)


def told_apart(images: dict[str, Path], masks: dict[str, Path]) -> tuple[dict[str, Path], dict[str, Path]]:
    """Images and masks by name, with `NAME.mask.png`, as `glesam segment` calls it, for what it is.

    Among the masks it is that of `NAME`; beside `NAME` among the images it is no image. Not where there is an image, or
    a mask, that is really called `NAME.mask`, and not in place of `NAME.png`.

    Args:
        images: files of `images/` by stem.
        masks: files of `masks/` by stem.
    """
    short = {name: name.removesuffix(MASK_MARK) for name in masks if name.endswith(MASK_MARK) and name not in images}
    known = {name: mask for name, mask in short.items() if mask in images and mask not in masks}
    beside = {
        name
        for name in images
        if name.endswith(MASK_MARK) and name not in masks and name.removesuffix(MASK_MARK) in images
    }
    return (
        {name: path for name, path in images.items() if name not in beside},
        {known.get(name, name): path for name, path in masks.items()},
    )


def _listing(suffixes: frozenset[str]) -> str:
    """Suffixes as text, for messages."""
    return ", ".join(sorted(suffixes))
