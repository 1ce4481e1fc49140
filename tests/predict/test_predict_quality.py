"""Qualities: what is averaged, where a crop is taken, and that the standard stays what it was."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from predict_asked import asked_of

from glesam import Predictor, Prompts
from glesam.errors import ConfigError
from glesam.images.reading import read
from glesam.models.base import ImageGeometry, MaskOutput, PromptTensors
from glesam.models.sam.sam import SamPromptable
from glesam.models.sam.sam2 import Sam2Promptable
from glesam.predict.embeddings import woven
from glesam.predict.quality import (
    mean_output,
    mirrored_logits,
    mirrored_output,
    mirrored_prompts,
    moved_into,
    zoom_window,
)

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "coffee.jpg"
CLICK: dict[str, Any] = {"points": [[150, 80]], "labels": [1]}
BOX: dict[str, Any] = {"boxes": [[40, 10, 240, 190]]}


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    return cv2.resize(read(PHOTO), (300, 200), interpolation=cv2.INTER_AREA)


def test_mirrored_logits_are_the_mirror_image_of_what_is_no_padding() -> None:
    logits = torch.randn(2, 3, 16, 16)
    turned = mirrored_logits(logits, ImageGeometry((40, 48), (40, 48), 64))  # 12 of 16 cells hold the image
    assert torch.allclose(turned[..., :12], logits[..., :12].flip(-1), atol=1e-5)


def test_mirrored_logits_meet_between_cells() -> None:
    line = torch.arange(16.0).expand(1, 16, 16)  # logits that grow by one a cell: pixel x has x / 4 - .5
    turned = mirrored_logits(line, ImageGeometry((40, 50), (40, 50), 64))
    expected = (50 - (torch.arange(12) + 0.5) * 4) / 4 - 0.5
    assert torch.allclose(turned[0, 5, :12], expected, atol=1e-4)


def test_mirrored_prompts_point_at_the_same_things() -> None:
    geometry = ImageGeometry((40, 48), (40, 48), 64)
    mask = torch.randn(1, 1, 16, 16)
    prompts = PromptTensors(
        torch.tensor([[[[5.0, 7.0]]]]),
        torch.ones(1, 1, 1, dtype=torch.int64),
        torch.tensor([[[2.0, 3.0, 20.0, 30.0]]]),
        mask,
    )
    turned = mirrored_prompts(prompts, geometry)
    assert turned.point_coords is not None
    assert turned.boxes is not None
    assert turned.point_coords.tolist() == [[[[43.0, 7.0]]]]
    assert turned.boxes.tolist() == [[[28.0, 3.0, 46.0, 30.0]]]
    back = mirrored_prompts(turned, geometry)
    assert back.mask_input is not None
    assert torch.allclose(back.mask_input[..., :12], mask[..., :12], atol=1e-4)


def test_the_mean_takes_fine_logits_where_all_have_them() -> None:
    def output(value: float, fine: int | None) -> MaskOutput:
        filled = None if fine is None else torch.full((1, 1, 1, fine, fine), value)
        return MaskOutput(torch.full((1, 1, 1, 4, 4), value), torch.full((1, 1, 1), value), filled)

    both = mean_output([output(1, 8), output(2, 4)])
    assert both.fine is not None
    assert both.fine.shape[-1] == 8
    assert {float(t.mean()) for t in (both.low_res_logits, both.iou, both.fine)} == {1.5}
    assert mean_output([output(1, 8), output(2, None)]).fine is None


def test_object_scores_stay_with_their_objects() -> None:
    def scored(*scores: float) -> MaskOutput:
        logits, iou = torch.zeros(1, len(scores), 1, 4, 4), torch.zeros(1, len(scores), 1)
        return MaskOutput(logits, iou, object_score=torch.tensor([scores], dtype=torch.float32))

    def told(output: MaskOutput) -> list[list[float]] | None:
        return None if output.object_score is None else output.object_score.tolist()

    assert told(mean_output([scored(1, 2), scored(3, 6)])) == [[2, 4]]
    is_first = torch.tensor([False, True, False])
    assert told(woven(scored(5), scored(7, 9), is_first)) == [[7, 5, 9]]
    assert told(woven(scored(5), replace(scored(7, 9), object_score=None), is_first)) is None
    assert told(mirrored_output(scored(5), ImageGeometry((64, 64), (64, 64), 64))) == [[5]]


def test_small_objects_get_a_crop_of_twice_their_size() -> None:
    size = (400, 600)
    clicked = Prompts(points=[[[110, 90], [10, 10]]], labels=[[1, 0]])
    assert zoom_window(clicked, (100, 80, 160, 140), size) == (70, 50, 190, 170)
    assert zoom_window(clicked, (0, 0, 300, 200), size) is None  # a quarter of the image
    assert zoom_window(clicked, None, size) is None
    boxed = Prompts(boxes=[[0, 0, 60, 60]])
    assert zoom_window(boxed, (5, 5, 50, 50), size) == (0, 0, 90, 90)
    assert zoom_window(Prompts(boxes=[[0, 0, 120, 100]]), (5, 5, 50, 50), size) is None  # 5 % of the image
    near = moved_into(clicked, (70, 50, 190, 170))
    assert near.points is not None
    assert near.points.tolist() == [[[40, 40]]]


def test_standard_is_what_it_was_and_others_differ(photo: np.ndarray) -> None:
    found = {}
    for quality in ("standard", "high", "fast"):
        predictor = Predictor.from_pretrained("compact", enhance="off", quality=quality)
        predictor.set_image(photo)
        found[quality] = predictor.predict(**CLICK, multimask=True)
        batch = predictor.predict_batch([photo], [Prompts(**CLICK)], multimask=True)[0]
        assert np.array_equal(batch.masks, found[quality].masks)
        assert predictor.predict(boxes=[[120, 80, 150, 110]]).masks.shape == (1, 200, 300)
    plain = Predictor.from_pretrained("compact", enhance="off")
    plain.set_image(photo)
    assert np.array_equal(plain.predict(**CLICK, multimask=True).logits, found["standard"].logits)
    for quality in ("high", "fast"):
        assert found[quality].logits.shape == found["standard"].logits.shape
        assert not np.array_equal(found[quality].logits, found["standard"].logits)


@pytest.mark.parametrize("prompt", [BOX, CLICK])
def test_a_single_mask_is_the_second_answer(photo: np.ndarray, prompt: dict[str, Any]) -> None:
    predictor = Predictor.from_pretrained("compact", enhance="off", refine="off")
    predictor.set_image(photo)
    model, embedding, geometry = predictor.model, predictor.session.encoded.raw, predictor.session.encoded.geometry
    answer = predictor.predict(**prompt)
    tensors = Prompts(**prompt).to_tensors(geometry)
    with torch.inference_mode():
        first = model.decode(embedding, tensors)
        second = model.decode(embedding, replace(tensors, mask_input=first.low_res_logits[:, :, 0]))
    assert not torch.allclose(first.low_res_logits, second.low_res_logits, atol=1e-2)
    assert torch.allclose(torch.from_numpy(answer.logits), second.low_res_logits[0, :, 0], atol=1e-4)
    assert answer.scores[0] == pytest.approx(float(second.iou), abs=1e-5)
    assert np.array_equal(answer.masks[0], (geometry.restore(second.finest[0]) > 0)[0, 0].numpy())


@pytest.mark.parametrize("prompt", [BOX, CLICK])
def test_fast_answers_once(photo: np.ndarray, prompt: dict[str, Any]) -> None:
    predictor = Predictor.from_pretrained("compact", enhance="off", refine="off", quality="fast")
    predictor.set_image(photo)
    assert len(asked_of(predictor, prompt)) == 1


def test_candidates_and_masks_that_are_given_are_answered_once(photo: np.ndarray) -> None:
    predictor = Predictor.from_pretrained("compact", enhance="off", refine="off")
    predictor.set_image(photo)
    assert len(asked_of(predictor, CLICK)) == 2
    assert len(asked_of(predictor, {**CLICK, "multimask": True})) == 1
    given = np.zeros((128, 128), np.float32)
    assert len(asked_of(predictor, {**CLICK, "mask_input": given})) == 1
    assert Sam2Promptable.answers_again is SamPromptable.answers_again is False  # theirs are to be the authors' masks


@pytest.mark.parametrize("prompt", [BOX, CLICK])
def test_high_gives_the_mean_of_three_second_answers_back(photo: np.ndarray, prompt: dict[str, Any]) -> None:
    predictor = Predictor.from_pretrained("compact", enhance="off", quality="high", refine="off")
    predictor.set_image(photo)
    logits = torch.from_numpy(predictor.predict(**prompt).logits)
    asked = asked_of(predictor, prompt)
    geometry = predictor.model.prepare(photo)[1]
    assert [prompts.mask_input is None for prompts, _ in asked] == [True, False] * 3 + [False]
    looks = [answer.low_res_logits for _, answer in asked[1:6:2]]
    looks[1] = mirrored_logits(looks[1], geometry)
    looks[2] = F.interpolate(looks[2][0], looks[0].shape[-2:], mode="bilinear")[None]  # the coarse look has fewer cells
    mean = (looks[0] + looks[1] + looks[2]) / 3
    given, last = asked[6]
    assert torch.allclose(given.mask_input, mean[:, :, 0], atol=1e-4)
    assert torch.allclose(logits, (mean + last.low_res_logits)[0, :, 0] / 2, atol=1e-4)


def test_a_change_of_quality_encodes_anew_where_it_must(photo: np.ndarray) -> None:
    predictor = Predictor.from_pretrained("compact", enhance="off", refine="off", quality="fast")
    predictor.set_image(photo)
    fast = predictor.predict(**CLICK).logits
    predictor.quality = "standard"
    predictor.set_image(photo)
    assert not np.array_equal(predictor.predict(**CLICK).logits, fast)
    with pytest.raises(ConfigError, match="fast, standard, high"):
        predictor.quality = "best"
