"""The finder with a decoder that answers with drawn discs, whose right choice is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from glesam.models.base import ImageGeometry, MaskOutput, PromptTensors
from glesam.text.base import WordMap
from glesam.text.find import (
    FindOptions,
    FoundObject,
    ObjectFinder,
    _first_of_regions,
    _is_piece,
    _region_boxes,
    ring_contrast,
)

SIDE = 64
GEOMETRY = ImageGeometry((96, 128), (48, 64), SIDE)  # fills the upper three quarters of the square
DISCS = [(12, 14, 7), (50, 30, 9)]  # x, y, radius in cells of the low-resolution logits


def disc(x: float, y: float, radius: float) -> np.ndarray:
    ys, xs = np.mgrid[:SIDE, :SIDE] + 0.5
    return radius - np.hypot(xs - x, ys - y)


def word_map(discs: list[tuple[int, int, int]], presence: float = 1.0, word: str = "disc") -> WordMap:
    """A map on cells of four by four, as coarse as real ones."""
    inside = np.max([disc(*each) > 0 for each in discs], axis=0).astype(np.float32)[:48]
    return WordMap(word, inside.reshape(12, 4, 16, 4).mean(axis=(1, 3)), presence)


def decode(prompts: PromptTensors) -> MaskOutput:
    """Three candidates for each prompt: the disc nearest to it, a part of that disc, and all but a corner."""
    if prompts.boxes is not None:
        centres = (prompts.boxes[0, :, :2] + prompts.boxes[0, :, 2:]) / 2
    else:
        assert prompts.point_coords is not None
        centres = prompts.point_coords[0, :, 0]
    logits = []
    for x, y in centres.tolist():
        nearest = min(DISCS, key=lambda d: np.hypot(d[0] - x, d[1] - y))
        logits.append([disc(*nearest), disc(nearest[0], nearest[1], 2), disc(32, 24, 60)])
    iou = torch.tensor([[[0.8, 0.9, 0.95]]]).repeat(1, len(logits), 1)
    return MaskOutput(torch.from_numpy(np.array(logits)).float()[None], iou)


def find(maps: list[WordMap], **options: float) -> list[FoundObject]:
    return ObjectFinder(GEOMETRY, decode, torch.device("cpu"), 4, FindOptions(**options)).find(maps)  # type: ignore[arg-type]


def test_two_of_a_kind_are_two_objects_and_neither_a_part_nor_all() -> None:
    found = find([word_map(DISCS)])
    assert len(found) == 2
    got = sorted(int((each.logits > 0).sum()) for each in found)
    assert got == sorted(int((disc(*each) > 0).sum()) for each in DISCS)


def test_a_word_that_is_not_present_has_no_objects() -> None:
    assert find([word_map(DISCS, presence=0.49)]) == []
    assert find([]) == []


def test_of_two_words_on_one_object_the_surer_one_stays() -> None:
    found = find([word_map(DISCS[:1], 0.6, "cat"), word_map(DISCS[:1], 0.9, "dog")])
    assert [each.word for each in found] == ["dog"]
    apart = find([word_map(DISCS[:1], 0.6, "cat"), word_map(DISCS[1:], 0.9, "dog")])
    assert [each.word for each in apart] == ["cat", "dog"]


def test_order_and_number_of_words_do_not_change_a_words_objects() -> None:
    cat, dog = word_map(DISCS[:1], 0.8, "cat"), word_map(DISCS[1:], 0.9, "dog")
    alone = find([cat])
    among = [each for each in find([dog, cat]) if each.word == "cat"]
    np.testing.assert_array_equal(alone[0].logits, among[0].logits)
    assert alone[0].score == among[0].score


def test_a_badge_on_a_suit_is_a_piece_and_a_child_beside_is_not() -> None:
    person, badge, child = disc(30, 30, 20) > 0, disc(30, 30, 3) > 0, disc(54, 30, 4) > 0
    assert _is_piece(badge, person & ~badge)
    assert not _is_piece(child, person)
    assert not _is_piece(disc(30, 30, 12) > 0, person)


def test_regions_are_boxed_by_their_peaks_without_slips_of_the_map() -> None:
    values = np.zeros((40, 60), np.float32)
    values[5:35, 5:35], values[10:16, 45:50], values[0, 59] = 0.8, 1.0, 0.9
    assert _region_boxes(values, 0.5, 3).tolist() == [[45, 10, 50, 16], [5, 5, 35, 35]]


def test_the_first_points_of_each_region_are_kept_in_their_order() -> None:
    inside = np.zeros((10, 20), bool)
    inside[2:8, 1:9], inside[4:6, 15:18] = True, True
    points = np.array([[2.5, 3.5], [16.5, 4.5], [7.5, 6.5], [4.5, 4.5], [15.5, 5.5], [8.5, 2.5]], np.float32)
    assert _first_of_regions(inside, points, 2) == [0, 1, 2, 4]
    assert _first_of_regions(inside, points, 9) == [0, 1, 2, 3, 4, 5]


def test_ring_contrast_by_brute_force() -> None:
    values = np.random.default_rng(0).random((20, 24)).astype(np.float32)
    mask = np.zeros((20, 24), bool)
    mask[6:12, 8:15] = True
    width = max(2, round(0.15 * 42**0.5))
    ring = [
        values[y, x]
        for y in range(20)
        for x in range(24)
        if not mask[y, x] and mask[max(0, y - width) : y + width + 1, max(0, x - width) : x + width + 1].any()
    ]
    assert ring_contrast(values, mask, 0.15) == pytest.approx(values[mask].mean() - np.mean(ring), abs=1e-6)


def test_ring_contrast_of_no_mask_and_of_all() -> None:
    values = np.array([[0.25, 0.75]], np.float32)
    assert ring_contrast(values, np.zeros((1, 2), bool), 0.15) == -1
    assert ring_contrast(values, np.ones((1, 2), bool), 0.15) == pytest.approx(0.25)


def test_a_sure_mask_beside_the_map_does_not_hide_the_object_under_it() -> None:
    """Of a faint map a mask that misses it can be worth more, by its predicted IoU, than the one that fits."""

    def beside(prompts: PromptTensors) -> MaskOutput:
        several = torch.from_numpy(np.stack([disc(50, 12, 6), disc(16, 24, 20)])).float()
        count = prompts.shape[1]
        return MaskOutput(several.repeat(1, count, 1, 1, 1), torch.tensor([0.99, 0.1]).repeat(1, count, 1))

    values = word_map(DISCS[:1])
    fits, misses = (
        ring_contrast(np.kron(values.values, np.ones((4, 4), np.float32)), disc(*each)[:48] > 0, 0.15)
        for each in ((16, 24, 20), (50, 12, 6))
    )
    assert misses == 0 < fits
    assert 0.99 * 0.2 + misses > 0.1 * 0.2 + fits
    found = ObjectFinder(GEOMETRY, beside, torch.device("cpu"), 4).find([values])
    assert [each.candidate for each in found] == [1]


def test_chosen_objects_are_decoded_once_more_with_fine_masks_and_stay_the_same() -> None:
    asked = []

    def finish(prompts: PromptTensors) -> MaskOutput:
        output = decode(prompts)
        asked.append(output.iou.shape[1])
        low = output.low_res_logits
        return MaskOutput(low, output.iou, low.repeat_interleave(2, dim=3).repeat_interleave(2, dim=4))

    maps = [word_map(DISCS[:1], 0.8, "cat"), word_map(DISCS[1:], 0.9, "dog")]
    plain = find(maps)
    finished = ObjectFinder(GEOMETRY, decode, torch.device("cpu"), 4, finish=finish).find(maps)
    assert sum(asked) == len(plain) == 2
    for before, after in zip(plain, finished, strict=True):
        assert (after.word, after.score) == (before.word, before.score)
        np.testing.assert_array_equal(after.logits, before.logits)
        assert before.fine is None
        assert after.fine is not None
        np.testing.assert_array_equal(after.fine[::2, ::2], after.logits)
