"""Every format read back by somebody else's reader: Pillow, OpenCV, pycocotools, numpy, json."""

from __future__ import annotations

import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis.extra.numpy import arrays
from PIL import Image
from pycocotools import mask as codes
from pycocotools.coco import COCO

from glesam.data.readers.folder import read_mask
from glesam.errors import DataError, ImageError
from glesam.masks.masks import Masks
from glesam.prompts.prompts import Prompts

INFO = {"model": "compact", "sha256": "ab12", "seed": 7, "enhance": "auto"}


def discs(count: int = 3) -> Masks:
    """Overlapping discs of different size, the first with a hole."""
    y, x = np.mgrid[:60, :80]
    stack = np.stack([(x - 15 - 9 * i) ** 2 + (y - 20 - 4 * i) ** 2 < (14 - 3 * i) ** 2 for i in range(count)])
    stack[0, 18:22, 8:12] = False
    rng = np.random.default_rng(0)
    return Masks(
        stack,
        rng.random(count).astype(np.float32),
        rng.normal(size=(count, 8, 8)).astype(np.float32),
        np.repeat(stack[:, None], 3, axis=1),
        rng.random((count, 3)).astype(np.float32),
        name="füße.jpg",
        info=INFO,
    )


@pytest.mark.parametrize(
    ("count", "dtype"), [(3, np.uint8), (254, np.uint8), (255, np.uint8), (256, np.uint16), (400, np.uint16)]
)
def test_png_holds_the_ids(tmp_path, count, dtype):
    stack = np.zeros((count, 20, 30), bool)
    stack.reshape(count, -1)[np.arange(count), np.arange(count)] = True
    masks = Masks(stack, np.full(count, 0.5, np.float32))
    masks.save(tmp_path / "ids.png")
    ids = np.asarray(Image.open(tmp_path / "ids.png"))
    assert ids.ndim == 2
    np.testing.assert_array_equal(ids, masks.to_labels())
    np.testing.assert_array_equal(read_mask(tmp_path / "ids.png"), masks.to_labels())
    by_opencv = cv2.imread(str(tmp_path / "ids.png"), cv2.IMREAD_UNCHANGED)
    if count > 254:  # grey: no palette of 255 entries, since 255 would be read as a void border
        assert by_opencv.dtype == dtype
        np.testing.assert_array_equal(by_opencv, masks.to_labels())
    else:
        assert len(np.unique(by_opencv.reshape(-1, by_opencv.shape[-1]), axis=0)) == count + 1


def test_png_is_what_our_data_reader_reads(tmp_path):
    discs().save(tmp_path / "ids.png")
    np.testing.assert_array_equal(read_mask(tmp_path / "ids.png"), discs().to_labels())


def test_png_carries_info(tmp_path):
    discs().save(tmp_path / "ids.png")
    with Image.open(tmp_path / "ids.png") as image:
        text = json.loads(image.text["glesam"])
    assert text["info"] == INFO
    assert text["name"] == "füße.jpg"
    np.testing.assert_array_equal(np.float32(text["scores"]), discs().scores)


def test_coco_document_is_read_by_pycocotools(tmp_path):
    masks = discs()
    masks.save(tmp_path / "masks.json")
    document = COCO(str(tmp_path / "masks.json"))
    assert document.dataset["info"] == INFO
    (image,) = document.loadImgs(document.getImgIds())
    assert (image["file_name"], image["width"], image["height"]) == ("füße.jpg", 80, 60)
    annotations = document.loadAnns(document.getAnnIds())
    assert [a["id"] for a in annotations] == [1, 2, 3]
    for annotation, mask, score in zip(annotations, masks.masks, masks.scores, strict=True):
        np.testing.assert_array_equal(document.annToMask(annotation).astype(bool), mask)
        code = {**annotation["segmentation"]}
        assert isinstance(code["counts"], str)
        assert annotation["area"] == codes.area(code)
        assert annotation["bbox"] == codes.toBbox(code).tolist()
        assert np.float32(annotation["score"]) == score == np.float32(annotation["predicted_iou"])


def test_annotations_are_results_for_pycocotools(tmp_path):
    discs().save(tmp_path / "masks.json")
    document = COCO(str(tmp_path / "masks.json"))
    (tmp_path / "results.json").write_text(json.dumps(discs().to_coco(image_id=1, category_id=1)))
    assert len(document.loadRes(str(tmp_path / "results.json")).getAnnIds()) == 3


@settings(max_examples=30, deadline=None)
@given(arrays(bool, (3, 7, 5)))
def test_masks_come_back_from_coco(stack):
    masks = Masks(stack, np.array([0.9, 0.123456789, 0], np.float32), name="a.jpg", info=INFO)
    for content in (json.loads(masks.encode(".json")), json.loads(json.dumps(masks.to_coco()))):
        back = Masks.from_coco(content, name="a.jpg")
        np.testing.assert_array_equal(back.masks, stack)
        np.testing.assert_array_equal(back.scores, masks.scores)
        assert back.name == "a.jpg"
    assert Masks.from_coco(json.loads(masks.encode(".json"))).info == INFO


