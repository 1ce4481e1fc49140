"""Reader of HQSeg-44K, the union of six fine-mask sets that HQ-SAM trains on, in its authors' folder tree."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from glesam.data.readers.folder import files_by_stem
from glesam.data.readers.layout import Layout, pick_split
from glesam.data.readers.pairs import PairDataset, flat_name, read_binary_mask
from glesam.errors import DataError

TITLE = "HQSeg-44K"
STRUCTURE = (
    "DIS5K/DIS-TR/{im,gt}, thin_object_detection/ThinObject5K/{images_train,masks_train}, and "
    "cascade_psp/{fss_all,DUTS-TR,DUTS-TE,ecssd,MSRA_10K} with NAME.jpg + NAME.png"
)
HOME = (
    "the authors' repository of 'Segment Anything in High Quality' (Ke et al., NeurIPS 2023; SysCV/sam-hq), page on "
    "training"
)


class Subset(NamedTuple):
    """One of the joined sets: its folder, and where in it images and masks are (`.` for beside each other)."""

    folder: str
    images: str
    masks: str


TRAIN = {
    "dis5k-tr": Subset("DIS5K/DIS-TR", "im", "gt"),
    "thinobject5k-tr": Subset("thin_object_detection/ThinObject5K", "images_train", "masks_train"),
    "fss": Subset("cascade_psp/fss_all", ".", "."),
    "duts-tr": Subset("cascade_psp/DUTS-TR", ".", "."),
    "duts-te": Subset("cascade_psp/DUTS-TE", ".", "."),
    "ecssd": Subset("cascade_psp/ecssd", ".", "."),
    "msra10k": Subset("cascade_psp/MSRA_10K", ".", "."),
}
VALIDATION = {
    "dis5k-vd": Subset("DIS5K/DIS-VD", "im", "gt"),
    "coift": Subset("thin_object_detection/COIFT", "images", "masks"),
    "hrsod": Subset("thin_object_detection/HRSOD", "images", "masks_max255"),
    "thinobject5k-te": Subset("thin_object_detection/ThinObject5K", "images_test", "masks_test"),
}
# Subsets that keep images and masks beside each other are also met with these two folders.
_SEPARATE = ("im", "gt")


class HqSeg44kDataset(PairDataset):
    """44,320 images with fine masks of one object each (Ke et al., NeurIPS 2023); names are `<subset>__<file stem>`.

    Args:
        root: folder that holds `DIS5K`, `thin_object_detection` and `cascade_psp`.
        name: name of the set in tables.
        split: `train` (all seven training folders, the default), `validation` (all four), or one subset, such as `fss`.

    Raises:
        DataError: a subset of the split, or images or masks in it, are missing.
    """

    def __init__(self, root: str | Path, name: str | None = None, split: str | None = None) -> None:
        subsets = _subsets_of(split or "train")
        images: dict[str, Path] = {}
        masks: dict[str, Path] = {}
        for key, subset in subsets.items():
            image_folder, mask_folder = _folders_of(Path(root), key, subset)
            images |= _named(key, files_by_stem(image_folder, frozenset({".jpg"})))
            masks |= _named(key, files_by_stem(mask_folder, frozenset({".png"})))
        super().__init__(name or f"hqseg44k-{split or 'train'}", images, masks, read_binary_mask, HOME)


def _subsets_of(split: str) -> dict[str, Subset]:
    groups = {"train": TRAIN, "validation": VALIDATION}
    every = TRAIN | VALIDATION
    pick_split(split, [*groups, *every], TITLE)
    return groups.get(split) or {split: every[split]}


def _folders_of(root: Path, key: str, subset: Subset) -> tuple[Path, Path]:
    """Folders of a subset's images and masks."""
    folder = root / subset.folder
    choices = [(subset.images, subset.masks)]
    if subset.images == ".":
        choices.insert(0, _SEPARATE)
    for images, masks in choices:
        if (folder / images).is_dir() and (folder / masks).is_dir():
            return folder / images, folder / masks
    raise DataError(
        f"expected {folder / subset.images} and {folder / subset.masks} (subset {key} of {TITLE}), found none; get it "
        f"from {HOME}, or name one subset that you have with split= (on the command line --split, or DIR@SPLIT)"
    )


def _named(key: str, files: dict[str, Path]) -> dict[str, Path]:
    """Put the subset's key before each name, as stems repeat between subsets."""
    return {flat_name(f"{key}/{stem}"): path for stem, path in files.items()}


def _recognise(root: Path) -> bool:
    """Whether any of the three top folders holds a subset."""
    return any((root / subset.folder).is_dir() for subset in (TRAIN | VALIDATION).values())


LAYOUT = Layout(
    "hqseg44k", TITLE, STRUCTURE, HOME, ("DIS5K", "thin_object_detection", "cascade_psp"), HqSeg44kDataset, _recognise
)
