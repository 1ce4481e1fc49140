"""Reader of ECSSD: `images/NAME.jpg` with `ground_truth_mask/NAME.png`."""

from __future__ import annotations

from pathlib import Path

from glesam.data.readers.folder import files_by_stem
from glesam.data.readers.layout import Layout, require, without_splits
from glesam.data.readers.pairs import PairDataset, read_binary_mask

TITLE = "ECSSD"
STRUCTURE = "images/NAME.jpg + ground_truth_mask/NAME.png"
HOME = (
    "the authors' page of 'Hierarchical Image Saliency Detection on Extended CSSD' (Shi et al., TPAMI 2016; CUHK), "
    "archives images and ground_truth_mask"
)


class EcssdDataset(PairDataset):
    """1,000 images with one salient object each (Shi et al., TPAMI 2016); unseen in the paper's training.

    Args:
        root: folder that holds `images` and `ground_truth_mask`.
        name: name of the set in tables.

    Raises:
        DataError: a folder, images or masks are missing.
    """

    def __init__(self, root: str | Path, name: str | None = None) -> None:
        images = files_by_stem(require(Path(root), "images", TITLE, STRUCTURE, HOME), frozenset({".jpg"}))
        folder = require(Path(root), "ground_truth_mask", TITLE, STRUCTURE, HOME)
        super().__init__(name or "ecssd", images, files_by_stem(folder, frozenset({".png"})), read_binary_mask, HOME)


LAYOUT = Layout(
    "ecssd",
    TITLE,
    STRUCTURE,
    HOME,
    ("images", "ground_truth_mask"),
    without_splits(EcssdDataset, TITLE),
)
