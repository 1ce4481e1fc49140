"""Words against WordNet's own relations, as far as the bundled file holds them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from glesam.errors import ModelError
from glesam.text.offline import WORDS_FOLDER
from glesam.text.words import ALIASES, WordList, normalise, singulars

FILE = WORDS_FOLDER / "words.json"


@pytest.fixture(scope="module")
def words() -> WordList:
    return WordList(FILE)


def ancestors(content: dict, leaf: int) -> set[str]:
    """Nouns of a synset and of all above it, by plain recursion."""
    _, nouns, above = content["synsets"][leaf]
    return {noun.lower() for noun in nouns}.union(*(ancestors(content, place) for place in above))


def test_a_noun_stands_for_exactly_the_classes_below_it(words: WordList) -> None:
    content = json.loads(FILE.read_text("utf-8"))
    above = [ancestors(content, leaf) for leaf in content["classes"]]
    for noun in ("dog", "vehicle", "fruit", "bird", "musical instrument", "tabby"):
        assert words.classes(noun) == tuple(i for i, nouns in enumerate(above) if noun in nouns), noun


def test_the_known_numbers_of_imagenet_and_wordnet(words: WordList) -> None:
    content = json.loads(FILE.read_text("utf-8"))
    assert (len(words), len(content["synsets"])) == (1000, 1860)
    assert len({noun.lower() for _, nouns, _ in content["synsets"] for noun in nouns}) == 3253
    # 118 classes of dogs from Chihuahua (151) to Mexican hairless (268), as in every listing of ILSVRC 2012.
    assert words.classes("dog") == tuple(range(151, 269))
    assert (words.class_name(285), words.class_name(504)) == ("Egyptian cat", "coffee mug")
    assert "Princeton University" in content["notice"]


def test_case_blanks_underscores_and_plurals_do_not_matter(words: WordList) -> None:
    assert words.classes("  Dogs ") == words.classes("dog")
    assert words.classes("Egyptian_cat") == (285,)
    assert words.classes("buses") == words.classes("bus")
    assert "mice" in words
    assert words.classes("zzz") == ()


def test_every_alias_names_classes_that_are_there(words: WordList) -> None:
    names = {words.class_name(i) for i in range(len(words))}
    for alias, meant in ALIASES.items():
        assert set(meant) <= names, alias


def test_groups_number_each_set_of_classes_once(words: WordList) -> None:
    assert sorted(words.groups.values()) == list(range(len(words.groups)))
    # Of the words that stand for every class, which nothing can tell apart from the rest, there are statistics only.
    assert {words.classes(word) for word in words.words} == set(words.groups) - {tuple(range(len(words)))}
    assert not words.classes("entity")
    assert "entity" not in words.words


@pytest.mark.parametrize(
    ("plural", "single"),
    [("foxes", "fox"), ("churches", "church"), ("women", "woman"), ("berries", "berry"), ("people", "person")],
)
def test_plurals(plural: str, single: str) -> None:
    assert single in singulars(plural)


def test_words_of_other_writings_are_composed() -> None:
    assert normalise("CAFE\u0301") == "caf\u00e9"


def test_what_is_no_word_list_is_refused(tmp_path: Path) -> None:
    (tmp_path / "words.json").write_text("[]")
    with pytest.raises(ModelError, match="expected classes and synsets"):
        WordList(tmp_path / "words.json")
    with pytest.raises(ModelError, match="expected a word list"):
        WordList(tmp_path / "none.json")


@pytest.mark.parametrize(
    "content",
    [
        {"classes": [1], "synsets": [["n1", ["cat"], []]]},
        {"classes": ["x"], "synsets": [["n1", ["cat"], []]]},
        {"classes": [0], "synsets": [["n1", [], []]]},
        {"classes": [0], "synsets": [["n1", ["cat"], [3]]]},
    ],
)
def test_a_damaged_word_list_is_one_line(tmp_path: Path, content: dict[str, object]) -> None:
    (tmp_path / "words.json").write_text(json.dumps(content))
    with pytest.raises(ModelError, match="install glesam again") as caught:
        WordList(tmp_path / "words.json")
    assert "\n" not in str(caught.value)


def test_a_circle_of_synsets_ends(tmp_path: Path) -> None:
    synsets = [["n1", ["cat"], [1]], ["n2", ["animal"], [0]], ["n3", ["cup"], []]]
    content = {"classes": [0, 2], "synsets": synsets}
    (tmp_path / "words.json").write_text(json.dumps(content))
    assert WordList(tmp_path / "words.json").classes("animal") == (0,)
