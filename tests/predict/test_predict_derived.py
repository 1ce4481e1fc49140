"""Examples, start masks, heat maps and click checks on a real image with the bundled weights."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image

from glesam import Predictor, Prompts
from glesam.errors import ImageError, PromptError
from glesam.fewshot import candidates
from glesam.fewshot.labels import ExampleLabeler
from glesam.images.reading import ReadOptions, read, read_with
from glesam.images.shrink import shrunk_size
from glesam.predict.examples import SIDE, _masks_at
from glesam.prompts.hygiene import DoubtfulClickWarning
from glesam.restore.registry import load_restorer

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"
CUP = [75, 15, 470, 385]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    return Predictor.from_pretrained("compact", enhance="off")


@pytest.fixture(scope="module")
def cup(predictor: Predictor) -> np.ndarray:
    predictor.set_image(PHOTOS / "coffee.jpg")
    return predictor.predict(boxes=CUP).masks[0]


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_a_remembered_object_is_found_where_it_was_moved_to(
    predictor: Predictor, cup: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(candidates, "GRID", 4)  # one large object needs few clicks
    predictor.set_image(PHOTOS / "coffee.jpg")
    predictor.remember(cup)
    image = read(PHOTOS / "coffee.jpg")
    # Twice as large: larger than it is searched at.
    predictor.set_image(image[:, ::-1].repeat(2, axis=0).repeat(2, axis=1), "mirrored.jpg")
    try:
        found = predictor.find_like()
    finally:
        predictor.forget()
    assert len(found) >= 1
    assert found.size == (2 * image.shape[0], 2 * image.shape[1])
    assert _iou(found.masks[0], cup[:, ::-1].repeat(2, axis=0).repeat(2, axis=1)) > 0.7
    assert found.name == "mirrored.jpg"
    assert found.info["find_like"]["references"] == 1
    assert (np.diff(found.scores) <= 0).all()
    assert found.scores.min() >= found.info["find_like"]["threshold"]


def test_a_labeler_sees_its_examples_as_the_model_sees_the_image(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Restored, and with the bands and the range of the image."""
    loaded: list[Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]]] = []

    class Recorded(ExampleLabeler):
        def __init__(self, examples: Mapping[str, Sequence[tuple[np.ndarray, np.ndarray]]]) -> None:
            loaded.append(examples)
            super().__init__(examples)

    monkeypatch.setattr("glesam.fewshot.labels.ExampleLabeler", Recorded)
    bands = np.random.default_rng(0).integers(0, 3001, (40, 60, 5)).astype(np.uint16)
    (tmp_path / "tom").mkdir()
    tifffile.imwrite(tmp_path / "tom" / "a.tif", bands, photometric="minisblack", planarconfig="contig")
    Image.fromarray(np.arange(2400).reshape(40, 60) % 60 < 30).save(tmp_path / "tom" / "a.mask.png")
    restored = Predictor.from_pretrained("compact", enhance="off", restore="gamma:2")
    reading = ReadOptions.parse("0,3000", "5,3,1")
    restored.set_image(read_with(tmp_path / "tom" / "a.tif", reading).pixels)
    masks = restored.predict(boxes=[5, 5, 50, 35])
    for _ in range(2):
        assert restored.words.label(masks, f"examples:{tmp_path}", reading).class_names == ("tom",)
    assert len(loaded) == 1, "loaded once"
    plain = np.floor(bands[..., [4, 2, 0]] / 3000 * 255 + 0.5).astype(np.uint8)
    seen = loaded[0]["tom"][0][0]
    np.testing.assert_array_equal(seen, load_restorer("gamma:2").restore(plain, None))
    assert not np.array_equal(seen, plain)


def test_marks_of_another_size_are_told_with_the_size_of_the_image(predictor: Predictor) -> None:
    """Not with the size at which it is searched, whose marks are of another size too."""
    image = np.zeros((1500, 2000, 3), np.uint8)
    for size in ((1000, 1200), shrunk_size((1500, 2000), SIDE)):
        with pytest.raises(PromptError, match=rf"expected masks \(n, 1500, 2000\) .*, got \(1, {size[0]}, {size[1]}\)"):
            predictor.remember_file(image, np.ones(size, bool))
    assert not predictor.has_examples


def test_shrunk_masks_keep_their_places_and_none_vanishes() -> None:
    masks = np.zeros((2, 2000, 3000), bool)
    masks[0, 500:1500, 600:1200], masks[1, 7, 8] = True, True
    small = _masks_at(masks, shrunk_size((2000, 3000), SIDE))
    assert small.shape == (2, 683, 1024)
    ys, xs = np.nonzero(small[0])
    np.testing.assert_allclose([ys.min(), ys.max() + 1, xs.min(), xs.max() + 1], [171, 512, 205, 410], atol=1)
    assert small[1, 2, 2]
    assert small[1].sum() <= 2


