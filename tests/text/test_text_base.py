"""Words as users give them: one clear line for whatever is no word."""

from __future__ import annotations

import numpy as np
import pytest

from glesam.errors import PromptError
from glesam.text.base import MOST_WORDS, parse_words, stretched, unknown_word

KNOWN = ("cat", "coffee mug", "cup", "dog", "hot dog")


def test_words_are_split_trimmed_and_each_kept_once() -> None:
    assert parse_words(" dog;coffee   mug; ;dog") == ("dog", "coffee mug")
    assert parse_words(["dog", "cup ", "dog"]) == ("dog", "cup")


@pytest.mark.parametrize("nothing", ["", " ; ;", [], [" "]])
def test_no_word_is_one_line(nothing: str | list[str]) -> None:
    with pytest.raises(PromptError, match="expected at least one word, got none"):
        parse_words(nothing)


def test_a_thousand_words_are_too_many() -> None:
    with pytest.raises(PromptError, match=f"expected at most {MOST_WORDS} words at once, got 1000"):
        parse_words(";".join(f"word{i}" for i in range(1000)))


def test_what_is_no_text_is_refused() -> None:
    with pytest.raises(PromptError, match="expected words as texts"):
        parse_words(["dog", 3])  # type: ignore[list-item]


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("dgo", "did you mean 'dog'"),
        ("coffee mgu", "did you mean 'coffee mug'"),
        ("qqqqqq", "it knows 5 words"),
        ("собака", "expected English nouns"),
        ("犬", "expected English nouns"),
        ("x" * 500, "..."),
    ],
)
def test_unknown_words_get_one_short_line(word: str, said: str) -> None:
    text = str(unknown_word(word, KNOWN, "the list"))
    assert said in text
    assert "\n" not in text
    assert len(text) < 250


def test_stretching_keeps_the_order_and_a_flat_map_flat() -> None:
    assert stretched(np.array([[-2.0, 0], [2, 1]], np.float32)).tolist() == [[0, 0.5], [1, 0.75]]
    assert not stretched(np.full((2, 3), 7, np.float32)).any()
