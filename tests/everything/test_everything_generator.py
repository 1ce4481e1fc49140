"""Everything mode from image to result: truth of painted images, one answer for all batch sizes, COCO keys."""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np
import pytest
from everything_images import SIDE, PaintedModel, painted, predictor
from pycocotools import mask as coco
from skimage.data import astronaut

from glesam import Masks, Predictor
from glesam.errors import ConfigError, DataError, ImageError, PromptError
from glesam.everything.clicks import MemoryWarning
from glesam.masks import sparse
from glesam.masks.runs import RunMask
from glesam.masks.sparse import SparseMasks

OBJECTS = {
    30: [(16, 16, 80, 96)],
    60: [(96, 8, 200, 72)],
    90: [(120, 104, 240, 176), (120, 104, 160, 184)],
    120: [(32, 40, 56, 72)],
}
SIZE = (192, 256)
KEYS = {"segmentation", "bbox", "area", "predicted_iou", "stability_score", "point_coords", "crop_box"}


@pytest.fixture(scope="module")
def compact() -> Predictor:
    user = Predictor.from_pretrained("compact", enhance="off")
    user.set_image(astronaut()[:300, :280])
    return user


def test_every_painted_object_is_found_once_best_score_first() -> None:
    image = painted(SIZE, OBJECTS)
    user = predictor()
    user.set_image(image)
    masks = user.generate(points_per_side=10)
    numbers = [int(np.median(image[mask, 0])) for mask in masks.masks]
    assert sorted(numbers) == sorted(OBJECTS)
    assert numbers == sorted(numbers, reverse=True)
    for number, mask in zip(numbers, masks.masks, strict=True):
        truth = image[..., 0] == number
        assert (mask & truth).sum() / (mask | truth).sum() > 0.85
    assert masks.info["everything"]["points_per_side"] == 10


def test_coco_annotations_have_the_keys_of_segment_anything_and_are_json() -> None:
    user = predictor()
    user.set_image(painted(SIZE, OBJECTS), "sheet.png")
    masks = user.generate(points_per_side=10)
    annotations = json.loads(json.dumps(masks.to_coco(image_id=7)))
    assert len(annotations) == len(masks) == len(OBJECTS)
    for annotation, mask in zip(annotations, masks.masks, strict=True):
        assert annotation.keys() >= KEYS
        assert np.array_equal(coco.decode(annotation["segmentation"]).astype(bool), mask)
        assert annotation["bbox"] == coco.toBbox(annotation["segmentation"]).tolist()
        assert annotation["area"] == coco.area(annotation["segmentation"])
        assert annotation["crop_box"] == [0, 0, SIZE[1], SIZE[0]]
        ((x, y),) = annotation["point_coords"]
        assert 0 <= annotation["stability_score"] <= 1
        assert mask[int(y), int(x)]
        assert annotation["image_id"] == 7
    document = json.loads(masks.encode(".json"))
    assert document["annotations"][0].keys() >= KEYS
    assert np.array_equal(Masks.from_coco(document).masks, masks.masks)


def test_all_outputs_are_those_of_plain_masks(tmp_path: Path) -> None:
    image = painted(SIZE, OBJECTS)
    user = predictor()
    user.set_image(image)
    masks = user.generate()
    plain = Masks(masks.masks.copy(), masks.scores, info=masks.info)
    assert np.array_equal(masks.to_labels(), plain.to_labels())
    assert np.array_equal(masks.areas, plain.areas)
    assert np.array_equal(masks.boxes, plain.boxes)
    for suffix in (".png", ".geojson", ".npz"):
        masks.save(tmp_path / f"a{suffix}")
    assert masks.encode(".png") == plain.encode(".png")
    assert masks.encode(".geojson") == plain.encode(".geojson")
    assert masks.overlay(image).tobytes() == plain.overlay(image).tobytes()
    assert masks.cutout(image, 1).tobytes() == plain.cutout(image, 1).tobytes()


def test_pixels_are_expanded_up_to_a_limit_only(monkeypatch: pytest.MonkeyPatch) -> None:
    user = predictor()
    user.set_image(painted(SIZE, OBJECTS))
    masks = user.generate()
    monkeypatch.setattr(sparse, "EXPAND_LIMIT", 3 * SIZE[0] * SIZE[1])
    with pytest.raises(DataError, match="one by one with mask"):
        _ = masks.masks
    assert masks.mask(0).sum() == masks.areas[0]
    assert "4 masks of 256x192" in repr(masks)
    assert len(masks.to_coco()) == 4


def test_an_image_without_objects_gives_no_masks() -> None:
    user = predictor()
    user.set_image(painted((50, 60), {}))
    masks = user.generate()
    assert (len(masks), masks.masks.shape, masks.to_coco()) == (0, (0, 50, 60), [])
    assert masks.to_labels().max() == 0


def test_batch_sizes_1_16_and_256_give_the_same_bytes(compact: Predictor) -> None:
    def answer(batch: int) -> tuple[bytes, bytes]:
        masks = compact.generate(
            points_per_side=5,
            points_per_batch=batch,
            pred_iou_thresh=0.0,
            stability_score_thresh=0.0,
            box_nms_thresh=1.0,
            mask_nms_thresh=1.0,
        )
        assert len(masks) > 25
        return masks.encode(".json"), masks.masks.tobytes()

    first = answer(1)
    assert answer(16) == first
    assert answer(256) == first


