"""Reader of a built LQSeg set: one of `clear/`, `lq1/`, `lq2/`, `lq3/` with `masks/`."""

from __future__ import annotations

import re
from pathlib import Path

from glesam.data.build.manifest import FILE_NAME
from glesam.data.readers.folder import IMAGE_SUFFIXES, MASK_SUFFIXES, files_by_stem, read_mask
from glesam.data.readers.layout import Layout, require
from glesam.data.readers.pairs import PairDataset
from glesam.errors import DataError

TITLE = "LQSeg"
STRUCTURE = "clear/NAME.png + lq1/NAME.png + lq2/NAME.png + lq3/NAME.png + masks/NAME.png + manifest.json"
HOME = "'glesam data build', which makes it from another data set (Guo et al., CVPR 2025)"
CLEAR = "clear"


class BuiltDataset(PairDataset):
    """One level of a set that `glesam data build` made (the LQSeg recipe of Guo et al., CVPR 2025).

    Args:
        root: the set's folder, or one of its levels' folders (`OUT/lq2`).
        name: name of the set in tables; `<folder>-<level>` when not given.
        split: level: `clear`, `lq1`, `lq2` or `lq3`; `clear` when neither this nor `root` says otherwise.

    Raises:
        DataError: the level was not built, or images or masks are missing.
    """

    def __init__(self, root: str | Path, name: str | None = None, split: str | None = None) -> None:
        root = Path(root)
        if is_level(root.name) and not (root / FILE_NAME).is_file():
            root, split = root.parent, split or root.name
        self.level = split or CLEAR
        if not is_level(self.level) or not (root / self.level).is_dir():
            built = (
                ", ".join(sorted(p.name for p in root.iterdir() if is_level(p.name))) if root.is_dir() else "nothing"
            )
            raise DataError(
                f"expected the level {self.level!r} in {root}, found {built}; build it or name one of these"
            )
        images = files_by_stem(root / self.level, IMAGE_SUFFIXES)
        masks = files_by_stem(require(root, "masks", TITLE, STRUCTURE, HOME), MASK_SUFFIXES)
        super().__init__(name or f"{root.name}-{self.level}", images, masks, read_mask, HOME)


def is_level(name: str) -> bool:
    """Whether a folder's name is that of a level."""
    return re.fullmatch(rf"{CLEAR}|lq\d", name) is not None


def _recognise(root: Path) -> bool:
    """Whether this is the set's folder or one of its levels."""
    return any((folder / FILE_NAME).is_file() and (folder / CLEAR).is_dir() for folder in _places(root))


def _places(root: Path) -> list[Path]:
    """Where the manifest of `root` may be."""
    return [root, root.parent] if is_level(root.name) else [root]


LAYOUT = Layout("lqseg", TITLE, STRUCTURE, HOME, (CLEAR, "masks", FILE_NAME), BuiltDataset, _recognise)
