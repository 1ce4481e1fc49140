"""Tiles of images that are known whole: merging gives the whole objects back, exactly."""

from __future__ import annotations

import tracemalloc

import numpy as np
import numpy.typing as npt
import pytest
from everything_images import painted, predictor
from scipy import ndimage

from glesam.everything.objects import Found, Groups, merge_tiles
from glesam.masks.runs import RunMask
from glesam.views.crops import tile_spans

Bool = npt.NDArray[np.bool_]


def found(mask: Bool, box: tuple[int, int, int, int]) -> Found:
    return Found(RunMask.from_array(mask), 0.9, 0.9, (0.0, 0.0), box)


def tiles_of(masks: list[Bool], tile: int, overlap: float) -> list[tuple[tuple[int, int, int, int], list[Found]]]:
    """What a perfect model finds in each tile: each connected piece of each mask."""
    height, width = masks[0].shape
    ys, xs = tile_spans(height, tile, overlap), tile_spans(width, tile, overlap)
    tiles = []
    for x0, y0, x1, y1 in [(x0, y0, x1, y1) for y0, y1 in ys for x0, x1 in xs]:
        inside = np.zeros((height, width), bool)
        inside[y0:y1, x0:x1] = True
        pieces = []
        for mask in masks:
            regions, count = ndimage.label(mask & inside, np.ones((3, 3)))
            pieces += [found(regions == i, (x0, y0, x1, y1)) for i in range(1, count + 1)]
        tiles.append(((x0, y0, x1, y1), pieces))
    return tiles


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("tile", [25, 40])
def test_random_blobs_come_back_whole(seed: int, tile: int) -> None:
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).random((90, 110)), 4)
    regions, count = ndimage.label(noise > np.quantile(noise, 0.6), np.ones((3, 3)))
    masks = [regions == i for i in range(1, count + 1)]
    merged = merge_tiles(tiles_of(masks, tile, 0.4), 0.5)
    got = {f.mask.to_array().tobytes() for f in merged}
    assert len(merged) == count > 2
    assert got == {mask.tobytes() for mask in masks}


def test_a_part_does_not_join_its_whole() -> None:
    whole, part = np.zeros((40, 100), bool), np.zeros((40, 100), bool)
    whole[5:35, 10:90] = True
    part[12:22, 20:80] = True
    merged = merge_tiles(tiles_of([whole, part], 50, 0.3), 0.5)
    assert {f.mask.to_array().tobytes() for f in merged} == {whole.tobytes(), part.tobytes()}


def test_the_arms_of_a_u_join_through_its_base() -> None:
    letter = np.zeros((40, 100), bool)
    letter[5:35, 10:30] = letter[5:12, 10:90] = letter[25:35, 10:90] = True
    assert len(merge_tiles(tiles_of([letter], 50, 0.3), 0.5)) == 1


def test_scores_are_weighted_by_area_and_views_joined() -> None:
    left, right = np.zeros((10, 40), bool), np.zeros((10, 40), bool)
    left[:, 5:25] = right[:, 15:35] = True
    parts = [
        Found(RunMask.from_array(m), s, s / 2, (p, 1.0), b)
        for m, s, p, b in ((left, 0.6, 6.0, (0, 0, 25, 10)), (right, 0.9, 30.0, (15, 0, 40, 10)))
    ]
    (merged,) = merge_tiles([(p.view, [p]) for p in parts], 0.5)
    assert merged.iou == pytest.approx(0.75)
    assert merged.stability == pytest.approx(0.375)
    assert merged.view == (0, 0, 40, 10)
    assert merged.point == (6.0, 1.0)
    assert merged.mask.area == 300


def test_groups_are_joined_transitively() -> None:
    groups = Groups(6)
    for pair in ((4, 2), (5, 0), (2, 5)):
        groups.join(*pair)
    assert groups.members() == [[0, 2, 4, 5], [1], [3]]


@pytest.mark.parametrize("cell", [40, pytest.param(80, marks=pytest.mark.slow)])
def test_a_large_image_is_cut_and_merged_exactly_in_little_memory(cell: int) -> None:
    """Of 125 x 125 cells: 5,000 pixels a side, or 10,000, which is 100 megapixels."""
    tile, side = 32 * cell, 125 * cell
    cells = {
        20: [(10, 10, 80, 60)],
        # A U whose base lies in one column of tiles and whose arms end in another.
        40: [(90, 70, 120, 80), (90, 110, 120, 120), (90, 70, 100, 120)],
        60: [(25, 70, 32, 77)],  # within the strip of two tiles
        80: [(4, 95, 83, 101)],  # long and thin
        100: [(100, 5, 106, 11)],
        120: [(30, 30, 50, 45)],  # inside the first, which has a hole there
    }
    objects = {number: [tuple(cell * v for v in box) for box in boxes] for number, boxes in cells.items()}
    image = painted((side, side), objects)
    user = predictor()
    user.set_image(image, "map.png")
    for refine in ("auto", "off"):  # masks of the decoder alone are exact
        user.refine = refine
        tracemalloc.start()
        masks = user.generate(tile=tile, points_per_side=8)
        annotations = masks.to_coco()
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        # What tiles need does not grow with the image.
        assert peak < (3 if cell == 40 else 1) * side**2, "less than so many masks of bool pixels"
        assert len(masks) == len(objects)
    for number, boxes in objects.items():
        x0, y0 = (min(box[i] for box in boxes) for i in (0, 1))
        x1, y1 = (max(box[i] for box in boxes) for i in (2, 3))
        window = image[y0:y1, x0:x1, 0] == number
        truth = RunMask.from_array(window, (side, side), x0, y0)
        index = int(np.argmax([truth.iou(runs) for runs in masks.runs]))
        assert masks.runs[index].box == (x0, y0, x1, y1)
        assert annotations[index]["area"] == masks.runs[index].area
        wrong = masks.runs[index].to_array((x0, y0, x1, y1)) ^ window
        # Bilinear enlarging rounds corners within a cell of the logits; edges are exact, across all seams.
        corners = [(x, y) for b in (*boxes, *objects[120]) for x in (b[0], b[2]) for y in (b[1], b[3])]
        # Two boxes of one object also meet in corners that are of neither.
        corners += [(x, y) for b in boxes for c in boxes for x in (b[0], b[2]) for y in (c[1], c[3])]
        for x, y in corners:
            rows, columns = (slice(max(0, v - cell), max(0, v + cell)) for v in (y - y0, x - x0))
            wrong[rows, columns] = False
        assert not wrong.any(), number
