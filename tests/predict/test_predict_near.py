"""The nearer look at small objects: which objects get it, and that it is what its parts say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from predict_asked import asked_of

from glesam import Predictor, Prompts
from glesam.enhance.pipeline import LevelRule, Restoration, shrink
from glesam.errors import ModelError
from glesam.images.reading import read
from glesam.models.base import Embedding, PromptTensors
from glesam.models.compact.model import CompactModel
from glesam.models.registry import load_model
from glesam.predict.decoding import _crop

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "coffee.jpg"
RULE = LevelRule(near_size=288, near_clicked=0.1, near_boxed=0.02)
SMALL, LARGE = [120, 80, 150, 110], [60, 20, 240, 180]
"""Boxes of 1.5 and of 48 % of 300 x 200 pixels."""


class Level:
    """A gate that always tells one level, and calls images degraded from 0.5 on."""

    threshold = 0.5

    def __init__(self, value: float) -> None:
        self.value, self.asked = value, 0

    def level(self, latent: torch.Tensor) -> float:
        self.asked += 1
        return self.value


@pytest.fixture(scope="module")
def base() -> CompactModel:
    model = load_model("compact")
    assert isinstance(model, CompactModel)
    return model


@pytest.fixture(scope="module")
def photo() -> npt.NDArray[np.uint8]:
    return np.asarray(cv2.resize(read(PHOTO), (300, 200), interpolation=cv2.INTER_AREA), np.uint8)


def predictor_of(base: CompactModel, photo: Any, rules: tuple[LevelRule, ...], **options: Any) -> Predictor:
    gate: Any = Level(options.pop("level", 0.0))
    predictor = Predictor(base, options.pop("enhance", "auto"), Restoration(gate=gate, rules=rules), **options)
    predictor.set_image(photo)
    return predictor


@pytest.fixture
def encoded_sides(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Longer sides of all that is encoded from now on."""
    sides: list[int] = []
    encode = CompactModel.encode

    def listened(model: CompactModel, pixels: torch.Tensor) -> Embedding:
        sides.append(max(pixels.shape[-2:]))
        return encode(model, pixels)

    monkeypatch.setattr(CompactModel, "encode", listened)
    return sides


@torch.inference_mode()
def logits_at_image_size(base: CompactModel, image: Any, box: list[int], side: int | None) -> npt.NDArray[np.float32]:
    """What the base model says of a box in an image that is encoded at a given side, enlarged to the image's size."""
    pixels, geometry = base.prepare(image)
    scale = 1.0 if side is None else side / base.image_size
    corners = geometry.to_input(torch.tensor(box, dtype=torch.float32).view(1, 1, 2, 2)).flatten(2) * scale
    answer = base.decode(base.encode(shrink(pixels, side, base.side_step)), PromptTensors(boxes=corners))
    height, width = (round(scale * n) for n in geometry.input_size)
    smaller = replace(geometry, input_size=(height, width), image_size=side or base.image_size)
    return np.asarray(smaller.restore(answer.finest[0])[0, 0].numpy(), np.float32)


