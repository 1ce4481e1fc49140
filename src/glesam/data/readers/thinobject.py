"""Reader of ThinObject-5K: `images/NAME.jpg`, `masks/NAME.png`, and `list/{train,val,test}.txt`."""

from __future__ import annotations

from pathlib import Path

from glesam.data.readers.folder import files_by_stem
from glesam.data.readers.layout import Layout, pick_split, require
from glesam.data.readers.pairs import PairDataset, read_binary_mask
from glesam.errors import DataError

TITLE = "ThinObject-5K"
STRUCTURE = "images/NAME.jpg + masks/NAME.png + list/test.txt"
HOME = (
    "the authors' page of 'Deep Interactive Thin Object Selection' (Liew et al., WACV 2021; repository "
    "thin-object-selection), archive ThinObject5K"
)
SPLITS = ("train", "val", "test")


class ThinObjectDataset(PairDataset):
    """5,748 images of one thin object each, pasted on backgrounds (Liew et al., WACV 2021); masks have soft edges.

    Args:
        root: folder that holds `images`, `masks` and `list`; or one of its list files, such as `list/test.txt`.
        name: name of the set in tables.
        split: `train`, `val` or `test`; all images when not given.

    Raises:
        DataError: folders, images, masks or the split's list are missing.
    """

    def __init__(self, root: str | Path, name: str | None = None, split: str | None = None) -> None:
        root = Path(root)
        if root.suffix == ".txt":
            root, split = root.parent.parent, root.stem
        images = files_by_stem(require(root, "images", TITLE, STRUCTURE, HOME), frozenset({".jpg"}))
        masks = files_by_stem(require(root, "masks", TITLE, STRUCTURE, HOME), frozenset({".png"}))
        if split is not None:
            wanted = _listed(require(root, f"list/{pick_split(split, SPLITS, TITLE)}.txt", TITLE, STRUCTURE, HOME))
            images = {stem: _present(images, stem, root, split) for stem in wanted}
        super().__init__(
            name or f"thinobject5k{'-' if split else ''}{split or ''}", images, masks, read_binary_mask, HOME
        )


def _listed(path: Path) -> list[str]:
    """Stems in a list file, one file name a line."""
    return [Path(line.strip()).stem for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def _present(images: dict[str, Path], stem: str, root: Path, split: str) -> Path:
    """The image of a listed stem."""
    if stem not in images:
        raise DataError(
            f"expected {root / 'images' / stem}.jpg, which list/{split}.txt names, found none; get it from {HOME}"
        )
    return images[stem]


def _recognise(root: Path) -> bool:
    """Whether this is the folder, or a list file in it."""
    folder = root.parent.parent if root.suffix == ".txt" else root
    has_list = any((folder / "list" / f"{split}.txt").is_file() for split in SPLITS)
    return has_list and (folder / "images").is_dir() and (folder / "masks").is_dir()


LAYOUT = Layout("thinobject", TITLE, STRUCTURE, HOME, ("images", "masks", "list"), ThinObjectDataset, _recognise)
