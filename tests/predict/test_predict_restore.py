"""Restore, then segment: the predictor with a restorer is the predictor on restored images, whatever is asked of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from glesam import images
from glesam.errors import ConfigError, ImageError
from glesam.images.pixels import RGB
from glesam.models.compact.model import CompactConfig, CompactModel
from glesam.predict.predictor import Predictor
from glesam.prompts.prompts import Prompts
from glesam.restore.base import Identity, Restorer
from glesam.restore.classical import median
from glesam.restore.registry import load_restorer

PHOTO = "examples/photos/coffee.jpg"
POINTS = [[160, 100], [120, 120]]


class Counted(Restorer):
    """A median that keeps the names that it is called with."""

    def __init__(self) -> None:
        super().__init__("counted")
        self.names: list[str | None] = []

    def apply(self, image: RGB, name: str | None) -> RGB:
        self.names.append(name)
        return median(image, 9)


@pytest.fixture(scope="module")
def model() -> CompactModel:
    """Small, with random weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return CompactModel(CompactConfig("lite0", 64, attention_blocks=1, conv_blocks=1)).eval()


@pytest.fixture(scope="module")
def photo() -> RGB:
    return np.ascontiguousarray(images.read(PHOTO)[::2, ::2])


def test_identity_equals_none_bit_for_bit(photo: RGB) -> None:
    first, second = (Predictor.from_pretrained("compact", restore=name) for name in (None, "identity"))
    for predictor in (first, second):
        predictor.set_image(photo)
    for enhance in ("off", "auto", "on"):
        first.enhance = second.enhance = enhance
        a, b = (predictor.predict(points=POINTS, multimask=True) for predictor in (first, second))
        for name in ("masks", "scores", "logits", "candidates", "candidate_scores"):
            assert np.array_equal(getattr(a, name), getattr(b, name)), name
        assert "restorer" not in a.info
        assert b.info["restorer"].startswith("identity-")


def test_every_call_sees_the_restored_image(model: CompactModel, photo: RGB) -> None:
    restored, plain = Predictor(model, restorer=Counted()), Predictor(model)
    restored.set_image(photo)
    plain.set_image(median(photo, 9))
    windows = [p.predict(points=POINTS, tile=128) for p in (restored, plain)]
    points = [p.predict(points=POINTS) for p in (restored, plain)]
    everything = [p.generate(points_per_side=2, tile=160) for p in (restored, plain)]
    (batch,) = restored.predict_batch([photo], [Prompts(POINTS)])
    assert np.array_equal(points[0].logits, points[1].logits)
    assert np.array_equal(windows[0].masks, windows[1].masks)
    assert np.array_equal(everything[0].masks, everything[1].masks)
    assert np.array_equal(batch.logits, points[1].logits)
    plain.set_image(photo)
    assert not np.array_equal(plain.predict(points=POINTS).logits, points[0].logits)


def test_an_image_is_restored_once_for_its_embedding_and_its_crops(model: CompactModel, photo: RGB) -> None:
    restorer = Counted()
    predictor = Predictor(model, restorer=restorer)
    for _ in range(2):
        predictor.set_image(photo, "a.png")
        predictor.predict(points=POINTS)
        predictor.set_image(photo[::-1], "b.png")
    assert restorer.names == ["a.png", "b.png"]
    for _ in range(2):  # of b only the embedding is left
        predictor.predict(points=POINTS, tile=128)
    assert restorer.names == ["a.png", "b.png", "b.png"]
    predictor.set_image(photo[:, ::-1], "c.png")
    predictor.predict(points=POINTS, tile=128)
    assert restorer.names[3:] == ["c.png"]
    assert np.array_equal(predictor.seen_image, median(np.ascontiguousarray(photo[:, ::-1]), 9))


def test_an_array_that_is_filled_anew_is_another_image(model: CompactModel, photo: RGB) -> None:
    predictor, buffer = Predictor(model, restorer=Counted()), photo.copy()
    predictor.set_image(buffer)
    buffer[:] = photo[::-1]
    predictor.set_image(buffer)
    assert np.array_equal(predictor.seen_image, median(buffer, 9))


def test_a_folder_of_restored_images_is_asked_by_name(tmp_path: Path, model: CompactModel, photo: RGB) -> None:
    (tmp_path / "in").mkdir(), (tmp_path / "out").mkdir()
    Image.fromarray(photo).save(tmp_path / "in" / "cup.png")
    Image.fromarray(median(photo, 9)).save(tmp_path / "out" / "cup.webp", lossless=True)
    predictor = Predictor(model, restorer=load_restorer(f"folder:{tmp_path / 'out'}"))
    predictor.set_image(tmp_path / "in" / "cup.png")
    plain = Predictor(model)
    plain.set_image(median(photo, 9))
    assert np.array_equal(predictor.predict(points=POINTS).logits, plain.predict(points=POINTS).logits)
    with pytest.raises(ImageError, match="name"):
        predictor.set_image(photo[::-1])
    with pytest.raises(ImageError, match="set_image"):
        predictor.predict(points=POINTS)


def test_a_slip_in_the_name_costs_no_loading() -> None:
    with pytest.raises(ConfigError, match="did you mean 'median'"):
        Predictor.from_pretrained("no such model", restore="medain")


def test_a_restorer_object_is_taken_as_it_is(model: CompactModel, tmp_path: Path) -> None:
    restorer = Identity()
    model.save_pretrained(tmp_path)
    assert Predictor.from_pretrained(tmp_path, restore=restorer).restorer is restorer


def test_examples_are_restored_once_as_any_image_is(photo: RGB, tmp_path: Path) -> None:
    path = tmp_path / "shelf.png"
    Image.fromarray(photo).save(path)
    mask = np.zeros(photo.shape[:2], bool)
    mask[20:90, 30:110] = True
    restorer = Counted()
    predictor = Predictor.from_pretrained("compact", enhance="off", restore=restorer)
    predictor.remember_file(path, mask)
    assert restorer.names == ["shelf.png"]
    np.testing.assert_array_equal(predictor.examples._references[0].image, median(photo, 9))
    predictor.examples.chosen()
    assert restorer.names == ["shelf.png"]


def test_arrays_that_are_filled_anew_do_not_change_the_current_image(model: CompactModel, photo: RGB) -> None:
    predictor, buffer = Predictor(model, "off"), photo.copy()
    predictor.set_image(buffer)
    buffer[:] = 0
    np.testing.assert_array_equal(predictor.seen_image, photo)


def test_examples_of_one_buffer_are_each_their_own(photo: RGB) -> None:
    predictor, buffer = Predictor.from_pretrained("compact", enhance="off", restore=Counted()), photo.copy()
    mask = np.zeros(photo.shape[:2], bool)
    mask[20:90, 30:110] = True
    predictor.remember_file(buffer, mask)
    buffer[:] = photo[::-1]
    predictor.remember_file(buffer, mask)
    first, second = (each.image for each in predictor.examples._references)
    np.testing.assert_array_equal(first, median(photo, 9))
    np.testing.assert_array_equal(second, median(np.ascontiguousarray(photo[::-1]), 9))