def test_logits_of_the_crop_count_half(base: CompactModel, photo: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(CompactModel, "answers_again", False)  # what is given back is resized, and differs a little
    found = predictor_of(base, photo, (RULE,), refine="off").predict(boxes=[SMALL])
    # Twice the sides of the box, around its middle.
    x0, y0, x1, y1 = 105, 65, 165, 125
    expected = logits_at_image_size(base, photo, SMALL, None)
    crop = logits_at_image_size(base, photo[y0:y1, x0:x1].copy(), [15, 15, 45, 45], 288)
    expected[y0:y1, x0:x1] = (expected[y0:y1, x0:x1] + crop) / 2
    # Bilinear weights at the crop's edge differ in the last digits between the two ways to get its size.
    assert (found.masks[0] != (expected > 0)).sum() <= 3
    plain = Predictor(base, "off", refine="off")
    plain.set_image(photo)
    assert (plain.predict(boxes=[SMALL]).masks[0] != found.masks[0]).sum() > 10


def test_both_looks_are_answered_twice(base: CompactModel, photo: Any) -> None:
    asked = asked_of(predictor_of(base, photo, (RULE,)), {"boxes": [SMALL]})
    assert [prompts.mask_input is not None for prompts, _ in asked] == [False, True, False, True]


def test_only_small_objects_are_looked_at_again(base: CompactModel, photo: Any, encoded_sides: list[int]) -> None:
    predictor = predictor_of(base, photo, (RULE,))
    found = predictor.predict(boxes=[LARGE, SMALL, LARGE])
    assert encoded_sides == [512, 288]
    assert found.info["looked_nearer"] == [1]
    plain = Predictor(base, "off")
    plain.set_image(photo)
    wanted = plain.predict(boxes=[LARGE, SMALL, LARGE])
    assert [bool((a == b).all()) for a, b in zip(found.masks, wanted.masks, strict=True)] == [True, False, True]
    np.testing.assert_array_equal(found.logits, wanted.logits)


@pytest.mark.parametrize(
    "options", [{"enhance": "off"}, {"quality": "fast"}], ids=["off is the base model", "fast stays fast"]
)
def test_no_nearer_look_where_none_is_wanted(
    base: CompactModel, photo: Any, encoded_sides: list[int], options: dict[str, Any]
) -> None:
    found = predictor_of(base, photo, (RULE,), **options).predict(boxes=[SMALL])
    assert len(encoded_sides) == 1
    assert "looked_nearer" not in found.info
    plain = Predictor(base, **{"enhance": "off", **options})
    plain.set_image(photo)
    np.testing.assert_array_equal(found.masks, plain.predict(boxes=[SMALL]).masks)


def test_candidates_are_left_in_their_order(base: CompactModel, photo: Any, encoded_sides: list[int]) -> None:
    predictor_of(base, photo, (RULE,)).predict(points=[[135, 95]], multimask=True)
    assert encoded_sides == [512]


@pytest.mark.parametrize(("level", "near"), [(0.2, False), (1.2, True)])
def test_the_level_of_the_image_says_what_is_small(base: CompactModel, photo: Any, level: float, near: bool) -> None:
    strict = replace(RULE, near_boxed=0.01)
    gate_says = (strict, replace(RULE, above=1.0))
    found = predictor_of(base, photo, gate_says, level=level).predict(boxes=[SMALL])
    assert ("looked_nearer" in found.info) == near


def test_batches_and_recalled_images_get_the_same_masks(base: CompactModel, photo: Any) -> None:
    predictor = predictor_of(base, photo, (RULE,))
    single = predictor.predict(boxes=[SMALL])
    predictor.set_image(np.ascontiguousarray(photo[:, ::-1]))
    predictor.set_image(photo)
    np.testing.assert_array_equal(predictor.predict(boxes=[SMALL]).masks, single.masks)
    batch = predictor.predict_batch([photo], [Prompts(boxes=[SMALL])])[0]
    np.testing.assert_array_equal(batch.masks, single.masks)


@pytest.mark.parametrize("quality", ["standard", "high"])
def test_an_array_that_is_used_again_does_not_change_an_earlier_image(
    base: CompactModel, photo: Any, quality: str
) -> None:
    buffer = photo.copy()
    predictor = predictor_of(base, buffer, (RULE,), quality=quality)
    wanted = predictor.predict(boxes=[SMALL]).masks
    buffer[:] = 0
    predictor.set_image(photo)
    np.testing.assert_array_equal(predictor.predict(boxes=[SMALL]).masks, wanted)


def test_an_image_from_before_the_mode_changed_is_looked_at_too(base: CompactModel, photo: Any) -> None:
    predictor = predictor_of(base, photo, (RULE,), enhance="off")
    assert "looked_nearer" not in predictor.predict(boxes=[SMALL]).info
    predictor.enhance = "auto"
    predictor.set_image(photo)
    assert predictor.predict(boxes=[SMALL]).info["looked_nearer"] == [0]


def test_of_a_large_image_a_smaller_copy_is_kept_and_its_crops_lie_where_they_did(
    base: CompactModel, photo: Any
) -> None:
    large = cv2.resize(photo, (3000, 2000), interpolation=cv2.INTER_CUBIC)
    predictor = predictor_of(base, large, (RULE,))
    kept = predictor.session.encoded.image
    assert kept is not None
    assert kept.shape == (1365, 2048, 3)
    found = predictor.predict(boxes=[[10 * side for side in SMALL]])
    assert found.info["looked_nearer"] == [0]
    small = predictor_of(base, photo, (RULE,)).predict(boxes=[SMALL]).masks[0]
    shrunk = cv2.resize(found.masks[0].astype(np.uint8), (300, 200), interpolation=cv2.INTER_AREA) > 0
    assert (shrunk & small).sum() / (shrunk | small).sum() > 0.85


@pytest.mark.parametrize("wrong", [{"near_clicked": 1.5}, {"near_boxed": -0.1}])
def test_shares_are_shares(wrong: dict[str, Any]) -> None:
    with pytest.raises(ModelError, match="shares of 0 to 1"):
        LevelRule(near_size=288, **wrong)


@pytest.mark.parametrize("click", [[290, 190], [135, 95]])
def test_negative_clicks_alone_are_not_looked_at_from_near(base: CompactModel, photo: Any, click: list[int]) -> None:
    near, plain = predictor_of(base, photo, (RULE,)), predictor_of(base, photo, ())
    start = plain.predict(boxes=SMALL)
    found, expected = (each.predict(points=[click], labels=[0], start=start) for each in (near, plain))
    np.testing.assert_array_equal(found.masks, expected.masks)
    assert "looked_nearer" not in found.info


def test_what_is_kept_for_near_looks_is_as_large_as_the_quality_asks(base: CompactModel, photo: Any) -> None:
    large = np.asarray(cv2.resize(photo, (2400, 1600)), np.uint8)
    switched = predictor_of(base, large, (RULE,))
    assert switched.session.encoded.image is not None
    assert switched.session.encoded.image.shape == (1365, 2048, 3)
    switched.quality = "high"
    switched.set_image(large)
    np.testing.assert_array_equal(switched.session.encoded.image, large)


def test_a_nearer_look_does_not_depend_on_the_mode_that_an_image_was_set_in(base: CompactModel, photo: Any) -> None:
    switched = predictor_of(base, photo, (RULE,), enhance="off")
    switched.enhance = "auto"
    found, expected = (each.predict(boxes=SMALL) for each in (switched, predictor_of(base, photo, (RULE,))))
    assert found.info["looked_nearer"] == expected.info["looked_nearer"] == [0]
    np.testing.assert_array_equal(found.masks, expected.masks)


def test_a_crop_of_a_smaller_copy_is_exactly_the_window() -> None:
    """A ramp says where each pixel is from."""
    height, width, window = 1500, 4000, (1203, 401, 1298, 467)
    copy = np.asarray(
        cv2.resize(np.tile(np.linspace(0, 255, 500), (188, 1))[..., None].repeat(3, 2), (500, 188)), np.uint8
    )
    found = _crop(copy, (height, width), window).astype(float)
    places = (np.array(window[:3:2]) * 500 / width - 0.5) * 255 / 499
    assert found.shape[:2] == (round((467 - 401) * 188 / 1500), round((1298 - 1203) / 8))
    first, last = found[0, 0, 0], found[0, -1, 0]
    step = (places[1] - places[0]) / found.shape[1]
    assert abs(first - (places[0] + step / 2)) < 1
    assert abs(last - (places[1] - step / 2)) < 1
    large = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    np.testing.assert_array_equal(_crop(large, (60, 80), (5, 7, 25, 31)), large[7:31, 5:25])
