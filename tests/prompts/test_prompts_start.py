"""Start masks as prompts: the mask comes back from the logits, box and point are its own."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from glesam.errors import PromptError
from glesam.masks.masks import Masks
from glesam.models.base import ImageGeometry
from glesam.prompts.start import kept_to_start, mask_logits, start_prompts

GEOMETRY = ImageGeometry((120, 200), (154, 256), 256)
MASK: np.ndarray = np.zeros((120, 200), bool)
MASK[30:90, 50:150] = True


def test_logits_laid_back_over_the_image_are_the_mask() -> None:
    logits = mask_logits(MASK[None], GEOMETRY)
    assert logits.shape == (1, 64, 64)
    back = GEOMETRY.restore(torch.from_numpy(logits)[:, None])[0, 0].numpy() > 0
    assert (back & MASK).sum() / (back | MASK).sum() > 0.95
    assert (logits[0, 40:] < 0).all()  # the padding


def test_box_and_deepest_point_are_the_mask_s() -> None:
    prompts = start_prompts(MASK[None], GEOMETRY)
    assert prompts.boxes is not None
    assert prompts.boxes.tolist() == [[50, 30, 150, 90]]
    assert prompts.points is not None
    (x, y) = prompts.points[0, 0]
    assert 75 <= x <= 125
    assert 58 <= y <= 62


def test_tiny_and_whole_masks_stay_inside_somewhere() -> None:
    tiny = np.zeros_like(MASK)
    tiny[60, 100] = True
    assert (mask_logits(np.stack([tiny, np.ones_like(MASK)]), GEOMETRY) > 0).any(axis=(1, 2)).all()


def test_masks_that_cannot_start_are_refused() -> None:
    with pytest.raises(PromptError, match="200x120"):
        start_prompts(MASK[None, :50], GEOMETRY)
    with pytest.raises(PromptError, match="empty"):
        start_prompts(np.zeros_like(MASK)[None], GEOMETRY)


def test_an_answer_that_strays_gives_way_to_its_start() -> None:
    other = np.roll(MASK, 90, axis=1)
    near = np.roll(MASK, 3, axis=1)
    answer = Masks(np.stack([near, other]), np.array([0.9, 0.8], np.float32), np.zeros((2, 64, 64), np.float32))
    start = np.stack([MASK, MASK])
    given = mask_logits(start, GEOMETRY)
    kept = kept_to_start(answer, start, given, 0.5)
    np.testing.assert_array_equal(kept.masks, [near, MASK])
    np.testing.assert_array_equal(kept.logits, [answer.logits[0], given[1]])
    assert kept.info["start_kept"] == [1]
    np.testing.assert_array_equal(kept_to_start(answer, start, given, 0.0).masks, answer.masks)
