"""Small layers that models and heads share.

They have the names, shapes and results of transformers' `Sam2LayerNorm` and `Sam2FeedForward`, so that weights fit
both; they are here since importing those takes longer than all else that the first mask needs, torch included.
"""

from __future__ import annotations

import torch.nn.functional as F
from torch import Tensor, nn

NORM_EPS = 1e-6
"""Of the normalisations of maps in SAM's decoders; those of tokens have torch's."""


class LayerNorm2d(nn.LayerNorm):
    """Layer normalisation over the channels of `(B, C, H, W)`, as in SAM's neck."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each position on its own."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class FeedForward(nn.Module):
    """Perceptron with ReLU between its layers.

    Args:
        input_dim: channels that come in.
        hidden_dim: channels between layers.
        output_dim: channels that go out.
        num_layers: 2 or more.
        sigmoid_output: end in 0..1.
    """

    def __init__(
        self, input_dim: int, hidden_dim: int, output_dim: int, num_layers: int, sigmoid_output: bool = False
    ) -> None:
        super().__init__()
        self.proj_in = nn.Linear(input_dim, hidden_dim)
        self.proj_out = nn.Linear(hidden_dim, output_dim)
        self.layers = nn.ModuleList([nn.Linear(hidden_dim, hidden_dim) for _ in range(num_layers - 2)])
        self.sigmoid_output = sigmoid_output

    def forward(self, hidden_states: Tensor) -> Tensor:
        """Map `(..., input_dim)` to `(..., output_dim)`."""
        hidden_states = F.relu(self.proj_in(hidden_states))
        for layer in self.layers:
            hidden_states = F.relu(layer(hidden_states))
        out: Tensor = self.proj_out(hidden_states)
        return F.sigmoid(out) if self.sigmoid_output else out
