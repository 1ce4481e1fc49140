"""The bundled vocabulary on the package's own photos, and its arithmetic against formulas."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from glesam import Predictor
from glesam.errors import ModelError, PromptError
from glesam.images import read
from glesam.predict.words import AbsentWarning
from glesam.text.classifier import CellClassifier
from glesam.text.offline import WORDS_FOLDER, OfflineWords, head_evidence, log_odds
from glesam.text.offline_labels import OfflineLabeler
from glesam.weights.folders import WEIGHTS_FILE, verify_seal

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"


@pytest.fixture(scope="module")
def source() -> OfflineWords:
    return OfflineWords.from_pretrained()


@pytest.fixture(scope="module")
def predictor(source: OfflineWords) -> Predictor:
    made = Predictor.from_pretrained("compact", enhance="off")
    made.word_source = source
    made.set_image(PHOTOS / "chelsea.jpg")
    return made


def test_bundled_weights_are_sealed_and_small() -> None:
    verify_seal(WORDS_FOLDER, required=True)
    assert (WORDS_FOLDER / WEIGHTS_FILE).stat().st_size <= 6.5e6
    assert sum(path.stat().st_size for path in WORDS_FOLDER.rglob("*") if path.is_file()) < 7e6


def test_log_odds_by_the_formula() -> None:
    logits = torch.randn(6, 2, 3, generator=torch.Generator().manual_seed(0))
    probability = (logits / 2).softmax(dim=0)[[1, 4]].sum(dim=0)
    expected = torch.log(probability / (1 - probability))
    torch.testing.assert_close(log_odds(logits, (1, 4), 2.0), expected)


def test_the_mean_of_the_cells_is_the_classifiers_answer(source: OfflineWords) -> None:
    classifier: CellClassifier = source.classifier
    pixels = torch.randn(1, 3, 96, 64, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        hidden = torch.nn.functional.relu6(classifier.head(classifier.backbone(pixels)[-1]))
        expected = classifier.linear(hidden.mean(dim=(2, 3)))[0]
        torch.testing.assert_close(classifier(pixels)[0][0].mean(dim=(1, 2)), expected, rtol=1e-4, atol=1e-4)


def test_evidence_of_a_head_is_its_largest_mean_of_three_by_three() -> None:
    logits = np.random.default_rng(0).normal(size=(2, 5, 6)).astype(np.float32)
    expected = [
        max(m[max(0, y - 1) : y + 2, max(0, x - 1) : x + 2].mean() for y in range(5) for x in range(6)) for m in logits
    ]
    np.testing.assert_allclose(head_evidence(torch.from_numpy(logits)), expected, rtol=1e-5)
    assert float(head_evidence(torch.from_numpy(logits[0]))) == pytest.approx(expected[0], rel=1e-5)


def test_a_cat_is_found_named_and_where_it_is(predictor: Predictor) -> None:
    with pytest.warns(AbsentWarning, match="expected to find aeroplane in chelsea.jpg, found none"):
        masks = predictor.predict_text("cat; aeroplane")
    assert masks.class_names == ("cat",)
    assert masks.masks[0].mean() > 0.25
    assert masks.masks[0, 130, 220]  # between the eyes
    assert masks.info["words"]["cat"] > 0.5 > masks.info["words"]["aeroplane"]


def test_a_words_map_does_not_depend_on_the_others(source: OfflineWords) -> None:
    image = read(PHOTOS / "coffee.jpg")
    alone = source.maps(image, ["cup"])[0]
    among = source.maps(image, ["dog", "person", "cup"])[2]
    np.testing.assert_array_equal(alone.values, among.values)
    assert alone.presence == among.presence
    assert alone.is_present


def test_words_in_plural_and_other_names_are_known(source: OfflineWords) -> None:
    source.check(["Cats", "people", "woman", "aeroplane", "egyptian cat", "sidewalk"])
    assert source.meaning("tabby").startswith("1 class of ImageNet (tabby")
    assert source.meaning("people") == "a head of its own, 'person'"
    with pytest.raises(PromptError, match="did you mean"):
        source.check(["eleplant"])


def test_labels_of_a_mask_on_the_cat_are_cats(predictor: Predictor, source: OfflineWords) -> None:
    cat = predictor.predict(boxes=[[10, 10, 440, 290]])
    ranking = OfflineLabeler(source)(read(PHOTOS / "chelsea.jpg"), cat)[0]
    cats = {source.words.class_name(i) for i in source.words.classes("cat")}
    assert ranking[0][0] in cats
    assert predictor.label(cat).class_names == (ranking[0][0],)


def test_a_vocabulary_that_does_not_fit_its_word_list_is_refused(tmp_path: Path) -> None:
    import shutil

    shutil.copytree(WORDS_FOLDER, tmp_path / "words")
    (tmp_path / "words" / "words.json").write_text('{"classes": [0], "synsets": [["n1", ["thing"], []]]}')
    with pytest.raises(ModelError, match="run 'glesam train words' again"):
        OfflineWords.from_pretrained(tmp_path / "words")


def test_a_person_and_a_cup_in_photos_of_the_packages_are_found_whole(predictor: Predictor) -> None:
    skimage_data = pytest.importorskip("skimage.data")
    predictor.set_image(skimage_data.astronaut())
    person = predictor.predict_text("person")
    # One person: badges and straps are no further ones.
    assert person.class_names == ("person",)
    face, suit, flag, wall = (220, 110), (110, 400), (40, 100), (320, 60)
    assert [bool(person.masks[0, y, x]) for x, y in (face, suit, flag, wall)] == [True, True, False, False]
    predictor.set_image(PHOTOS / "coffee.jpg")
    cup = predictor.predict_text("cup")
    assert cup.class_names[0] == "cup"
    assert cup.masks[0, 240, 250]
    assert len(predictor.find_words("cup", most=len(cup))) == len(cup)
    with pytest.raises(PromptError, match=f"at most {len(cup) - 1} objects in an image of this size, found {len(cup)}"):
        predictor.find_words("cup", most=len(cup) - 1)


def test_classes_of_one_name_are_one_answer() -> None:
    words = SimpleNamespace(class_name=lambda index: ("maillot", "bikini", "maillot")[index])
    labeler = OfflineLabeler(SimpleNamespace(words=words, heads=None))  # type: ignore[arg-type]
    ranking = dict(labeler._ranked(torch.tensor([0.5, 0.3, 0.2]).log(), torch.zeros(0)))
    assert ranking == {"maillot": pytest.approx(0.7), "bikini": pytest.approx(0.3)}
