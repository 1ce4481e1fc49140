from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pycocotools import mask as reference

from glesam.data.readers.coco_masks import decode_segmentation, polygon_mask
from glesam.errors import DataError
from glesam.masks.rle import text_to_runs


def decode_rle(counts: object, height: int, width: int) -> np.ndarray:
    """Decode run lengths as they stand in an annotation."""
    return decode_segmentation({"size": [height, width], "counts": counts}, height, width)


bool_masks = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40))


@given(mask=bool_masks)
def test_compressed_counts_decode_as_written_by_the_coco_api(mask: np.ndarray) -> None:
    encoded = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
    for counts in (encoded["counts"], encoded["counts"].decode()):
        np.testing.assert_array_equal(decode_rle(counts, *mask.shape), mask)


def test_large_runs_and_differences_decode() -> None:
    rng = np.random.default_rng(0)
    for density in (0.001, 0.02, 0.5, 0.98):
        mask = rng.random((700, 500)) < density
        encoded = reference.encode(np.asfortranarray(mask.astype(np.uint8)))
        np.testing.assert_array_equal(decode_rle(encoded["counts"], 700, 500), mask)


@given(mask=bool_masks)
def test_plain_counts_decode_as_counted_by_hand(mask: np.ndarray) -> None:
    counts, value = [0], False
    for pixel in mask.T.ravel():
        if pixel != value:
            counts.append(0)
            value = bool(pixel)
        counts[-1] += 1
    np.testing.assert_array_equal(decode_rle(counts, *mask.shape), mask)


def test_known_text() -> None:
    # 6 background, 1 object, 40 background: 6 -> '6', 1 -> '1', 40 = 8 + 32 -> 'X' (8 + 32 + 48), '1'.
    assert text_to_runs("61X1").tolist() == [6, 1, 40]


@pytest.mark.parametrize("counts", ["", "~~", "X", " 1", [], [3, -1, 4], [1.5, 4.5], [[1], [5]], ["a"]])
def test_broken_counts_are_data_errors(counts: object) -> None:
    with pytest.raises(DataError):
        decode_rle(counts, 2, 3)


def test_counts_of_another_size_are_refused() -> None:
    with pytest.raises(DataError, match=r"fill 3x4 pixels, got 6"):
        decode_rle([2, 4], 3, 4)
    with pytest.raises(DataError, match=r"size \[3, 4\], got \[2, 3\]"):
        decode_segmentation({"size": [2, 3], "counts": [2, 4]}, 3, 4)


@given(text=st.binary(max_size=30))
def test_any_text_decodes_or_is_refused(text: bytes) -> None:
    try:
        mask = decode_rle(text, 4, 5)
    except DataError:
        return
    assert mask.shape == (4, 5)


def as_coco_fills(polygons: list[list[float]], height: int, width: int) -> np.ndarray:
    """The mask that COCO's own API makes."""
    return reference.decode(reference.merge(reference.frPyObjects(polygons, height, width))).astype(bool)


values = st.one_of(st.floats(-20, 60), st.integers(-20, 60).map(float), st.integers(-40, 120).map(lambda n: n / 2))


@settings(max_examples=200)
@given(
    polygons=st.lists(
        st.lists(values, min_size=6, max_size=20).filter(lambda p: len(p) % 2 == 0), min_size=1, max_size=2
    ),
    size=st.tuples(st.integers(1, 40), st.integers(1, 40)),
)
def test_polygons_are_filled_as_the_coco_api_fills_them(polygons: list[list[float]], size: tuple[int, int]) -> None:
    """Of any shape, crossing themselves and leaving the image."""
    np.testing.assert_array_equal(polygon_mask(polygons, *size), as_coco_fills(polygons, *size))


def test_large_polygons_are_filled_as_the_coco_api_fills_them() -> None:
    rng = np.random.default_rng(1)
    for count in (12, 60, 300):
        angles = np.sort(rng.uniform(0, 2 * np.pi, count))
        radii = rng.uniform(150, 480, count)
        polygon = np.stack([400 + radii * np.cos(angles), 350 + radii * np.sin(angles)], axis=1).ravel().tolist()
        np.testing.assert_array_equal(polygon_mask([polygon], 700, 820), as_coco_fills([polygon], 700, 820))


def test_an_outline_taken_in_parts_is_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    polygon = np.random.default_rng(2).uniform(-5, 35, 60).tolist()
    whole = polygon_mask([polygon], 30, 30)
    monkeypatch.setattr("glesam.data.readers.coco_masks._CROSSINGS", 1)
    np.testing.assert_array_equal(polygon_mask([polygon], 30, 30), whole)


@pytest.mark.parametrize("cells", [1, 150, 1000])
def test_columns_filled_in_parts_are_the_same(cells: int, monkeypatch: pytest.MonkeyPatch) -> None:
    star = [10.5, -8.0, 60.0, 130.0, 5.0, 40.0, 90.3, 20.0, 12.0, 110.0]  # leaves the image above and below
    monkeypatch.setattr("glesam.data.readers.coco_masks._CELLS", cells)

    np.testing.assert_array_equal(polygon_mask([star], 70, 80), as_coco_fills([star], 70, 80))


def test_corners_beyond_all_numbers_cost_no_memory() -> None:
    assert polygon_mask([[-1e300, -1e300, 1e300, -1e300, 1e300, 1e300, -1e300, 1e300]], 5, 6).all()


def test_rectangle_is_exact_and_parts_join() -> None:
    expected = np.zeros((10, 12), bool)
    expected[2:5, 1:7] = True
    expected[6:9, 3:5] = True
    parts = [[1, 2, 7, 2, 7, 5, 1, 5], [3, 6, 5, 6, 5, 9, 3, 9]]
    np.testing.assert_array_equal(polygon_mask(parts, 10, 12), expected)


def test_polygon_outside_is_cut_off() -> None:
    assert polygon_mask([[-50, -50, 50, -50, 50, 50, -50, 50]], 6, 7).all()
    assert not polygon_mask([[60, 60, 70, 60, 70, 70]], 6, 7).any()
    assert not polygon_mask([[1, 1, 3, 1, 5, 1]], 6, 7).any()  # no area


@pytest.mark.parametrize("polygon", [[], [1, 2, 3, 4], [1, 2, 3, 4, 5, 6, 7], [1, 2, 3, 4, 5, float("nan")], ["a"] * 6])
def test_broken_polygons_are_data_errors(polygon: list[float]) -> None:
    with pytest.raises(DataError, match=r"three corners|numbers"):
        polygon_mask([polygon], 10, 10)


@pytest.mark.parametrize("field", [None, 3, {}, {"size": [3, 4]}])
def test_other_segmentations_are_refused(field: object) -> None:
    with pytest.raises(DataError, match="polygons or run lengths"):
        decode_segmentation(field, 3, 4)
