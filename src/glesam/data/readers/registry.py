"""Opens a data set of any known layout, given by name or recognised from what the folder holds.

To add a layout, write `glesam/data/readers/<name>.py` with a `LAYOUT` and add it to `LAYOUTS`.
"""

from __future__ import annotations

import difflib
from pathlib import Path

from glesam.common.messages import hint
from glesam.data.base import SegmentationDataset
from glesam.data.readers import acdc, bdd100k, built, coco, duts, ecssd, hqseg44k, lvis, msra10k, thinobject
from glesam.data.readers.folder import FolderDataset
from glesam.data.readers.layout import Layout, without_splits
from glesam.errors import ConfigError, DataError

FOLDER = Layout(
    "folder",
    "plain folder",
    "images/NAME.jpg + masks/NAME.png",
    "your own images and masks",
    ("images", "masks"),
    without_splits(FolderDataset, "a plain folder"),
)

# In the order in which they are tried: those with more signs of their own come first.
LAYOUTS: dict[str, Layout] = {
    layout.key: layout
    for layout in (
        built.LAYOUT,
        thinobject.LAYOUT,
        FOLDER,
        lvis.LAYOUT,
        coco.LAYOUT,
        bdd100k.LAYOUT,
        bdd100k.SEMANTIC_LAYOUT,
        acdc.LAYOUT,
        hqseg44k.LAYOUT,
        msra10k.LAYOUT,
        ecssd.LAYOUT,
        duts.LAYOUT,
    )
}


def open_dataset(
    path: str | Path,
    layout: str | None = None,
    name: str | None = None,
    split: str | None = None,
    keep_void: bool = False,
) -> SegmentationDataset:
    """Open a data set.

    Args:
        path: its folder; for COCO and LVIS also the json, for ThinObject-5K a list file, for a built set a level's
            folder. `DIR@SPLIT` names folder and split in one.
        layout: key of `LAYOUTS`; recognised from the content when not given.
        name: name of the set in tables; the reader's own choice when not given.
        split: part of the set, where it has parts: `val2017` (COCO), `test` (ThinObject-5K), `TE` (DUTS), `val`
            (BDD-100K), `validation` or `fss` (HQSeg-44K), `lq2` (a built set).
        keep_void: plain folders only: take 255 in palette masks for an object (see `files.read_mask`).

    Raises:
        ConfigError: `keep_void` with another layout.
        DataError: nothing is there, the layout is unknown, or files of it are missing.
    """
    if split is None:
        path, split = place(path)
    path = Path(path)
    if not path.exists():
        raise DataError(f"expected a data set in {path}, found nothing there; check the path")
    chosen = _by_key(layout) if layout is not None else recognise(path)
    if keep_void:
        if chosen is not FOLDER:
            raise ConfigError(f"expected a plain folder for keep_void, got {chosen.title}; leave it out")
        return FolderDataset(path, name, keep_void=True)
    return chosen.reader(path, name, split)


def open_for_training(path: str | Path) -> SegmentationDataset:
    """Open a data set to train on; `path` is as for `open_dataset`.

    Raises:
        ConfigError: the set is one that is measured on where no split is named, and none is.
        DataError: see `open_dataset`.
    """
    folder, split = place(path)
    layout = recognise(folder) if folder.exists() else None
    if layout is not None and layout.splits and not set((split or "").split("/")) & set(layout.splits):
        raise ConfigError(
            f"expected a split of {layout.title} to train on, got {path}, which stands for what is measured on; name "
            f"one: {folder}@{'/'.join(part for part in (split, layout.splits[0]) if part)}"
        )
    return open_dataset(folder, None if layout is None else layout.key, split=split)


def place(path: str | Path) -> tuple[Path, str | None]:
    """Folder or file, and split, of `DIR@SPLIT`; the split is None where none is named.

    A path that exists is taken as it is, and so is one of which no part before an `@` exists.
    """
    folder, sign, split = str(path).rpartition("@")
    if sign and folder and split and not Path(path).exists() and Path(folder).exists():
        return Path(folder), split
    return Path(path), None


def recognise(path: Path) -> Layout:
    """Tell the layout of a data set from its content.

    Raises:
        DataError: it is none that is known; the message names the nearest and describes all.
    """
    for layout in LAYOUTS.values():
        if layout.matches(path):
            return layout
    nearest = max(LAYOUTS.values(), key=lambda layout: _likeness(path, layout))
    guess = ""
    if _likeness(path, nearest) > 0:
        lacking = [part for part in nearest.parts if not (path / part).exists()]
        guess = f" nearest is {nearest.key}, which lacks {', '.join(lacking)};"
    raise DataError(
        f"expected a known layout in {path}, found {_content(path)};{guess} known layouts: "
        + "; ".join(f"{layout.key} = {layout.structure}" for layout in LAYOUTS.values())
    )


def _by_key(key: str) -> Layout:
    if key not in LAYOUTS:
        cure = hint(key, LAYOUTS, "leave it out to have it recognised")
        raise DataError(f"expected a layout among {', '.join(LAYOUTS)}, got {key!r}; {cure}")
    return LAYOUTS[key]


def _likeness(path: Path, layout: Layout) -> float:
    """How much a folder looks like a layout: mean over its parts of 1 (there) or likeness to an entry if above 0.6."""
    entries = [entry.name for entry in path.iterdir()] if path.is_dir() else []
    total = 0.0
    for part in layout.parts:
        if (path / part).exists():
            total += 1.0
        elif near := difflib.get_close_matches(part, entries, n=1):  # its cutoff is 0.6
            total += difflib.SequenceMatcher(None, part, near[0]).ratio()
    return total / len(layout.parts)


def _content(path: Path) -> str:
    """The first few entries of a folder, for a message."""
    if not path.is_dir():
        return f"a file {path.suffix or 'without suffix'}"
    entries = sorted(entry.name + ("/" if entry.is_dir() else "") for entry in path.iterdir())
    return (
        ", ".join(entries[:5]) + (f" and {len(entries) - 5} more" if len(entries) > 5 else "") if entries else "nothing"
    )
