"""Masks in other programs' types."""

import sys

import numpy as np
import pytest

from glesam.errors import ConfigError
from glesam.masks.masks import Masks


def two_masks() -> Masks:
    stack = np.zeros((2, 20, 30), bool)
    stack[0, 2:12, 3:20] = True
    stack[1, 5:8, 6:9] = True
    return Masks(stack, np.array([0.9, 0.7], np.float32), name="a.jpg")


def test_to_supervision_agrees_with_its_own_reading_of_coco_masks():
    supervision = pytest.importorskip("supervision")
    masks = two_masks()
    detections = masks.to_supervision()
    assert isinstance(detections, supervision.Detections)
    np.testing.assert_array_equal(detections.mask, masks.masks)
    np.testing.assert_allclose(detections.confidence, [0.9, 0.7], rtol=1e-6)
    # supervision counts the area from the masks itself, and finds boxes of masks itself (its x1, y1 are inclusive).
    np.testing.assert_array_equal(detections.area, [170, 9])
    np.testing.assert_array_equal(detections.xyxy - [0, 0, 1, 1], supervision.mask_to_xyxy(masks.masks))
    assert len(detections[detections.confidence > 0.8]) == 1
    assert detections.data["name"].tolist() == ["a.jpg", "a.jpg"]


def test_to_supervision_of_no_masks():
    pytest.importorskip("supervision")
    empty = Masks(np.zeros((0, 4, 5), bool), np.zeros(0, np.float32))
    assert len(empty.to_supervision()) == 0


def test_to_supervision_without_the_package_says_how_to_get_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "supervision", None)
    with pytest.raises(ConfigError, match="pip install --no-deps supervision") as caught:
        two_masks().to_supervision()
    assert "\n" not in str(caught.value)


def test_labels_are_what_napari_takes():
    labels = two_masks().to_labels()
    assert labels.dtype == np.int32
    assert labels.shape == (20, 30)
    assert labels[6, 7] == 2
    assert labels[2, 3] == 1
    assert labels[0, 0] == 0
