"""The words that the offline vocabulary knows: nouns of WordNet 3.0 above and for the 1,000 classes of ImageNet.

A word stands for all classes below it ("dog" for 118 breeds). WordNet: Fellbaum (ed.), MIT Press 1998; the classes of
ILSVRC 2012 are WordNet 3.0 noun synsets.
"""

from __future__ import annotations

import unicodedata
from functools import cached_property
from pathlib import Path
from typing import Any

from glesam.common.documents import read_json
from glesam.errors import ModelError

ALIASES: dict[str, tuple[str, ...]] = {
    "airplane": ("airliner", "warplane"),
    "aeroplane": ("airliner", "warplane"),
    "bag": ("backpack", "mailbag", "purse", "plastic bag"),
    "bike": ("bicycle-built-for-two", "mountain bike"),
    "boat": (
        *("canoe", "fireboat", "gondola", "lifeboat", "speedboat", "yawl", "catamaran", "trimaran", "schooner"),
        *("liner", "container ship"),
    ),
    "car": (
        *("ambulance", "beach wagon", "cab", "convertible", "jeep", "limousine", "minivan", "Model T", "racer"),
        "sports car",
    ),
    "cattle": ("ox",),
    "couch": ("studio couch",),
    "cow": ("ox",),
    "cup": ("coffee mug", "espresso", "cup"),
    "doughnut": ("bagel",),
    "fridge": ("refrigerator",),
    "glass": ("beer glass", "goblet"),
    "handbag": ("purse", "mailbag"),
    "keyboard": ("computer keyboard",),
    "motorbike": ("motor scooter", "moped"),
    "motorcycle": ("motor scooter", "moped"),
    "phone": ("cellular telephone", "dial telephone", "pay-phone"),
    "plane": ("airliner", "warplane"),
    "potted plant": ("pot",),
    "table": ("dining table", "desk", "pool table"),
    "train": ("bullet train", "electric locomotive", "steam locomotive", "passenger car", "freight car"),
    "tv": ("television", "monitor", "screen"),
    "wine glass": ("goblet", "red wine"),
}
"""Everyday words that are no noun above the classes, or are one in another sense (WordNet's "cup" there is a punch), by
the first names of the classes meant."""

_ENDINGS = (
    ("ses", "s"),
    ("xes", "x"),
    ("zes", "z"),
    ("ches", "ch"),
    ("shes", "sh"),
    ("men", "man"),
    ("ies", "y"),
    ("s", ""),
)
_IRREGULAR = {
    "people": "person",
    "mice": "mouse",
    "geese": "goose",
    "feet": "foot",
    "teeth": "tooth",
    "knives": "knife",
}
"""WordNet's rules of detachment for nouns (morphy(7WN))."""


class WordList:
    """Nouns and the classes that they stand for.

    Args:
        path: file that `benchmarks/word_list.py` writes.

    Raises:
        ModelError: the file is missing or no word list.
    """

    def __init__(self, path: Path) -> None:
        content = _read(path)
        self._synsets: list[list[Any]] = content["synsets"]
        self._classes: list[int] = content["classes"]

    def __len__(self) -> int:
        """Number of classes."""
        return len(self._classes)

    def __contains__(self, word: str) -> bool:
        """Whether a word is known, in singular or plural."""
        return bool(self.classes(word))

    @cached_property
    def words(self) -> tuple[str, ...]:
        """All words, sorted; without those that stand for every class, and so are everywhere."""
        return tuple(sorted(word for word in (*self._synsets_of, *ALIASES) if len(self._meant(word)) < len(self)))

    @cached_property
    def groups(self) -> dict[tuple[int, ...], int]:
        """All sets of classes that nouns stand for, each once, numbered in order: statistics are stored in it."""
        found = sorted({self._meant(word) for word in (*self._synsets_of, *ALIASES)})
        return {classes: number for number, classes in enumerate(found)}

    def class_name(self, index: int) -> str:
        """First name of a class, such as "Egyptian cat"."""
        return str(self._synsets[self._classes[index]][1][0])

    def classes(self, word: str) -> tuple[int, ...]:
        """Classes that a word stands for, in order; none if it is unknown, or stands for all.

        Case, spaces and a plural do not matter.
        """
        found = self._meant(word)
        return found if len(found) < len(self) else ()

    def _meant(self, word: str) -> tuple[int, ...]:
        """As `classes`, all of them too."""
        for form in singulars(normalise(word)):
            if form in ALIASES:
                return tuple(sorted(index for name in ALIASES[form] for index in self._classes_of.get(name, ())))
            found = {index for synset in self._synsets_of.get(form, ()) for index in self._below[synset]}
            if found:
                return tuple(sorted(found))
        return ()

    @cached_property
    def _classes_of(self) -> dict[str, list[int]]:
        """Classes by their first name."""
        found: dict[str, list[int]] = {}
        for index in range(len(self)):
            found.setdefault(self.class_name(index), []).append(index)
        return found

    @cached_property
    def _synsets_of(self) -> dict[str, list[int]]:
        """Synsets by noun, in lower case."""
        found: dict[str, list[int]] = {}
        for place, (_, nouns, _) in enumerate(self._synsets):
            for noun in nouns:
                found.setdefault(noun.lower(), []).append(place)
        return found

    @cached_property
    def _below(self) -> list[set[int]]:
        """Of each synset the classes that it is, or is above of."""
        found: list[set[int]] = [set() for _ in self._synsets]
        for index, leaf in enumerate(self._classes):
            waiting = [leaf]
            while waiting:
                place = waiting.pop()
                if index not in found[place]:
                    found[place].add(index)
                    waiting += self._synsets[place][2]
        return found


def normalise(word: str) -> str:
    """A word in lower case, with single spaces and without underscores, in Unicode's composed form (NFC)."""
    return " ".join(unicodedata.normalize("NFC", word).replace("_", " ").lower().split())


def singulars(word: str) -> list[str]:
    """What a word may be the plural of, the word itself first; rules as in WordNet's morphy."""
    forms = [word]
    if word in _IRREGULAR:
        forms.append(_IRREGULAR[word])
    forms += [word[: -len(end)] + single for end, single in _ENDINGS if word.endswith(end) and len(word) > len(end) + 1]
    return forms


def _read(path: Path) -> dict[str, Any]:
    """The file's content, once it is what the class goes by."""
    content = read_json(path, ModelError, what="a word list")
    if not isinstance(content, dict) or not {"classes", "synsets"} <= content.keys():
        raise ModelError(f"expected classes and synsets in {path}, got others; make it by benchmarks/word_list.py")
    synsets, classes = content["synsets"], content["classes"]
    if not (isinstance(synsets, list) and all(_is_synset(each, len(synsets)) for each in synsets)):
        raise ModelError(f"expected synsets as [id, nouns, synsets above] in {path}, got others; install glesam again")
    if not _are_places(classes, len(synsets)):
        raise ModelError(f"expected classes as numbers of synsets in {path}, got others; install glesam again")
    return content


def _is_synset(value: Any, count: int) -> bool:
    """Whether a value is `[id, nouns, synsets above]`, of a list of so many."""
    if not isinstance(value, list) or len(value) != 3 or not isinstance(value[1], list) or not value[1]:
        return False
    return all(isinstance(noun, str) for noun in value[1]) and _are_places(value[2], count)


def _are_places(values: Any, count: int) -> bool:
    """Whether a value is a list of numbers of synsets."""
    return isinstance(values, list) and all(type(place) is int and 0 <= place < count for place in values)
