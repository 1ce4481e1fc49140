"""The same module twice, ours and transformers'."""

from __future__ import annotations

import torch
from torch import nn


def twin(module: nn.Module, theirs: nn.Module) -> nn.Module:
    """The same weights, none missing and none too many, in transformers' module."""
    theirs.load_state_dict(module.state_dict())
    return theirs.eval()


def same(ours: torch.Tensor, theirs: torch.Tensor) -> None:
    assert ours.std() > 0.01
    torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
