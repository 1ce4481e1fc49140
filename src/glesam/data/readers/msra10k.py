"""Reader of MSRA10K: `Imgs/NAME.jpg` with the mask `Imgs/NAME.png` beside it."""

from __future__ import annotations

from pathlib import Path

from glesam.data.readers.folder import files_by_stem
from glesam.data.readers.layout import Layout, require, without_splits
from glesam.data.readers.pairs import PairDataset, read_binary_mask

TITLE = "MSRA10K"
STRUCTURE = "Imgs/NAME.jpg + Imgs/NAME.png"
HOME = (
    "the authors' page of 'Global Contrast based Salient Region Detection' (Cheng et al., TPAMI 2015; Nankai "
    "University), archive MSRA10K_Imgs_GT"
)


class Msra10kDataset(PairDataset):
    """10,000 images with one salient object each (Cheng et al., TPAMI 2015).

    Args:
        root: folder that holds `Imgs`.
        name: name of the set in tables.

    Raises:
        DataError: the folder, images or masks are missing.
    """

    def __init__(self, root: str | Path, name: str | None = None) -> None:
        folder = require(Path(root), "Imgs", TITLE, STRUCTURE, HOME)
        images = files_by_stem(folder, frozenset({".jpg"}))
        super().__init__(name or "msra10k", images, files_by_stem(folder, frozenset({".png"})), read_binary_mask, HOME)


LAYOUT = Layout("msra10k", TITLE, STRUCTURE, HOME, ("Imgs",), without_splits(Msra10kDataset, TITLE))
