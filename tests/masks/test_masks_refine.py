"""Refining against the guided filter's own equations and against masks whose edges are known."""

from __future__ import annotations

import numpy as np
import pytest

from glesam.errors import ConfigError
from glesam.masks.obey import Clicks
from glesam.masks.refine import (
    GUIDE_PIXELS,
    Policy,
    Refiner,
    check_mode,
    choose_parts,
    enlarged,
    fill_holes,
    filter_radius,
    guided_filter,
    make_guide,
    refine,
)


def guided_by_windows(guide: np.ndarray, values: np.ndarray, radius: int, eps: float) -> np.ndarray:
    """He et al., equations 5 to 8, window by window: fit a line in each, and average the lines over a pixel."""
    height, width = guide.shape
    padded = [np.pad(each.astype(np.float64), 2 * radius, mode="reflect") for each in (guide, values)]
    total = np.zeros(guide.shape)
    for y in range(height):
        for x in range(width):
            lines = []
            for dy in range(-radius, radius + 1):
                for dx in range(-radius, radius + 1):
                    top, left = y + dy + radius, x + dx + radius
                    i, p = (each[top : top + 2 * radius + 1, left : left + 2 * radius + 1] for each in padded)
                    a = ((i * p).mean() - i.mean() * p.mean()) / (i.var() + eps)
                    lines.append(a * guide[y, x] + p.mean() - a * i.mean())
            total[y, x] = np.mean(lines)
    return total


def test_guided_filter_follows_the_equations() -> None:
    rng = np.random.default_rng(0)
    guide, values = rng.random((14, 17), np.float32), rng.random((14, 17), np.float32)
    found = guided_filter(guide, values, 2, 1e-2)
    inner = slice(4, -4), slice(4, -4)
    assert np.abs(found - guided_by_windows(guide, values, 2, 1e-2))[inner].max() < 1e-5


