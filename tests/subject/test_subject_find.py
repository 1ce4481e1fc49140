"""The subject's prompts and choice with a saliency that is known, and the head on drawn features."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from glesam.fewshot.features import ImageFeatures
from glesam.masks.masks import Masks
from glesam.prompts.prompts import Prompts
from glesam.subject.find import find_subject, parts_of, soft_iou, spread_points
from glesam.subject.head import SubjectHead

SIZE = (256, 256)
DISC = np.hypot(*(np.mgrid[:256, :256] - 128)) < 70


class Bright(SubjectHead):
    """Takes bright places for the subject."""

    def map(self, features: ImageFeatures) -> np.ndarray:
        rows, columns = features.cells
        values = features.fine[0, :rows, :columns] > 0.9
        return np.kron(values.numpy().astype(np.float32), np.ones((2, 2), np.float32))


def _backbone(pixels: Tensor) -> list[Tensor]:
    """Brightness, and its opposite, at strides 16 and 32."""
    light = (torch.nn.functional.avg_pool2d(pixels.mean(dim=1, keepdim=True), 16) + 1) / 2
    fine = torch.cat([light, 1 - light], dim=1)
    return [fine, fine, fine, torch.nn.functional.avg_pool2d(fine, 2)]


def test_soft_iou_of_hard_values_is_the_iou() -> None:
    rng = np.random.default_rng(0)
    one, other = rng.random((9, 9)) > 0.5, rng.random((9, 9)) > 0.5
    assert soft_iou(one, other.astype(np.float32)) == pytest.approx((one & other).sum() / (one | other).sum())
    values = rng.random((9, 9)).astype(np.float32)
    expected = np.minimum(one, values).sum() / np.maximum(one, values).sum()
    assert soft_iou(one, values) == pytest.approx(expected, rel=1e-5)


def test_parts_are_the_large_regions() -> None:
    saliency = np.zeros((30, 40), np.float32)
    saliency[2:12, 2:12] = 0.9
    saliency[20:25, 20:30] = 0.8
    saliency[28, 38] = 0.9
    parts = list(parts_of(saliency))
    assert [int(part.sum()) for part in parts] == [100, 50]
    faint = np.full((4, 4), 0.01, np.float32)
    faint[1, 1] = 0.1
    assert [int(part.sum()) for part in parts_of(faint)] == [1]


def test_points_are_inside_and_apart() -> None:
    part = np.zeros((20, 40), bool)
    part[5:15, 2:38] = True
    points = spread_points(part, 3)
    assert all(part[int(y), int(x)] for x, y in points)
    assert min(np.hypot(*(points[i] - points[j])) for i, j in ((0, 1), (0, 2), (1, 2))) >= 3
    assert len(spread_points(np.zeros((4, 4), bool), 3)) == 0


def test_the_answer_that_agrees_with_the_map_is_taken() -> None:
    image = np.where(DISC[..., None], np.uint8(250), np.uint8(20)).repeat(3, axis=2)

    def ask(prompts: Prompts, multimask: bool) -> Masks:
        good = prompts.points is not None and prompts.boxes is not None
        mask = DISC if good else np.ones(SIZE, bool)
        return Masks(np.stack([mask] * len(prompts)), np.full(len(prompts), 0.9, np.float32))

    head = Bright((2, 2), hidden=4, side=256)
    found = find_subject(ask, _backbone, head, image)
    assert found.chosen == "box and points"
    np.testing.assert_array_equal(found.mask, DISC)
    masks = found.to_masks("a.jpg", {"model": "none"})
    assert masks.info["subject"]["chosen"] == "box and points"
    assert masks.scores[0] == pytest.approx(found.agreement)
    assert found.agreement > 0.8


def test_a_saved_head_answers_as_before(tmp_path: Path) -> None:
    torch.manual_seed(0)
    head = SubjectHead((6, 10), hidden=8, side=64).eval()
    features = ImageFeatures(torch.rand(6, 4, 4), torch.rand(10, 2, 2), (0.5, 1.0))
    before = head.map(features)
    assert before.shape == (4, 8)
    head.save_pretrained(tmp_path)
    again = SubjectHead.from_pretrained(tmp_path)
    assert again.side == 64
    np.testing.assert_allclose(again.map(features), before, atol=2e-3)  # float16
