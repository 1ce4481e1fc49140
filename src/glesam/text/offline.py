"""The offline vocabulary: where its words are in an image, from what the package brings.

A closed vocabulary. Nouns of WordNet above ImageNet's 1,000 classes come from the frozen classifier, cell by
cell; words that it lacks come from dense heads on its features. Whether a word is there at all is decided against
what the same evidence is in images without it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from glesam.errors import ModelError
from glesam.images.pixels import RGB
from glesam.models.registry import COMPACT_FOLDER
from glesam.text.base import WordMap, stretched, unknown_word
from glesam.text.classifier import CellClassifier, Cells
from glesam.text.heads import DenseHeads
from glesam.text.words import WordList, normalise, singulars
from glesam.weights.folders import load_module

WORDS_FOLDER = COMPACT_FOLDER.parent / "words"
"""The vocabulary that ships inside the package: the classifier, `words.json`, `none/` and `heads/`."""

SIDES = (320,)
"""Longer sides of the image, in pixels, at which words are looked for. A second look at another size costs most of the
time that words take, for little (`models/weights/words/README.md`)."""

NAME_SIDES = (256, 448)
"""The same where given masks get names: a whole impression and detail."""

TEMPERATURE = 2.0
"""Of the softmax over classes in a cell; cells are less sure than whole images, which the classifier was trained on."""

FIRM = 4.0
"""Spreads above the median of images without a word from which on the word counts as shown."""

HEAD_ALIASES = {
    "face": "head",
    "man": "person",
    "woman": "person",
    "child": "person",
    "boy": "person",
    "girl": "person",
    "human": "person",
    "pedestrian": "person",
    "bike": "bicycle",
    "motorbike": "motorcycle",
    "house": "building",
    "street": "road",
    "sidewalk": "pavement",
    "vegetation": "plant",
    "nucleus": "cell",
    "trash bag": "rubbish bag",
    "mug": "cup",
    "flame": "fire",
}
"""Other names for the words of the heads. The head "head" is hair, face and neck."""

HEADS_ONLY = ("person", "plant", "building", "window", "door", "road", "sky", "cell")
"""Words for which ImageNet's classes are a poor lot (its persons are ballplayers, grooms and scuba divers)."""

NONE_FAMILY = "word-none"


@dataclass(frozen=True)
class Seen:
    """What the vocabulary keeps of an image while it looks for words.

    Attributes:
        looks: the classifier's cells, at one size or several, the largest last.
        heads: `(K, h, w)` logits of the dense heads, at stride 16 of the largest size; empty without heads.
    """

    looks: tuple[Cells, ...]
    heads: Tensor

    @property
    def size(self) -> tuple[int, int]:
        """`(h, w)` of all maps: cells at stride 16 of the largest size."""
        middle = self.looks[-1].middle
        return middle.shape[1], middle.shape[2]


class NoneStatistics(nn.Module):
    """How much evidence for each group of classes images without it give: median and spread, `(G,)` each."""

    median: Tensor
    spread: Tensor

    def __init__(self, groups: int) -> None:
        super().__init__()
        self.register_buffer("median", torch.zeros(groups))
        self.register_buffer("spread", torch.ones(groups))