def test_no_masks_at_all_go_through_every_format(tmp_path):
    none = Masks(np.zeros((0, 4, 5), bool), np.zeros(0, np.float32), name="a.jpg")
    for suffix in (".png", ".json", ".geojson", ".npz"):
        none.save(tmp_path / f"none{suffix}")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "none.png")), np.zeros((4, 5)))
    assert Masks.from_coco(json.loads((tmp_path / "none.json").read_text())).masks.shape == (0, 4, 5)
    assert Masks.from_coco([], size=(4, 5)).masks.shape == (0, 4, 5)
    assert json.loads((tmp_path / "none.geojson").read_text())["features"] == []
    assert np.load(tmp_path / "none.npz")["masks"].shape == (0, 4, 5)


CODE = {"size": [2, 2], "counts": "4"}


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "an empty list; give size"),
        ([{"segmentation": CODE}, {"segmentation": {"size": [1, 4], "counts": "4"}}], r"\(1, 4\), \(2, 2\)"),
        ([{"segmentation": [[0, 0, 1, 0, 1, 1]]}], "annotation 0: .*size and counts"),
        ([{}], "annotation 0"),
        ([{"segmentation": CODE, "score": "high"}], "score of annotation 0, got 'high'"),
        ("text", "list of objects, got str"),
        ([1], "list of objects"),
        ({"annotations": []}, "0 of 0 images"),
        ({"images": [{"id": 1}], "annotations": []}, "width, height"),
        ({"images": [{"id": i, "width": 2, "height": 2} for i in (1, 2)], "annotations": []}, "2 of 2 images"),
    ],
)
def test_foreign_coco_is_refused_on_one_line(content, words):
    with pytest.raises(DataError, match=words) as error:
        Masks.from_coco(content)
    assert "\n" not in str(error.value)


def test_one_image_of_a_document_by_name():
    images = [{"id": i, "file_name": f"{i}.jpg", "width": 2, "height": 2} for i in (1, 2)]
    annotations = [{"image_id": i, "segmentation": {"size": [2, 2], "counts": [4 - i, i]}} for i in (1, 2)]
    back = Masks.from_coco({"images": images, "annotations": annotations}, name="2.jpg")
    assert back.areas.tolist() == [2]
    assert back.scores.tolist() == [1]


def test_npz_holds_everything_without_pickle(tmp_path):
    masks = discs()
    masks.save(tmp_path / "all.npz")
    with np.load(tmp_path / "all.npz", allow_pickle=False) as back:
        for key in ("masks", "scores", "logits", "candidates", "candidate_scores", "boxes"):
            np.testing.assert_array_equal(back[key], getattr(masks, key))
        assert json.loads(str(back["info"])) == INFO
        assert str(back["name"]) == "füße.jpg"
        assert len(Prompts(mask_input=back["logits"])) == 3


def test_geojson_polygons_fill_to_the_masks(tmp_path):
    masks = discs()
    masks.save(tmp_path / "polygons.geojson")
    document = json.loads((tmp_path / "polygons.geojson").read_text())
    assert document["type"] == "FeatureCollection"
    assert document["info"] == INFO
    assert document["image_size"] == {"width": 80, "height": 60}
    for feature, mask in zip(document["features"], masks.masks, strict=True):
        assert feature["geometry"]["type"] == "MultiPolygon"
        canvas = np.zeros((60 * 8, 80 * 8), np.uint8)
        for polygon in feature["geometry"]["coordinates"]:
            assert all(ring[0] == ring[-1] for ring in polygon)
            cv2.fillPoly(canvas, [np.array(ring[:-1], np.int32) * 8 for ring in polygon], 1)
        back = canvas[4::8, 4::8].astype(bool)
        assert (back & mask).sum() / (back | mask).sum() > 0.9
        assert feature["properties"]["area"] == mask.sum()
    assert len(document["features"][0]["geometry"]["coordinates"][0]) == 2, "outer ring and hole"


@pytest.mark.parametrize("suffix", [".png", ".json", ".geojson", ".npz"])
def test_same_masks_same_bytes(suffix):
    assert discs().encode(suffix) == discs().encode(suffix) == discs().encode(suffix.upper())


@pytest.mark.parametrize("suffix", [".jpg", "", ".txt"])
def test_other_suffixes_are_refused(tmp_path, suffix):
    with pytest.raises(DataError, match=r"ends in .png, .json, .geojson, .npz, got"):
        discs().save(tmp_path / f"out{suffix}")
    assert list(tmp_path.iterdir()) == []


def test_info_that_json_cannot_hold(tmp_path):
    bad = Masks(np.zeros((1, 2, 2), bool), np.zeros(1, np.float32), info={"path": Path("x")})
    for suffix in (".png", ".json", ".geojson", ".npz"):
        with pytest.raises(DataError, match="plain JSON values"):
            bad.save(tmp_path / f"out{suffix}")
    assert list(tmp_path.iterdir()) == []
    numpy = Masks(np.zeros((1, 2, 2), bool), np.zeros(1, np.float32), info={"seed": np.int64(3)})
    assert json.loads(numpy.encode(".json"))["info"] == {"seed": 3}


def test_too_many_masks_for_a_png():
    many = Masks(np.zeros((65536, 1, 1), bool), np.zeros(65536, np.float32))
    with pytest.raises(DataError, match=r"65535.*65536"):
        many.encode(".png")


def test_unwritable_places(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.png").mkdir()
    for target in (tmp_path / "file" / "out.png", tmp_path / "folder.png"):
        with pytest.raises(ImageError, match=r"expected to write .*folder that you may write to") as error:
            discs().save(target)
        assert "\n" not in str(error.value)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder.png"]