def test_out_of_memory_halves_the_batch_says_so_and_changes_nothing() -> None:
    user = predictor()
    user.set_image(painted(SIZE, OBJECTS))
    expected = user.generate(points_per_side=10).encode(".json")
    model = user.model
    assert isinstance(model, PaintedModel)
    model.most, model.decoded = 3, []
    with pytest.warns(MemoryWarning, match="memory ran out, so 2 points are decoded at once"):
        masks = user.generate(points_per_side=10, points_per_batch=64)
    assert masks.encode(".json") == expected
    assert max(model.decoded[10:]) <= 2
    model.most = 0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", MemoryWarning)
        with pytest.raises(RuntimeError, match="out of memory"):
            user.generate()


def test_other_errors_of_the_model_are_not_taken_for_memory() -> None:
    user = predictor()
    user.set_image(painted(SIZE, OBJECTS))

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("shape mismatch")

    user.model.decode = broken  # type: ignore[assignment, method-assign]
    with pytest.raises(RuntimeError, match="shape mismatch"):
        user.generate()


def test_crops_find_what_is_too_small_for_the_whole_image() -> None:
    side = 8 * SIDE
    image = painted((side, side), {30: [(64, 64, 640, 640)], 60: [(800, 824, 824, 848)], 90: [(880, 112, 904, 136)]})
    user = predictor()
    user.set_image(image)

    def best(masks: SparseMasks, number: int) -> tuple[float, list[int]]:
        truth = RunMask.from_array(image[..., 0] == number)
        ious = [truth.iou(runs) for runs in masks.runs]
        index = int(np.argmax(ious))
        return ious[index], masks.details[index]["crop_box"]

    coarse = user.generate(points_per_side=32)
    fine = user.generate(points_per_side=32, crop_n_layers=2)
    for number in (60, 90):
        iou, (_, _, width, _) = best(fine, number)
        assert iou > max(0.4, best(coarse, number)[0] + 0.1)
        assert width < side
    assert sum(runs.area > 10000 for runs in fine.runs) == 1, "pieces that a crop cuts off are left out"
    for annotation in fine.to_coco():
        x, y, width, height = annotation["crop_box"]
        left, top, across, down = annotation["bbox"]
        assert x <= left
        assert y <= top
        assert left + across <= x + width
        assert top + down <= y + height


def test_one_tile_is_the_whole_image() -> None:
    user = predictor()
    user.set_image(painted(SIZE, OBJECTS))
    tiled, whole = user.generate(tile=256), user.generate()
    assert [a["segmentation"] for a in tiled.to_coco()] == [a["segmentation"] for a in whole.to_coco()]


def test_small_holes_are_filled_when_asked_for() -> None:
    objects = {30: [(16, 16, 240, 176)], 0: [(100, 100, 116, 116)]}
    user = predictor()
    user.refine = "off"  # which fills them unasked
    user.set_image(painted(SIZE, objects))
    assert not user.generate().masks[0, 108, 108]
    assert user.generate(min_mask_region_area=900).masks[0, 108, 108]


def test_a_click_gets_a_window_that_grows_with_its_object() -> None:
    objects = {30: [(300, 500, 1500, 1400)], 60: [(1700, 200, 1764, 264)]}
    image = painted((1800, 2000), objects)
    user = predictor()
    user.set_image(image)
    masks = user.predict(points=[[[700, 900]], [[1730, 230]]], tile=256)
    for mask, number in zip(masks.masks, (30, 60), strict=True):
        truth = image[..., 0] == number
        assert (mask & truth).sum() / (mask | truth).sum() > 0.85
    large, small = (annotation["crop_box"] for annotation in masks.to_coco())
    assert min(large[2:]) > 900
    assert small[2:] == [256, 256]
    assert masks.info["tile"] == 256


def test_windows_keep_the_candidates_of_a_multimask_prediction(compact: Predictor) -> None:
    masks = compact.predict(points=[[[140, 100]], [[60, 200]]], multimask=True, tile=128)
    assert masks.candidates is not None
    assert masks.candidate_scores is not None
    assert masks.candidates.shape == (2, 3, 300, 280)
    for index, best in enumerate(masks.candidate_scores.argmax(axis=1)):
        np.testing.assert_array_equal(masks.candidates[index, best], masks.masks[index])
        assert masks.candidate_scores[index, best] == masks.scores[index]
    assert compact.predict(points=[[140, 100]], tile=128).candidates is None


def test_errors_say_what_to_do() -> None:
    user = predictor()
    with pytest.raises(ImageError, match="set_image"):
        user.generate()
    user.set_image(painted(SIZE, OBJECTS))
    with pytest.raises(ConfigError, match="did you mean 'points_per_side"):
        user.generate(point_per_side=3)  # type: ignore[call-arg]
    with pytest.raises(ConfigError, match="at least 64 pixels"):
        user.predict(points=[[5, 5]], tile=3)
    with pytest.raises(PromptError, match="mask input"):
        user.predict(mask_input=np.zeros((32, 32), np.float32), tile=64)
    with pytest.raises(PromptError, match="inside the image"):
        user.predict(points=[[900, 5]], tile=64)