def test_looking_for_nothing_is_refused(predictor: Predictor, cup: np.ndarray) -> None:
    predictor.set_image(PHOTOS / "coffee.jpg")
    with pytest.raises(PromptError, match=r"call remember\(mask\)"):
        predictor.find_like()
    predictor.remember(cup)
    with pytest.raises(PromptError, match="from 0 to 1"):
        predictor.find_like(threshold=7)
    with pytest.raises(PromptError, match="expected masks"):
        predictor.remember(cup[:-1])
    predictor.forget()
    assert not predictor.has_examples
    predictor.reset()
    with pytest.raises(ImageError):
        predictor.remember(cup)


def test_a_coarse_start_mask_comes_back_better(predictor: Predictor, cup: np.ndarray) -> None:
    predictor.set_image(PHOTOS / "coffee.jpg")
    cells = 40
    coarse = np.kron(cup[cells // 2 :: cells, cells // 2 :: cells], np.ones((cells, cells), bool))
    start = np.zeros_like(cup)
    start[: coarse.shape[0], : coarse.shape[1]] = coarse[: cup.shape[0], : cup.shape[1]]
    better = predictor.predict_from_masks(start)
    assert better.info["start_kept"] == []
    assert _iou(better.masks[0], cup) > _iou(start, cup) + 0.02


def test_a_heat_map_on_the_object_gives_the_object(predictor: Predictor, cup: np.ndarray) -> None:
    predictor.set_image(PHOTOS / "coffee.jpg")
    ys, xs = np.mgrid[:40, :60]
    x, y = (CUP[0] + CUP[2]) / 20, (CUP[1] + CUP[3]) / 20
    heat = np.exp(-(((xs - x) / 18) ** 2 + ((ys - y) / 17) ** 2))
    found = predictor.predict_heat_map(heat, regions=1)
    assert _iou(found.masks[0], cup) > 0.7


def test_a_click_on_another_thing_is_named(predictor: Predictor) -> None:
    predictor.set_image(PHOTOS / "coffee.jpg")
    checks = predictor.check_prompts(Prompts([[320, 200], [250, 240], [200, 150]], [1, 1, 1]))
    assert len(checks) == 1
    assert checks[0].agrees.shape == (3,)
    with pytest.raises(PromptError, match="inside the"):
        predictor.check_prompts(Prompts([[320, 200], [9999, 240]], [1, 1]))


def test_predict_tells_of_doubtful_clicks_and_leaves_the_mask_as_it_is(predictor: Predictor) -> None:
    predictor.set_image(PHOTOS / "coffee.jpg")
    points, labels = [[320, 200], [250, 240], [560, 30]], [1, 1, 1]
    plain = predictor.predict(points=points, labels=labels)
    doubted = [s for check in predictor.check_prompts(Prompts(points, labels)) for s in check.sentences()]
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        masks = predictor.predict(points=points, labels=labels, check=True)
    assert [str(w.message) for w in told if w.category is DoubtfulClickWarning] == doubted
    np.testing.assert_array_equal(masks.masks, plain.masks)
    assert masks.info["checks"][0]["object"] == 0
    assert len(masks.info["checks"][0]["gain"]) == 3
    assert "checks" not in plain.info


def test_what_was_enhanced_is_told_of_masks_without_prompts_of_ones_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candidates, "GRID", 4)
    for mode in ("off", "on"):
        predictor = Predictor.from_pretrained("compact", enhance=mode)
        predictor.set_image(PHOTOS / "coffee.jpg")
        assert predictor.predict_subject().info["enhanced"] is (mode == "on")
        predictor.remember(predictor.predict(boxes=CUP))
        found = predictor.find_like()
        assert len(found)
        assert found.info["enhanced"] is (mode == "on")


def test_a_source_of_words_is_shared(predictor: Predictor) -> None:
    source = object()
    own = predictor.share()
    own.word_source = source  # type: ignore[assignment]
    assert own.share().word_source is source


def test_masks_of_any_origin_are_completed(predictor: Predictor, cup: np.ndarray) -> None:
    predictor.set_image(PHOTOS / "coffee.jpg")
    halved = cup.copy()
    rows = slice(150, 230)
    image = read(PHOTOS / "coffee.jpg").copy()
    image[rows, :] = (40, 90, 60)  # a band laid over the cup
    halved[rows] = False
    predictor.set_image(image)
    found = predictor.complete(halved)
    assert _iou(found.whole.masks[0], cup) > _iou(halved, cup) + 0.03
    assert (found.whole.masks[0] >= halved).all()
    masks = predictor.predict(boxes=CUP)
    again = predictor.complete(masks)
    np.testing.assert_array_equal(again.masks, masks.masks)
    np.testing.assert_array_equal(again.scores, masks.scores)
    assert predictor.complete(np.zeros((0, *image.shape[:2]), bool)).whole.masks.shape == (0, *image.shape[:2])


def test_masks_of_another_size_are_not_completed(predictor: Predictor) -> None:
    predictor.set_image(PHOTOS / "coffee.jpg")
    with pytest.raises(PromptError, match="600x400 pixels, got 5x4"):
        predictor.complete(np.ones((4, 5), bool))
