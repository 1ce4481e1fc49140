"""Masks as JSON against pycocotools, polygons drawn again, and PNGs read back; the limits on what comes in."""

from __future__ import annotations

import base64
import io
import re

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from serve_helpers import encoded, text_of

from glesam.errors import ImageError, PromptError
from glesam.images.reading import content_hash, read
from glesam.masks.masks import Masks
from glesam.prompts.file import ObjectPrompt
from glesam.prompts.prompts import Prompts
from glesam.serve.encoding import answer_objects, decode_image, encoded_bytes, png, prompts_of
from glesam.serve.refusals import RefusalError
from glesam.serve.settings import ServerSettings

SETTINGS = ServerSettings(max_objects=3, max_points=2)


def blobs(count: int = 2, seed: int = 0) -> np.ndarray:
    noise = np.random.default_rng(seed).random((count, 30, 40)).astype(np.float32)
    return np.stack([cv2.GaussianBlur(n, (0, 0), 3) > 0.5 for n in noise])


def test_rle_boxes_and_areas_are_cocos() -> None:
    inside = blobs()
    for each, mask in zip(answer_objects(Masks(inside, np.array([0.5, 0.25], np.float32)), "rle"), inside, strict=True):
        assert set(each) == {"score", "bbox", "area", "rle"}
        assert np.array_equal(coco_mask.decode(each["rle"]).astype(bool), mask)
        assert each["bbox"] == coco_mask.toBbox(each["rle"]).tolist()
        assert each["area"] == mask.sum() == coco_mask.area(each["rle"])


def test_png_holds_the_mask() -> None:
    inside = blobs()
    for each, mask in zip(answer_objects(Masks(inside, np.zeros(2, np.float32)), "png"), inside, strict=True):
        image = Image.open(io.BytesIO(base64.b64decode(each["png"])))
        assert (image.format, image.mode) == ("PNG", "L")
        assert np.array_equal(np.asarray(image), np.where(mask, 255, 0))


def test_polygons_enclose_the_masks_area() -> None:
    inside = blobs(1)
    (each,) = answer_objects(Masks(inside, np.zeros(1, np.float32)), "polygons")
    areas = [cv2.contourArea(np.array(ring, np.float32), oriented=True) for ring in each["polygons"]]
    assert sum(areas) == pytest.approx(inside.sum(), rel=0.1)


def test_candidates_come_with_their_own_scores() -> None:
    inside, scores = blobs(6).reshape(2, 3, 30, 40), np.arange(6, dtype=np.float32).reshape(2, 3) / 10
    masks = Masks(inside[:, 2], scores[:, 2], candidates=inside, candidate_scores=scores)
    for index, each in enumerate(answer_objects(masks, "rle")):
        assert [c["score"] for c in each["candidates"]] == [round(0.3 * index + 0.1 * k, 1) for k in range(3)]
        for candidate, mask in zip(each["candidates"], inside[index], strict=True):
            assert np.array_equal(coco_mask.decode(candidate["rle"]).astype(bool), mask)
        assert each["rle"] == each["candidates"][2]["rle"]


def test_empty_masks_have_an_answer_in_every_form() -> None:
    masks = Masks(np.zeros((1, 5, 7), bool), np.zeros(1, np.float32))
    for form in ("rle", "polygons", "png"):
        (each,) = answer_objects(masks, form)
        assert (each["bbox"], each["area"]) == ([0, 0, 0, 0], 0)
    assert answer_objects(masks, "polygons")[0]["polygons"] == []


def test_prompts_join_points_boxes_and_both() -> None:
    objects = [
        ObjectPrompt(points=[[1, 2], [3, 4]], labels=[1, 0]),
        ObjectPrompt(box=[1, 1, 5, 5]),
        ObjectPrompt(points=[[2, 2]], box=[0, 0, 9, 9]),
    ]
    expected = Prompts([[[1, 2], [3, 4]], [], [[2, 2]]], [[1, 0], [], [1]], [None, [1, 1, 5, 5], [0, 0, 9, 9]])
    assert prompts_of(objects, SETTINGS) == expected
    assert prompts_of(objects[:1], SETTINGS) == Prompts([[1, 2], [3, 4]], [1, 0])
    assert prompts_of(objects[1:2], SETTINGS) == Prompts(boxes=[[1, 1, 5, 5]])


@pytest.mark.parametrize(
    ("objects", "message"),
    [
        ([{"box": [0, 0, 1, 1]}] * 4, "expected at most 3 objects, got 4"),
        ([{"box": [0, 0, 1, 1]}, {"points": [[1, 1]] * 3}], "object 1: expected at most 2 points, got 3"),
        ([{"box": [0, 0, 1, 1]}, {"box": [5, 5, 1, 1]}], "object 1: expected a box x0, y0, x1, y1 with x1 > x0"),
        ([{"points": [[1, 1]], "labels": [1, 1]}], "object 0: expected one label per point"),
        ([{"labels": [1]}], "object 0: expected points beside labels"),
        ([{}], "object 0: expected points, boxes or a mask input, got none"),
    ],
)
def test_bad_prompts_name_the_object(objects: list[dict[str, object]], message: str) -> None:
    with pytest.raises(PromptError, match=re.escape(message)):
        prompts_of([ObjectPrompt.model_validate(each) for each in objects], SETTINGS)


def test_images_are_known_by_their_pixels() -> None:
    data = encoded(3)
    key, pixels = decode_image(encoded_bytes(text_of(data), SETTINGS), SETTINGS)
    assert key == content_hash(read(data))
    again = png(pixels)
    assert again != data
    assert decode_image(again, SETTINGS)[0] == key


@pytest.mark.parametrize("text", ["a", "=", "data:image/png;base64,AAAA", "AAA\nA", "\u00e4\u00e4\u00e4\u00e4"])
def test_what_is_not_base64_is_refused(text: str) -> None:
    with pytest.raises(ImageError, match="expected image in base64"):
        encoded_bytes(text, SETTINGS)


def test_limits_on_bytes_and_pixels() -> None:
    data = encoded()
    small = ServerSettings(max_bytes=len(data) - 1)
    for each in (data, text_of(data)):
        with pytest.raises(RefusalError, match=r"expected an image of at most .*--max-megabytes") as refused:
            encoded_bytes(each, small)
        assert refused.value.status == 413
    with pytest.raises(ImageError, match=r"expected at most 2399 pixels, got 60x40 .*--max-megapixels"):
        decode_image(data, ServerSettings(max_pixels=2399))
    assert decode_image(data, ServerSettings(max_pixels=2400))[1].shape == (40, 60, 3)
