"""Cells of images with the words that they are known to show, and not to show: what dense heads learn from.

Sets name only some of what their images hold. So each word of each cell is 1 (shown), 0 (known not to be shown) or -1
(not known, left out of the loss).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt
from pydantic import BaseModel, ConfigDict, Field

from glesam.common.documents import checked, expect_object, read_json
from glesam.data.base import Sample
from glesam.data.readers.folder import FolderDataset
from glesam.errors import ConfigError

LABELS_FILE = "labels.json"
ANY = "*"
KNOWN_SHARE = 0.6
"""Share of a cell that a word's mask must cover to count as shown; below a twentieth the cell counts as without it."""

Labels = npt.NDArray[np.int8]


class NamedSets(BaseModel):
    """Which objects of which sets show which words.

    Attributes:
        words: word to set to labels of its objects; `*` stands for all objects.
        rare: words that sets which do not name them are taken to be without.
        complete: set to words that are marked wherever they are in its images.
        may_hold: set of a narrow subject to words that its images may show unmarked; they show no others.
        overlap: pairs of words that one place may show both.
        none: sets of any images, which show no rare words.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    words: dict[str, dict[str, list[str]]]
    rare: list[str] = Field(default_factory=list)
    complete: dict[str, list[str]] = Field(default_factory=dict)
    may_hold: dict[str, list[str]] = Field(default_factory=dict)
    overlap: list[tuple[str, str]] = Field(default_factory=list)
    none: list[str] = Field(default_factory=list)

    @classmethod
    def read(cls, path: str | Path) -> NamedSets:
        """Read from a JSON file.

        Raises:
            ConfigError: the file is missing, no JSON, or holds something else.
        """
        content = read_json(path, ConfigError, what="words and sets, as configs/words.json has them,")
        return checked(cls, content, str(path), ConfigError)

    @property
    def sets(self) -> tuple[str, ...]:
        """Names of all sets, sorted."""
        return tuple(sorted({name for by_set in self.words.values() for name in by_set} | set(self.none)))

    def known_absent(self, name: str) -> npt.NDArray[np.bool_]:
        """`(K,)`: words that a set's images do not show where they are not marked."""
        complete, closed, rare = self.complete.get(name, []), name in self.may_hold, set(self.rare)
        held = self.may_hold.get(name, [])
        return np.array(
            [
                word in complete or (closed and word not in held) or (word in rare and name not in by_set)
                for word, by_set in self.words.items()
            ]
        )


@dataclass(frozen=True)
class Named:
    """An image and what is known of it.

    Attributes:
        sample: the image and its objects.
        shown: `(K, H, W)` bool, where each word is marked.
        absent: `(K,)` bool, words that are not shown where they are not marked.
    """

    sample: Sample
    shown: npt.NDArray[np.bool_]
    absent: npt.NDArray[np.bool_]


class NamedImages:
    """The images of one set.

    Args:
        folder: the set's folder: `images`, `masks`, and `labels.json` (`{name: {id: label}}`) unless all labels are
            `*`.
        config: which labels show which words.

    Raises:
        DataError: files are missing.
    """

    def __init__(self, folder: Path, config: NamedSets) -> None:
        self.data, self._config = FolderDataset(folder), config
        self._wanted = [set(by_set.get(folder.name, ())) for by_set in config.words.values()]
        named = any(wanted - {ANY} for wanted in self._wanted)
        self._labels: dict[str, dict[str, str]] = read_labels(folder / LABELS_FILE) if named else {}
        self._absent = config.known_absent(folder.name)

    def read(self, names: Sequence[str]) -> Iterator[Named]:
        """Read images one after the other."""
        places = {name: i for i, name in enumerate(self.data.names)}
        for name in names:
            sample = self.data[places[name]]
            ids = [self._ids(name, sample, wanted) for wanted in self._wanted]
            yield Named(sample, np.stack([np.isin(sample.mask, found) for found in ids]), self._absent)

    def _ids(self, name: str, sample: Sample, wanted: set[str]) -> list[int]:
        """Ids of the objects with one of the labels."""
        if ANY in wanted:
            return [int(i) for i in np.unique(sample.mask) if i]
        return [int(i) for i, label in self._labels.get(name, {}).items() if label in wanted]


def cell_labels(named: Named, size: tuple[int, int], overlap: npt.NDArray[np.bool_]) -> Labels:
    """What each cell shows.

    Args:
        named: an image.
        size: `(h, w)` cells.
        overlap: `(K, K)` bool, words that one place may show both.

    Returns:
        `(K, h, w)` int8: 1 shown, 0 not shown, -1 not known.
    """
    import cv2

    resized = [cv2.resize(m.astype(np.float32), size[::-1], interpolation=cv2.INTER_AREA) for m in named.shown]
    shares = np.stack(resized)
    shown = shares >= KNOWN_SHARE
    # What is surely one word is not another that never shares its place.
    excluded = np.einsum("jk,jhw->khw", ~overlap, shown) > 0
    free = shares < 0.05
    labels = np.where(free & (named.absent[:, None, None] | excluded), 0, -1)
    return np.where(shown, 1, labels).astype(np.int8)


def overlaps(config: NamedSets) -> npt.NDArray[np.bool_]:
    """`(K, K)` bool table of the pairs that may share a place; each word with itself."""
    place = {word: i for i, word in enumerate(config.words)}
    table = np.eye(len(place), dtype=bool)
    for first, second in config.overlap:
        if not {first, second} <= place.keys():
            raise ConfigError(f"expected pairs of known words in overlap, got {first!r} and {second!r}; add the word")
        table[place[first], place[second]] = table[place[second], place[first]] = True
    return table


def read_labels(path: Path) -> dict[str, dict[str, str]]:
    """Names of the objects of a set's images, `{name: {id: label}}`.

    Raises:
        DataError: the file is missing or holds something else.
    """
    content = expect_object(read_json(path, what="labels as {name: {id: label}}"), str(path))
    return {name: expect_object(ids, f"{path}: {name}") for name, ids in content.items()}
