"""Polygons, filled again by other code, give the mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from pycocotools import mask as coco
from shapely.geometry import MultiPolygon
from shapely.validation import explain_validity
from skimage import data, measure

from glesam.masks.polygons import signed_area, trace

masks = arrays(bool, array_shapes(min_dims=2, max_dims=2, max_side=14))


def filled(rings: list[np.ndarray], shape: tuple[int, int], scale: int = 8) -> np.ndarray:
    """Fill rings (even-odd) on an enlarged canvas with OpenCV and look at the centres of pixels."""
    canvas = np.zeros((shape[0] * scale + 1, shape[1] * scale + 1), np.uint8)
    cv2.fillPoly(canvas, [np.round(ring * scale).astype(np.int32) for ring in rings], 1)
    return canvas[scale // 2 :: scale, scale // 2 :: scale][: shape[0], : shape[1]].astype(bool)


def iou(a: np.ndarray, b: np.ndarray) -> float:
    return (a & b).sum() / (a | b).sum()


def photo_masks() -> list[np.ndarray]:
    """Uneven shapes with holes: thresholds of photographs, and a disc."""
    coffee, cat = data.coffee()[..., 0], data.cat()[..., 1]
    y, x = np.mgrid[:300, :400]
    return [
        cv2.GaussianBlur(coffee, (0, 0), 3) > 120,
        cv2.GaussianBlur(cat, (0, 0), 2) < 100,
        (x - 200) ** 2 + (y - 140) ** 2 < 110**2,
        (abs(x - y) < 2),
    ]


@settings(max_examples=80, deadline=None)
@given(masks)
def test_without_tolerance_rings_enclose_exactly_the_mask(mask):
    rings = trace(mask, 0)
    np.testing.assert_array_equal(filled(rings, mask.shape), mask)
    assert sum(map(signed_area, rings)) == mask.sum()


def multipolygon(rings: list[np.ndarray]) -> MultiPolygon:
    """Rings as shapely's geometry."""
    parts: list[tuple[list, list]] = []
    for ring in rings:
        if signed_area(ring) > 0:
            parts.append((ring.tolist(), []))
        else:
            parts[-1][1].append(ring.tolist())
    return MultiPolygon(parts)


@settings(max_examples=150, deadline=None)
@given(masks, st.sampled_from([0.0, 0.5, 1.0, 2.0]))
def test_rings_are_valid_geometry(mask, tolerance):
    """Also where pixels touch at corners only, or a ring closes over one."""
    shape = multipolygon(trace(mask, tolerance))
    assert shape.is_valid, explain_validity(shape)
    assert len(shape.geoms) == measure.label(mask, connectivity=1).max()
    if not tolerance:
        assert shape.area == mask.sum()


@pytest.mark.parametrize("blur", [0.8, 2.0, 5.0])
def test_made_up_masks_are_valid_with_their_area(blur):
    noise = np.random.default_rng(1).standard_normal((200, 260)).astype(np.float32)
    mask = cv2.GaussianBlur(noise, (0, 0), blur) > 0.01
    shape = multipolygon(trace(mask))
    assert shape.is_valid, explain_validity(shape)
    # Half a pixel along the outline is what rounding to pixels may cost.
    assert abs(shape.area - mask.sum()) <= 0.5 * shape.length


@settings(max_examples=60, deadline=None)
@given(masks, st.sampled_from([0.0, 0.5, 1.0, 3.0]))
def test_rings_are_proper(mask, tolerance):
    for ring in trace(mask, tolerance):
        assert ring.dtype == np.float32
        assert ring.ndim == 2
        assert ring.shape[1] == 2
        assert len(ring) >= 3
        assert (ring[0] != ring[-1]).any()
        assert (ring >= 0).all()
        assert (ring <= mask.shape[::-1]).all()


def test_a_square_with_a_hole():
    mask = np.zeros((10, 12), bool)
    mask[2:9, 3:11] = True
    mask[4:6, 5:8] = False
    outer, hole = trace(mask, 0)
    assert {tuple(p) for p in outer.tolist()} == {(3, 2), (11, 2), (11, 9), (3, 9)}
    assert {tuple(p) for p in hole.tolist()} == {(5, 4), (8, 4), (8, 6), (5, 6)}
    assert signed_area(outer) == 7 * 8
    assert signed_area(hole) == -2 * 3


def test_holes_follow_the_ring_they_lie_in():
    mask = np.zeros((10, 30), bool)
    for left in (0, 20):
        mask[:10, left : left + 10] = True
        mask[3:6, left + 3 : left + 6] = False
    rings = trace(mask, 0)
    assert [signed_area(ring) > 0 for ring in rings] == [True, False, True, False]
    for outer, hole in (rings[:2], rings[2:]):
        assert outer[:, 0].min() < hole[:, 0].min() < hole[:, 0].max() < outer[:, 0].max()


@pytest.mark.parametrize("shape", [(1, 1), (1, 9), (9, 1)])
def test_thin_masks_are_not_lines(shape):
    (ring,) = trace(np.ones(shape, bool))
    assert signed_area(ring) == np.prod(shape)


def test_empty_mask():
    assert trace(np.zeros((5, 5), bool)) == []


@pytest.mark.parametrize("mask", photo_masks()[:3])
def test_default_tolerance_keeps_the_shape_with_far_fewer_points(mask):
    exact, simple = trace(mask, 0), trace(mask)
    assert iou(filled(simple, mask.shape), mask) > 0.97
    assert sum(map(len, simple)) < 0.5 * sum(map(len, exact))


@pytest.mark.parametrize("mask", photo_masks())
@pytest.mark.parametrize("tolerance", [1.0, 2.0, 4.0])
def test_no_ring_changes_its_area_by_more_than_a_twentieth(mask, tolerance):
    for simple, exact in zip(trace(mask, tolerance), trace(mask, 0), strict=True):
        assert abs(signed_area(simple) - signed_area(exact)) <= 0.05 * abs(signed_area(exact)) + 1e-3


def test_pycocotools_reads_the_rings_as_polygons():
    mask = photo_masks()[2]
    codes = coco.frPyObjects([ring.ravel().tolist() for ring in trace(mask)], *mask.shape)
    assert iou(coco.decode(coco.merge(codes)).astype(bool), mask) > 0.98
