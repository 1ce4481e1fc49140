"""Reader of DUTS: `DUTS-TR/DUTS-TR-Image` with `DUTS-TR/DUTS-TR-Mask`, and the same with `TE`."""

from __future__ import annotations

from pathlib import Path

from glesam.data.readers.folder import files_by_stem
from glesam.data.readers.layout import Layout, only, pick_split, require
from glesam.data.readers.pairs import PairDataset, read_binary_mask

TITLE = "DUTS"
STRUCTURE = "DUTS-TR-Image/NAME.jpg + DUTS-TR-Mask/NAME.png, or the same with TE"
HOME = (
    "the authors' page of 'Learning to Detect Salient Objects with Image-level Supervision' (Wang et al., CVPR 2017), "
    "archives DUTS-TR and DUTS-TE"
)
SPLITS = ("TR", "TE")


class DutsDataset(PairDataset):
    """10,553 training and 5,019 test images with salient objects as one mask (Wang et al., CVPR 2017).

    Args:
        root: folder of one split (`DUTS-TR`), or the folder that holds the splits' folders.
        name: name of the set in tables.
        split: `TR` or `TE`; needed only when both are there.

    Raises:
        DataError: the split is not clear, or folders, images or masks are missing.
    """

    def __init__(self, root: str | Path, name: str | None = None, split: str | None = None) -> None:
        root = Path(root)
        wanted = [pick_split(split.upper(), SPLITS, TITLE)] if split else SPLITS
        found = {part: folder for part in wanted if (folder := _folder_of(root, part)) is not None}
        if not found:
            require(root, f"DUTS-{wanted[0]}-Image", TITLE, STRUCTURE, HOME)
        chosen = only(list(found), "split", root)
        images = files_by_stem(found[chosen] / f"DUTS-{chosen}-Image", frozenset({".jpg"}))
        masks = require(found[chosen], f"DUTS-{chosen}-Mask", TITLE, STRUCTURE, HOME)
        files = files_by_stem(masks, frozenset({".png"}))
        super().__init__(name or f"duts-{chosen.lower()}", images, files, read_binary_mask, HOME)


def _folder_of(root: Path, split: str) -> Path | None:
    """The folder that directly holds `DUTS-<split>-Image`, if any."""
    places = (root, root / f"DUTS-{split}")
    return next((place for place in places if (place / f"DUTS-{split}-Image").is_dir()), None)


def _recognise(root: Path) -> bool:
    """Whether any split of DUTS is here."""
    return any(_folder_of(root, split) is not None for split in SPLITS)


LAYOUT = Layout("duts", TITLE, STRUCTURE, HOME, ("DUTS-TR-Image", "DUTS-TR-Mask"), DutsDataset, _recognise)
