"""Reader of BDD-100K instance segmentation: `images/10k/val/NAME.jpg` with `labels/ins_seg/bitmasks/val/NAME.png`."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from glesam.common.arrays import Ids
from glesam.data.files import decode_pixels
from glesam.data.readers.folder import files_by_stem
from glesam.data.readers.layout import Layout, only, pick_split, require
from glesam.data.readers.pairs import PairDataset
from glesam.data.readers.semantic import read_regions
from glesam.errors import DataError

TITLE = "BDD-100K"
STRUCTURE = "images/10k/val/NAME.jpg + labels/ins_seg/bitmasks/val/NAME.png"
HOME = (
    "the BDD100K site of Berkeley DeepDrive (Yu et al., CVPR 2020; account needed), archives '10K Images' and "
    "'Instance Segmentation'"
)
SPLITS = ("train", "val")
_IGNORED, _CROWD = 1, 2


class Bdd100kDataset(PairDataset):
    """Street scenes with instance masks: 7,000 for training, 1,000 for validation (Yu et al., CVPR 2020).

    Args:
        root: folder that holds `images` and `labels`.
        name: name of the set in tables.
        split: `train` or `val`; needed only when the labels of both are there.

    Raises:
        DataError: the split is not clear, or folders, images or masks are missing.
    """

    def __init__(self, root: str | Path, name: str | None = None, split: str | None = None) -> None:
        chosen, images, masks = _files(Path(root), "labels/ins_seg/bitmasks", STRUCTURE, split)
        super().__init__(name or f"bdd100k-{chosen}", images, masks, read_bitmask, HOME)


def read_bitmask(path: Path) -> Ids:
    """Read a BDD-100K bitmask to `(H, W)` instance ids.

    The RGBA channels are: R category (0 = background), G attributes (bits 3 to 0: truncated, occluded, crowd, ignored),
    B and A the high and low byte of the instance id (the data set's documentation, section 'bitmask'). Crowd and
    ignored regions are no single objects and become background.

    Raises:
        DataError: the file is no 8-bit RGBA image.
    """
    bgra = decode_pixels(path)
    if bgra.ndim != 3 or bgra.shape[2] != 4 or bgra.dtype != np.uint8:
        kind = f"{bgra.dtype} of shape {bgra.shape}"
        raise DataError(
            f"expected an 8-bit RGBA bitmask in {path}, got {kind}; take it from ins_seg/bitmasks, not colormaps"
        )
    ids = bgra[..., 0].astype(np.int32) << 8 | bgra[..., 3]
    single = (bgra[..., 2] > 0) & (bgra[..., 1] & (_IGNORED | _CROWD) == 0)
    return np.where(single, ids, 0).astype(np.int32)


SEMANTIC_STRUCTURE = "images/10k/val/NAME.jpg + labels/sem_seg/masks/val/NAME.png"


class Bdd100kSemanticDataset(PairDataset):
    """The same images with semantic labels; each patch of a class is an object.

    Args:
        root: folder that holds `images` and `labels`.
        name: name of the set in tables.
        split: `train` or `val`; needed only when the labels of both are there.

    Raises:
        DataError: the split is not clear, or folders, images or labels are missing.
    """

    def __init__(self, root: str | Path, name: str | None = None, split: str | None = None) -> None:
        chosen, images, masks = _files(Path(root), "labels/sem_seg/masks", SEMANTIC_STRUCTURE, split)
        super().__init__(name or f"bdd100k-semantic-{chosen}", images, masks, read_regions, HOME)


def _files(root: Path, folder: str, structure: str, split: str | None) -> tuple[str, dict[str, Path], dict[str, Path]]:
    """The split, and by name the images and masks of one kind of labels."""
    labels = require(root, folder, TITLE, structure, HOME)
    known = [part for part in SPLITS if (labels / part).is_dir()]
    chosen = pick_split(split, SPLITS, TITLE) if split else only(known, "split", labels)
    masks = files_by_stem(require(labels, chosen, TITLE, structure, HOME), frozenset({".png"}))
    images = files_by_stem(require(root, f"images/10k/{chosen}", TITLE, structure, HOME), frozenset({".jpg"}))
    return chosen, images, masks


LAYOUT = Layout("bdd100k", TITLE, STRUCTURE, HOME, ("images/10k", "labels/ins_seg/bitmasks"), Bdd100kDataset)
SEMANTIC_LAYOUT = Layout(
    "bdd100k-semantic",
    "BDD-100K, semantic",
    SEMANTIC_STRUCTURE,
    HOME,
    ("images/10k", "labels/sem_seg/masks"),
    Bdd100kSemanticDataset,
)