def scene() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A disc as truth, its image with noise, and logits of the disc in cells of 5 pixels."""
    rng = np.random.default_rng(1)
    ys, xs = np.mgrid[:160, :200]
    truth = (ys - 80) ** 2 + (xs - 90) ** 2 < 45**2
    grey = np.clip(np.where(truth, 170, 80) + rng.normal(0, 4, truth.shape), 0, 255).astype(np.uint8)
    cells = truth.reshape(32, 5, 40, 5).mean(axis=(1, 3))
    coarse = np.kron((cells > 0.5) * 6.0 - 3.0, np.ones((5, 5)))
    return truth, grey, coarse.astype(np.float32)


def iou(first: np.ndarray, second: np.ndarray) -> float:
    return float((first & second).sum() / (first | second).sum())


def test_edges_move_to_those_of_the_image() -> None:
    truth, grey, logits = scene()
    before, after = iou(logits > 0, truth), iou(refine(logits, grey, 5.0), truth)
    assert before < 0.97
    assert after > 0.98


def test_a_flat_image_moves_no_straight_edge() -> None:
    logits = np.full((60, 80), -4, np.float32)
    logits[:, 40:] = 4
    assert np.array_equal(refine(logits, np.full((60, 80), 9, np.uint8), 8.0), logits > 0)


@pytest.mark.parametrize(("area", "cell", "radius"), [(10_000, 4.0, 5), (10_000, 1.2, 2), (900, 4.0, 0), (0, 4.0, 0)])
def test_the_radius_shrinks_with_the_object_and_follows_the_cells(area: int, cell: float, radius: int) -> None:
    assert filter_radius(area, cell, Policy(cells=2, share=0.05)) == radius


def blobs() -> tuple[np.ndarray, np.ndarray]:
    """Three squares with logits: 20 pixels wide and certain, 12 wide and unsure, 3 wide and certain."""
    logits = np.full((60, 90), -5, np.float32)
    logits[10:30, 10:30] = 5
    logits[10:22, 50:62] = 0.5
    logits[40:43, 10:13] = 5
    return logits > 0, logits


def spots(mask: np.ndarray) -> list[bool]:
    """Whether each of the squares is there."""
    return [bool(mask[15, 15]), bool(mask[15, 55]), bool(mask[41, 11])]


def test_without_clicks_islands_go_and_parts_stay() -> None:
    mask, logits = blobs()
    kept = choose_parts(mask, logits)
    assert spots(kept) == [True, True, False]


def test_clicks_keep_what_they_hit_and_what_is_certain() -> None:
    mask, logits = blobs()
    on_large = choose_parts(mask, logits, Clicks.of([[15, 15]], [1]))
    assert spots(on_large) == [True, False, False]
    on_small = choose_parts(mask, logits, Clicks.of([[11, 41]], [1]))
    assert spots(on_small) == [True, False, True]
    boxed = choose_parts(mask, logits, Clicks.of([[15, 15]], [1], has_box=True))
    assert np.array_equal(boxed, choose_parts(mask, logits))


def test_holes_are_filled_unless_large_clicked_or_open_to_the_edge() -> None:
    mask = np.zeros((80, 80), bool)
    mask[:60, 10:70] = True
    mask[20:24, 20:24] = False  # small: filled
    mask[30:50, 30:50] = False  # large: stays
    mask[0:4, 50:54] = False  # at the image's edge: stays
    mask[24:28, 60:64] = False  # small, clicked: stays
    filled = fill_holes(mask, Clicks.of([[61, 25]], [0]))
    expected = mask.copy()
    expected[20:24, 20:24] = True
    assert np.array_equal(filled, expected)


def test_a_hole_in_a_mask_of_the_whole_image_is_filled() -> None:
    mask = np.ones((50, 50), bool)
    mask[20:23, 20:23] = False
    assert fill_holes(mask).all()


def test_an_empty_mask_stays_empty() -> None:
    assert not refine(np.full((20, 20), -1, np.float32), np.zeros((20, 20), np.uint8), 4.0).any()


def test_a_guide_is_grey_and_bounded() -> None:
    image = np.zeros((30, 40, 3), np.uint8)
    image[..., 1] = 100
    assert np.unique(make_guide(image)).tolist() == [59]  # ITU-R BT.601: 0.587 of green
    large = make_guide(np.zeros((2048, 4096, 3), np.uint8))
    assert large.shape[1] == 2 * large.shape[0]
    assert abs(large.size - GUIDE_PIXELS) < 4096


def test_a_shrunk_guide_gives_the_mask_at_the_images_size() -> None:
    truth, grey, logits = scene()
    small = grey.reshape(80, 2, 100, 2).mean(axis=(1, 3)).astype(np.uint8)
    clicks = Clicks.of([[90, 80]], [1])
    mask = Refiner(small, 5.0, (clicks,), Policy(share=0.1)).cut(logits, 0)
    assert mask.shape == truth.shape
    assert iou(mask, truth) > 0.97


def test_a_window_refines_as_the_whole_image_does() -> None:
    _, grey, logits = scene()
    clicks = Clicks.of([[90, 80], [5, 5]], [1, 0])
    window = slice(10, 150), slice(20, 170)
    whole = Refiner(grey, 5.0, (clicks,))
    near = whole.within(window, (160, 200))
    assert np.array_equal(near.cut(logits[window], 0), whole.cut(logits, 0)[window])


def test_every_second_pixel_of_a_window_gives_almost_the_same() -> None:
    truth, grey, logits = scene()
    window = slice(10, 150), slice(20, 170)
    near = Refiner(grey, 5.0, (None,)).within(window, (160, 200), step=2)
    mask = enlarged(near.cut(np.ascontiguousarray(logits[window][::2, ::2]), 0), (140, 150))
    assert iou(mask, truth[window]) > 0.96


def test_an_unknown_mode_is_refused() -> None:
    with pytest.raises(ConfigError, match="auto, off"):
        check_mode("yes")
