"""The layers that models and heads share against transformers' own, with the same weights."""

from __future__ import annotations

import pytest
import torch
from models_twins import same, twin
from torch import nn
from transformers.models.sam2.modeling_sam2 import Sam2FeedForward, Sam2LayerNorm

from glesam.models.layers import NORM_EPS, FeedForward, LayerNorm2d


@pytest.fixture(autouse=True)
def seeded() -> None:
    torch.manual_seed(5)


@pytest.mark.parametrize(("layers", "sigmoid"), [(2, False), (3, True), (5, False)])
def test_perceptron(layers: int, sigmoid: bool) -> None:
    ours = FeedForward(16, 48, 5, layers, sigmoid)
    theirs = twin(ours, Sam2FeedForward(16, 48, 5, layers, sigmoid_output=sigmoid))
    x = 4 * torch.randn(3, 4, 16)
    same(ours(x), theirs(x))


def test_normalisation() -> None:
    ours = LayerNorm2d(12, eps=NORM_EPS)
    nn.init.normal_(ours.weight)
    theirs = twin(ours, Sam2LayerNorm(12, data_format="channels_first"))
    x = torch.randn(2, 12, 5, 6)
    same(ours(x), theirs(x))
