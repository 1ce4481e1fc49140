"""What every source of word maps offers, offline vocabulary and CLIP folders alike."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from glesam.common.arrays import Float
from glesam.common.messages import hint
from glesam.errors import PromptError
from glesam.images.pixels import RGB

MOST_WORDS = 200
"""Words of one call at most: each costs a map and decoding its prompts."""

_SPLIT = ";"


@dataclass(frozen=True, eq=False)
class WordMap:
    """Where a word is in an image.

    Attributes:
        word: the word.
        values: `(h, w)` from 0 to 1, a grid laid over the whole image; 1 where the word is most.
        presence: from 0 to 1, how sure it is that the image shows the word at all; from .5 on it counts as shown.
    """

    word: str
    values: Float
    presence: float

    @property
    def is_present(self) -> bool:
        """Whether the image counts as showing the word."""
        return self.presence >= 0.5


class WordSource(Protocol):
    """Tells where words are.

    Attributes:
        name: what results call it.
    """

    name: str

    def check(self, words: Sequence[str]) -> None:
        """Refuse words that it does not know.

        Raises:
            PromptError: a word is unknown.
        """

    def maps(self, image: RGB, words: Sequence[str]) -> list[WordMap]:
        """One map for each word, in their order; a word's map does not depend on the other words."""


def parse_words(text: str | Iterable[str]) -> tuple[str, ...]:
    """Words from one text, split at semicolons, or from a list; blanks around them and repeats are dropped.

    Raises:
        PromptError: no word, or too many.
    """
    parts = text.split(_SPLIT) if isinstance(text, str) else list(text)
    if not all(isinstance(part, str) for part in parts):
        raise PromptError(f"expected words as texts, got {[type(part).__name__ for part in parts][:3]}; as 'dog; cup'")
    words = tuple(dict.fromkeys(cleaned for part in parts if (cleaned := " ".join(part.split()))))
    if not words:
        raise PromptError("expected at least one word, got none; say what to find, as 'dog; cup'")
    if len(words) > MOST_WORDS:
        raise PromptError(f"expected at most {MOST_WORDS} words at once, got {len(words)}; ask in several calls")
    return words


def unknown_word(word: str, known: Sequence[str], source: str) -> PromptError:
    """The error for a word that a source does not know."""
    shown = word if len(word) <= 40 else word[:37] + "..."
    if not any("a" <= letter <= "z" for letter in word.lower()):
        return PromptError(f"expected English nouns for {source}, got {shown!r}; 'glesam words' lists them")
    cure = hint(word, known, f"it knows {len(known)} words, 'glesam words' lists them", count=3)
    return PromptError(f"expected a word that {source} knows, got {shown!r}; {cure}, or give --text-model FOLDER")


def stretched(values: Float) -> Float:
    """A map shifted and scaled to 0 to 1; all 0 where it is flat."""
    low, high = float(values.min()), float(values.max())
    return np.asarray((values - low) / (high - low) if high > low else np.zeros_like(values), np.float32)
