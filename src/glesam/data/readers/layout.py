"""How a reader describes its data set to the registry: what it looks like on disk, and where to get it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from glesam.data.base import SegmentationDataset
from glesam.errors import DataError


@dataclass(frozen=True)
class Layout:
    """One known arrangement of files.

    Attributes:
        key: name on the command line and in code, such as `ecssd`.
        title: the data set's own name.
        structure: what its folder looks like, in one phrase.
        home: the paper, and where the authors give the files.
        parts: relative paths that are all there in such a folder (a first sign, also for near matches).
        reader: makes the data set: `reader(root, name, split)`.
        recognise: whether a path is of this layout; by default, whether all `parts` exist.
        conditions: splits that are measured apart, such as night and fog, where a set is made of such; else None.
        splits: of which training must name one, the first as a rule: without any, the set is what is measured on.
    """

    key: str
    title: str
    structure: str
    home: str
    parts: tuple[str, ...]
    reader: Callable[[Path, str | None, str | None], SegmentationDataset]
    recognise: Callable[[Path], bool] | None = None
    conditions: Callable[[Path], Sequence[str]] | None = None
    splits: tuple[str, ...] = ()

    def matches(self, root: Path) -> bool:
        """Whether `root` looks like this layout."""
        if self.recognise is not None:
            return self.recognise(root)
        return all((root / part).exists() for part in self.parts)


def require(root: Path, part: str, title: str, structure: str, home: str) -> Path:
    """Give `root / part`.

    Raises:
        DataError: it is not there; the message says what the layout is and where to get the data set.
    """
    path = root / part
    if not path.exists():
        raise DataError(f"expected {path} ({title} is laid out as {structure}), found none; get it from {home}")
    return path


def only(options: Sequence[Any], what: str, where: Path) -> Any:
    """Give the one element of `options`.

    Raises:
        DataError: there is none, or more than one, so that the choice is the user's.
    """
    if len(options) != 1:
        found = ", ".join(str(option) for option in options) or "none"
        raise DataError(
            f"expected one {what} in {where}, found {found}; name one with split= (on the command line --split, or "
            "DIR@SPLIT)"
        )
    return options[0]


def pick_split(split: str, known: Sequence[str], title: str) -> str:
    """Give `split` when it is known.

    Raises:
        DataError: it is not.
    """
    if split not in known:
        raise DataError(f"expected a split of {title} among {', '.join(known)}, got {split!r}; name one of them")
    return split


def without_splits(
    reader: Callable[[Path, str | None], SegmentationDataset], title: str
) -> Callable[[Path, str | None, str | None], SegmentationDataset]:
    """Make a `reader(root, name, split)` of a data set that comes in one piece.

    Raises (when called):
        DataError: a split is asked for.
    """

    def read(root: Path, name: str | None, split: str | None) -> SegmentationDataset:
        if split is not None:
            raise DataError(f"expected no split, as {title} comes in one piece, got {split!r}; leave it out")
        return reader(root, name)

    return read
