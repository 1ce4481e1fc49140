"""Reader of ACDC, driving in fog, rain, snow and at night: one condition, or all of them, of one split."""

from __future__ import annotations

from pathlib import Path

from glesam.data.readers.layout import Layout, require
from glesam.data.readers.pairs import PairDataset
from glesam.data.readers.semantic import read_regions
from glesam.errors import DataError

TITLE = "ACDC"
STRUCTURE = (
    "rgb_anon/CONDITION/SPLIT/SEQUENCE/NAME_rgb_anon.png + gt/CONDITION/SPLIT/SEQUENCE/NAME_gt_labelTrainIds.png"
)
HOME = "acdc.vision.ee.ethz.ch (Sakaridis et al., ICCV 2021; account needed), archives rgb_anon and gt"
CONDITIONS = ("fog", "night", "rain", "snow")
SPLITS = ("train", "val")
_IMAGE, _MASK = "_rgb_anon.png", "_gt_labelTrainIds.png"


class AcdcDataset(PairDataset):
    """Street scenes in bad conditions with semantic labels; each patch of a class is an object.

    Args:
        root: folder that holds `rgb_anon` and `gt`.
        name: name of the set in tables.
        split: `train` or `val`, a condition, or both as `night/val`; all conditions of `val` when not given.

    Raises:
        DataError: the split is unknown, or folders, images or labels are missing.
    """

    def __init__(self, root: str | Path, name: str | None = None, split: str | None = None) -> None:
        condition, part = _split(split)
        wanted = conditions(root) if condition is None else (condition,)
        images: dict[str, Path] = {}
        masks: dict[str, Path] = {}
        for one in wanted:
            folders = (require(Path(root), f"{top}/{one}/{part}", TITLE, STRUCTURE, HOME) for top in ("rgb_anon", "gt"))
            for found, folder, ending in zip((images, masks), folders, (_IMAGE, _MASK), strict=True):
                found |= {f"{one}__{p.name.removesuffix(ending)}": p for p in sorted(folder.rglob(f"*{ending}"))}
        chosen = "acdc" if condition is None else f"acdc-{condition}"
        super().__init__(name or chosen, images, masks, read_regions, HOME)


def conditions(root: str | Path) -> tuple[str, ...]:
    """Conditions of which there are images.

    Raises:
        DataError: there is none.
    """
    found = tuple(one for one in CONDITIONS if (Path(root) / "rgb_anon" / one).is_dir())
    if not found:
        raise DataError(
            f"expected {', '.join(CONDITIONS)} in {Path(root) / 'rgb_anon'}, found none; get it from {HOME}"
        )
    return found


def _split(split: str | None) -> tuple[str | None, str]:
    """Condition, or None for all, and split."""
    words = [] if split is None else split.split("/")
    condition = next((word for word in words if word in CONDITIONS), None)
    part = next((word for word in words if word in SPLITS), "val")
    strangers = [word for word in words if word not in (*CONDITIONS, *SPLITS)]
    alike = [word for word in words if word in CONDITIONS], [word for word in words if word in SPLITS]
    if strangers or max(map(len, alike)) > 1:
        raise DataError(
            f"expected a split of {TITLE} such as val, night or night/val, got {split!r}; conditions are "
            f"{', '.join(CONDITIONS)}, splits {' and '.join(SPLITS)}"
        )
    return condition, part


LAYOUT = Layout("acdc", TITLE, STRUCTURE, HOME, ("rgb_anon", "gt"), AcdcDataset, conditions=conditions, splits=SPLITS)
