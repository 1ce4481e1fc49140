"""Overlays and cut-outs, pixel by pixel where a formula says what must be there."""

from __future__ import annotations

import itertools

import cv2
import numpy as np
import pytest
from PIL import Image
from skimage import color, data

from glesam.common import arrays
from glesam.draw import overlay as module
from glesam.draw.colours import colour
from glesam.errors import DataError, ImageError
from glesam.masks.masks import Masks

PHOTO = data.astronaut()[:200, :300].copy()


def two() -> Masks:
    stack = np.zeros((2, 200, 300), bool)
    stack[0, 20:180, 30:200] = True
    stack[1, 60:100, 80:140] = True
    return Masks(stack, np.array([0.9, 0.8], np.float32))


def test_outside_the_masks_the_photo_is_untouched():
    drawn = np.asarray(two().overlay(PHOTO))
    outside = ~two().masks.any(axis=0)
    np.testing.assert_array_equal(drawn[outside], PHOTO[outside])
    assert drawn.shape == PHOTO.shape


@pytest.mark.parametrize("alpha", [0.0, 0.3, 1.0])
def test_inside_the_tint_is_the_blend(alpha):
    drawn = np.asarray(two().overlay(PHOTO, alpha)).astype(int)
    for (y, x), index in {(40, 60): 0, (80, 110): 1}.items():
        blend = (1 - alpha) * PHOTO[y, x] + alpha * np.array(colour(index))
        assert np.abs(drawn[y, x] - blend).max() <= 0.5


def test_a_mask_at_the_images_edge_is_outlined():
    whole = Masks(np.ones((1, 200, 300), bool), np.ones(1, np.float32))
    drawn = np.asarray(whole.overlay(PHOTO, 0))
    assert (drawn[0] == colour(0)).all()
    np.testing.assert_array_equal(drawn[20:-20, 20:-20], PHOTO[20:-20, 20:-20])


def test_the_first_colours_are_far_apart():
    """Two of the first 20 colours differ by more than 26 (CIE76), over ten times what eyes can just tell."""
    lab = color.rgb2lab(np.array([colour(i) for i in range(20)], np.uint8)[None])[0]
    assert min(np.linalg.norm(a - b) for a, b in itertools.combinations(lab, 2)) > 26
    assert all(0 <= channel <= 255 for i in range(500) for channel in colour(i))


def test_empty_masks_and_no_masks():
    empty = Masks(np.zeros((1, 200, 300), bool), np.ones(1, np.float32))
    none = Masks(np.zeros((0, 200, 300), bool), np.ones(0, np.float32))
    for masks in (empty, none):
        np.testing.assert_array_equal(np.asarray(masks.overlay(PHOTO)), PHOTO)


def test_the_callers_photo_is_not_drawn_on():
    before = PHOTO.copy()
    two().overlay(PHOTO)
    two().cutout(PHOTO)
    np.testing.assert_array_equal(PHOTO, before)


def test_images_in_other_forms(tmp_path):
    Image.fromarray(PHOTO).save(tmp_path / "photo.png")
    expected = np.asarray(two().overlay(PHOTO))
    for image in (Image.fromarray(PHOTO), tmp_path / "photo.png", (tmp_path / "photo.png").read_bytes()):
        np.testing.assert_array_equal(np.asarray(two().overlay(image)), expected)


def test_cutout_keeps_the_object_and_nothing_else():
    cut = np.asarray(two().cutout(PHOTO, 1))
    mask = two().masks[1]
    assert cut.shape == (200, 300, 4)
    np.testing.assert_array_equal(cut[..., 3], mask * 255)
    np.testing.assert_array_equal(cut[mask][:, :3], PHOTO[mask])
    assert (cut[~mask] == 0).all()


@pytest.mark.parametrize("index", [-1, 2])
def test_cutout_of_no_such_mask(index):
    with pytest.raises(DataError, match=f"one of 2 masks, got {index}"):
        two().cutout(PHOTO, index)


@pytest.mark.parametrize("alpha", [-0.1, 1.1, float("nan")])
def test_alpha_out_of_range(alpha):
    with pytest.raises(DataError, match="alpha from 0 to 1"):
        two().overlay(PHOTO, alpha)


def test_another_image_is_refused():
    for draw in (two().overlay, two().cutout):
        with pytest.raises(DataError, match="300x200 pixels, got 300x199"):
            draw(PHOTO[:199])
    with pytest.raises(ImageError, match=r"none.jpg"):
        two().overlay("none.jpg")


@pytest.mark.parametrize("rows", [1, 7, 40])
def test_strips_of_rows_make_the_drawing_of_the_whole(monkeypatch, rows):
    generator = np.random.default_rng(3)
    masks = np.stack([cv2.resize(generator.random((5, 6)), (60, 40)) > 0.5 for _ in range(3)])
    found, image = Masks(masks, np.ones(3, np.float32)), generator.integers(0, 256, (40, 60, 3), dtype=np.uint8)
    monkeypatch.setattr(module, "_OUTLINE_SHARE", 3 / 60)
    whole = np.asarray(found.overlay(image))
    monkeypatch.setattr(module, "row_slices", lambda array: arrays.row_slices(array, 3 * 60 * rows))
    np.testing.assert_array_equal(np.asarray(found.overlay(image)), whole)
    expected = image.copy()  # the outline by its definition: pixels of a mask at most three from its outside
    module.tint(expected, found.to_labels(), 0.5)
    for index in found.paint_order.tolist():
        far = cv2.distanceTransform(np.pad(masks[index], 1).astype(np.uint8), cv2.DIST_C, 3)[1:-1, 1:-1]
        expected[masks[index] & (far <= 3)] = colour(index)
        expected[masks[index] & (far <= 1)] = 255
    np.testing.assert_array_equal(whole, expected)