class OfflineWords:
    """Word maps from the classifier and the dense heads.

    Args:
        classifier: the frozen classifier.
        words: which words stand for which of its classes.
        none: evidence for each of `words.groups` in images without it.
        heads: words that the classes lack, or None.
    """

    name = "the offline vocabulary"

    def __init__(
        self, classifier: CellClassifier, words: WordList, none: NoneStatistics, heads: DenseHeads | None
    ) -> None:
        self.classifier, self.words, self.none, self.heads = classifier.eval(), words, none, heads

    @classmethod
    def from_pretrained(cls, folder: str | Path = WORDS_FOLDER) -> OfflineWords:
        """Load a vocabulary's folder.

        Raises:
            ModelError: a file is missing, corrupt, or does not fit.
        """
        folder = Path(folder)
        words = WordList(folder / "words.json")
        none = load_module(folder / "none", NONE_FAMILY, lambda o: NoneStatistics(o["groups"]))
        if len(none.median) != len(words.groups):
            raise ModelError(
                f"expected evidence for the {len(words.groups)} groups of classes of {folder / 'words.json'}, got "
                f"{len(none.median)}; run 'glesam train words' again"
            )
        heads = DenseHeads.from_pretrained(folder / "heads") if (folder / "heads").is_dir() else None
        return cls(CellClassifier.from_pretrained(folder), words, none, heads)

    @property
    def known(self) -> tuple[str, ...]:
        """All words, sorted."""
        return tuple(sorted({*self.words.words, *(self.heads.words if self.heads else ()), *HEAD_ALIASES}))

    def meaning(self, word: str) -> str:
        """What a known word stands for, in one line: a dense head, or the classes below it."""
        head, classes = self._head(word), self.words.classes(word)
        names = [self.words.class_name(i) for i in classes]
        shown = ", ".join(names[:6]) + (", ..." if len(names) > 6 else "")
        parts = [] if head is None or self.heads is None else [f"a head of its own, {self.heads.words[head]!r}"]
        if classes and (head is None or not self._head_only(word)):
            parts.append(f"{len(names)} {'class' if len(names) == 1 else 'classes'} of ImageNet ({shown})")
        return " and ".join(parts)

    def check(self, words: Sequence[str]) -> None:
        """Refuse unknown words; see `WordSource`."""
        for word in words:
            if not self.words.classes(word) and self._head(word) is None:
                raise unknown_word(word, self.known, self.name)

    def maps(self, image: RGB, words: Sequence[str]) -> list[WordMap]:
        """One map for each word; see `WordSource`.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            words: known words.

        Raises:
            PromptError: a word is unknown.
        """
        self.check(words)
        seen = self.look(image)
        return [self.word_map(seen, word) for word in words]

    @torch.inference_mode()
    def look(self, image: RGB, sides: Sequence[int] = SIDES) -> Seen:
        """See an image once, for any number of words.

        Args:
            image: `(H, W, 3)` uint8 RGB.
            sides: pixels that its longer side gets, ascending.
        """
        looks = tuple(self.classifier.look(image, side) for side in sides)
        last = looks[-1]
        heads = torch.zeros(0, *last.middle.shape[1:]) if self.heads is None else self.heads.logits(last)
        return Seen(looks, heads)

    @torch.inference_mode()
    def word_map(self, seen: Seen, word: str) -> WordMap:
        """Where a known word is; one that both have is the mean of classifier and head, as sure as the surer one."""
        values, certainties = [], []
        classes, head = self.words.classes(word), self._head(word)
        if head is not None and self.heads is not None:
            logits = seen.heads[head]
            values.append(torch.sigmoid(logits))
            certainties.append((head_evidence(logits) - self.heads.median[head]) / self.heads.spread[head])
        if classes and not (head is not None and self._head_only(word)):
            found, group = class_map(seen, classes), self.words.groups[classes]
            values.append(torch.from_numpy(stretched(found.numpy())))
            evidence = class_evidence(seen, classes, found)
            certainties.append((evidence - self.none.median[group]) / self.none.spread[group])
        presence = torch.sigmoid(torch.stack(certainties).max() - FIRM)
        return WordMap(word, stretched(torch.stack(values).mean(dim=0).numpy()), float(presence))

    def _head_only(self, word: str) -> bool:
        """Whether the head alone is asked."""
        return any(HEAD_ALIASES.get(form, form) in HEADS_ONLY for form in singulars(normalise(word)))

    def _head(self, word: str) -> int | None:
        """Index of the head of a word, its plural or another name of it."""
        if self.heads is None:
            return None
        for form in singulars(normalise(word)):
            name = HEAD_ALIASES.get(form, form)
            if name in self.heads.words:
                return self.heads.words.index(name)
        return None


@functools.cache
def bundled() -> OfflineWords:
    """The vocabulary that ships inside the package; one for all who ask, since using it changes nothing in it."""
    return OfflineWords.from_pretrained()


def log_odds(logits: Tensor, classes: Sequence[int], temperature: float = 1.0) -> Tensor:
    """Log-odds of a group of classes against all others, by softmax over the C classes.

    Args:
        logits: `(C, ...)`.
        classes: the group, neither none nor all.
        temperature: that logits are divided by.

    Returns:
        `(...)`: `log(p / (1 - p))` where p is the group's probability.
    """
    inside = torch.zeros(len(logits), dtype=torch.bool)
    inside[list(classes)] = True
    scaled = logits / temperature
    return torch.logsumexp(scaled[inside], dim=0) - torch.logsumexp(scaled[~inside], dim=0)


def class_map(seen: Seen, classes: Sequence[int]) -> Tensor:
    """Mean over the sizes of a group's log-odds in each cell, `(h, w)`: contrast against all other classes."""
    maps = [log_odds(cells.logits, classes, TEMPERATURE) for cells in seen.looks]
    resized = [F.interpolate(m[None, None], seen.size, mode="bilinear", align_corners=False)[0, 0] for m in maps]
    return torch.stack(resized).mean(dim=0)


def class_evidence(seen: Seen, classes: Sequence[int], found: Tensor | None = None) -> Tensor:
    """How much an image speaks for a group: log-odds of the whole image plus the largest of its cells.

    Args:
        seen: the image.
        classes: the group.
        found: `class_map` of both, where it was made before.
    """
    values = class_map(seen, classes) if found is None else found
    return log_odds(seen.looks[0].logits.mean(dim=(1, 2)), classes) + values.max()


def head_evidence(logits: Tensor) -> Tensor:
    """The largest logit `(...)` of maps `(..., h, w)` after a mean over 3 x 3 cells: a lone cell is no object."""
    maps = logits.reshape(1, -1, *logits.shape[-2:])
    smooth = F.avg_pool2d(maps, 3, 1, 1, count_include_pad=False)
    return smooth.amax(dim=(-2, -1)).reshape(logits.shape[:-2])
