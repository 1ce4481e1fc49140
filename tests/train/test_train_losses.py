"""Losses against the formulas of their papers, computed by hand in numpy."""

import numpy as np
import pytest
import torch

from glesam.train.losses import (
    bce_loss,
    dice_loss,
    edge_loss,
    focal_loss,
    hard_iou,
    mask_losses,
    normalised_focal_loss,
)


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    return rng.normal(0, 3, (2, 3, 7, 5)), rng.uniform(0, 1, (2, 3, 7, 5))


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_dice(case):
    logits, targets = case
    p = sigmoid(logits)
    expected = 1 - (2 * (p * targets).sum((-2, -1)) + 1) / (p.sum((-2, -1)) + targets.sum((-2, -1)) + 1)
    np.testing.assert_allclose(dice_loss(torch.tensor(logits), torch.tensor(targets)), expected, atol=1e-9)


@pytest.mark.parametrize("alpha", [0.25, None])
def test_focal_on_hard_targets(case, alpha):
    logits, targets = case[0], (case[1] > 0.5).astype(float)
    p = sigmoid(logits)
    p_true = np.where(targets == 1, p, 1 - p)
    weight = 1.0 if alpha is None else np.where(targets == 1, alpha, 1 - alpha)
    expected = (-weight * (1 - p_true) ** 2 * np.log(p_true)).mean((-2, -1))
    measured = focal_loss(torch.tensor(logits), torch.tensor(targets), alpha=alpha)
    np.testing.assert_allclose(measured, expected, atol=1e-9)


def test_bce(case):
    logits, targets = case
    p = sigmoid(logits)
    expected = -(targets * np.log(p) + (1 - targets) * np.log(1 - p)).mean((-2, -1))
    np.testing.assert_allclose(bce_loss(torch.tensor(logits), torch.tensor(targets)), expected, atol=1e-9)


def test_hard_iou_by_sets_and_when_both_are_empty(case):
    logits, targets = case
    measured = hard_iou(torch.tensor(logits), torch.tensor(targets)).numpy()
    for index in np.ndindex(2, 3):
        a = set(np.flatnonzero(logits[index] > 0))
        b = set(np.flatnonzero(targets[index] > 0.5))
        assert measured[index] == pytest.approx(len(a & b) / len(a | b))
    empty = torch.full((4, 4), -1.0)
    assert hard_iou(empty, torch.zeros(4, 4)) == 1


def test_only_the_best_candidate_learns_and_token_zero_always_does():
    torch.manual_seed(0)
    logits = torch.randn(3, 4, 8, 8, requires_grad=True)
    targets = (torch.rand(3, 8, 8) > 0.5).float()
    losses = mask_losses(logits, torch.full((3, 4), 0.5), targets)
    losses["loss"].backward()
    each = bce_loss(logits, targets[:, None].expand(-1, 4, -1, -1)) + dice_loss(
        logits, targets[:, None].expand(-1, 4, -1, -1)
    )
    learns = logits.grad.abs().sum((-2, -1)) > 0
    assert learns[:, 0].all()
    for row in range(3):
        assert learns[row, 1:].tolist() == [i == int(each[row, 1:].argmin()) for i in range(3)]


def test_iou_head_learns_the_actual_iou():
    logits = torch.where(torch.rand(2, 4, 8, 8) > 0.5, 1.0, -1.0)
    targets = torch.ones(2, 8, 8)
    actual = hard_iou(logits, targets[:, None].expand_as(logits))
    assert mask_losses(logits, actual, targets)["iou_head"] == 0
    assert mask_losses(logits, actual + 0.1, targets)["iou_head"] == pytest.approx(0.01, abs=1e-6)


def test_normalised_focal_loss_equals_its_formula():
    rng = np.random.default_rng(1)
    logits, targets = rng.normal(size=(2, 5, 4)), rng.integers(0, 2, (2, 5, 4)).astype(float)
    p = 1 / (1 + np.exp(-logits))
    right = np.where(targets == 1, p, 1 - p)
    weights = (1 - right) ** 2
    expected = (weights * -np.log(right)).sum(axis=(1, 2)) / weights.sum(axis=(1, 2))
    got = normalised_focal_loss(torch.from_numpy(logits), torch.from_numpy(targets))
    np.testing.assert_allclose(got.numpy(), expected, rtol=1e-6)


def test_edge_loss_counts_pixels_near_the_edge_more():
    targets = np.zeros((1, 20, 20))
    targets[0, 6:14, 6:14] = 1
    logits = np.random.default_rng(2).normal(size=(1, 20, 20))
    p = 1 / (1 + np.exp(-logits))
    right = np.where(targets == 1, p, 1 - p)
    weights = np.ones((20, 20))
    for y in range(20):
        for x in range(20):
            window = targets[0, max(0, y - 3) : y + 4, max(0, x - 3) : x + 4].mean()
            weights[y, x] += 5 * (0.02 < window < 0.98)
    cross_entropy = (weights * -np.log(right[0])).sum() / weights.sum()
    dice = 1 - (2 * (p * targets).sum() + 1) / (p.sum() + targets.sum() + 1)
    got = edge_loss(torch.from_numpy(logits), torch.from_numpy(targets))
    assert float(got) == pytest.approx(cross_entropy + dice, rel=1e-6)
