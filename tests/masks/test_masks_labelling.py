"""Labels for other programs, read back by readers written from the formats' descriptions, and rasterised by OpenCV."""

from __future__ import annotations

import json
from xml.etree import ElementTree

import cv2
import numpy as np
import pytest
from scipy.ndimage import binary_fill_holes

from glesam.errors import DataError
from glesam.masks.labelling import cvat, labelme, napari, yolo
from glesam.masks.masks import Masks


def blobs() -> np.ndarray:
    """A disc with a hole, two pieces far apart, and a bar over the first."""
    ys, xs = np.mgrid[:90, :140]
    disc = (xs - 40) ** 2 + (ys - 45) ** 2 < 30**2
    ring = disc & ((xs - 40) ** 2 + (ys - 45) ** 2 > 8**2)
    pieces = ((xs - 100) ** 2 + (ys - 20) ** 2 < 12**2) | ((xs - 110) ** 2 + (ys - 70) ** 2 < 15**2)
    bar = (abs(ys - 45) < 5) & (xs > 20) & (xs < 90)
    return np.stack([ring, pieces, bar])


def made(**fields: object) -> Masks:
    return Masks(blobs(), np.array([0.9, 0.8, 0.7], np.float32), name="a.jpg", **fields)  # type: ignore[arg-type]


def rasterised(rings: list[np.ndarray], size: tuple[int, int]) -> np.ndarray:
    """Pixels whose centre is inside, by eightfold enlargement; OpenCV's polygons hold their outline's pixels too."""
    canvas = np.zeros((8 * size[0], 8 * size[1]), np.uint8)
    for ring in rings:
        cv2.fillPoly(canvas, [np.rint(8 * np.asarray(ring) - 0.5).astype(np.int32)], 1)
    return canvas[4::8, 4::8] > 0


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return float((a & b).sum() / (a | b).sum())


def test_labelme_has_a_polygon_for_each_piece() -> None:
    document = json.loads(labelme(made(class_names=("cup", "dog", "cup")), "photos/a.jpg", 0))
    assert {"version", "flags", "shapes", "imagePath", "imageData", "imageHeight", "imageWidth"} == document.keys()
    assert (document["imagePath"], document["imageHeight"], document["imageWidth"]) == ("photos/a.jpg", 90, 140)
    assert [s["label"] for s in document["shapes"]] == ["cup", "dog", "dog", "cup"]
    assert {s["shape_type"] for s in document["shapes"]} == {"polygon"}
    for number, mask in enumerate(blobs(), start=1):
        rings = [np.array(s["points"]) for s in document["shapes"] if s["group_id"] == number]
        assert iou(rasterised(rings, mask.shape), binary_fill_holes(mask)) > 0.98


def test_yolo_has_a_line_an_object_with_its_pieces_joined() -> None:
    lines = yolo(made(class_names=("cup", "dog", "cup")), ["dog", "cup"], 0).decode().splitlines()
    assert [line.split()[0] for line in lines] == ["1", "0", "1"]
    for line, mask in zip(lines, blobs(), strict=True):
        shares = np.array(line.split()[1:], float).reshape(-1, 2)
        assert 0 <= shares.min() <= shares.max() <= 1
        assert iou(rasterised([shares * (140, 90)], mask.shape), binary_fill_holes(mask)) > 0.95


def test_yolo_without_names_and_of_empty_masks() -> None:
    stack = blobs()
    stack[1] = False
    lines = yolo(Masks(stack, np.ones(3, np.float32))).decode().splitlines()
    assert [line.split()[0] for line in lines] == ["0", "0"]
    with pytest.raises(DataError, match="'cup'; add it"):
        yolo(made(class_names=("cup", "dog", "cup")), ["dog"])


def test_cvat_masks_are_exact() -> None:
    root = ElementTree.fromstring(cvat([made(class_names=("cup", "dog", "cup")), made()]))
    images = root.findall("image")
    assert [(i.get("id"), i.get("name"), i.get("width"), i.get("height")) for i in images] == [
        ("0", "a.jpg", "140", "90"),
        ("1", "a.jpg", "140", "90"),
    ]
    found = {}
    for mask in images[0].findall("mask"):
        left, top, width, height = (int(mask.get(key, "")) for key in ("left", "top", "width", "height"))
        values: list[bool] = []
        for index, run in enumerate(map(int, mask.get("rle", "").split(", "))):
            values += [index % 2 == 1] * run
        whole = np.zeros((90, 140), bool)
        whole[top : top + height, left : left + width] = np.reshape(values, (height, width))
        found[int(mask.get("z_order", ""))] = (mask.get("label"), whole)
    for index, mask in enumerate(blobs()):
        assert found[index][0] == ("cup", "dog", "cup")[index]
        np.testing.assert_array_equal(found[index][1], mask)
    with pytest.raises(DataError, match="name of their image"):
        cvat([Masks(blobs(), np.ones(3, np.float32))])


def test_napari_gets_a_layer_with_features_for_each_label() -> None:
    masks = made(class_names=("cup", "dog", "cup"))
    data, arguments, kind = napari(masks)
    assert kind == "labels"
    np.testing.assert_array_equal(data, masks.to_labels())
    features = arguments["features"]
    assert {len(column) for column in features.values()} == {data.max() + 1}
    assert features["index"] == list(range(4))
    assert features["class"][1:] == ["cup", "dog", "cup"]
    napari_layers = pytest.importorskip("napari.layers")
    layer = napari_layers.Layer.create(data, arguments, kind)
    assert layer.features["score"][1] == pytest.approx(0.9)


def test_a_viewer_of_napari_without_a_screen_has_the_objects() -> None:
    components = pytest.importorskip("napari.components")
    masks = made(class_names=("cup", "dog", "cup"))
    data, arguments, _ = napari(masks)
    viewer = components.ViewerModel()
    viewer.add_image(np.full((*masks.size, 3), 60, np.uint8))
    layer = viewer.add_labels(data, **arguments)
    assert [each.name for each in viewer.layers][1:] == ["a.jpg"]
    for y, x in ((30, 40), (20, 100), (45, 80), (0, 0)):  # ring, pieces, bar, nothing
        assert layer.get_value((y, x)) == data[y, x]
    assert layer.features["class"].tolist() == ["", "cup", "dog", "cup"]
    colours = [tuple(np.asarray(layer.get_color(number)).round(3).tolist()) for number in (1, 2, 3)]
    assert len(set(colours)) == 3
    assert layer.thumbnail[..., 3].any()  # drawn small, by numpy
