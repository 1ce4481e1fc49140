"""Weights stored as 8-bit integers: half the size of float16, back in float32 at load.

Symmetric, with a scale for each row (output channel) of a matrix, as is usual for weights alone (Nagel et al., "A
White Paper on Neural Network Quantization", 2021, section 2.3). Activations and arithmetic stay in floating point: only
a file gets smaller; memory and speed stay what they were.
"""

from __future__ import annotations

import torch
from torch import Tensor

SCALE = "#scale"
"""Ending of the key that holds the scales of the tensor whose key stands before it."""

_LEVELS = 127
_MIN_ROW = 32
_MIN_SIZE = 4096


def pack(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Replace large matrices and kernels by int8 tensors and their float32 scales; leave all others as they are.

    Args:
        tensors: by name; a tensor counts as large from 4,096 elements and 32 a row, so that the scales cost little.
            Depthwise kernels, biases and norms, which are small and sensitive, are left alone; so are tensors of a
            single row, such as embeddings `(1, N, C)`, in which one scale would serve for all.

    Returns:
        int8 tensors under their own names, and under name + `SCALE` their `(rows,)` scales. What comes back from
        `unpack` differs by at most half a scale.
    """
    packed: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.is_floating_point() and tensor.ndim > 1 and _large(tensor):
            rows = tensor.detach().float().flatten(1)
            scale = rows.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny) / _LEVELS
            packed[name] = (rows / scale[:, None]).round().to(torch.int8).reshape(tensor.shape)
            packed[name + SCALE] = scale
        else:
            packed[name] = tensor
    return packed


def unpack(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Bring tensors of `pack` back to float32; a state without any is returned as it is.

    A scale without a fitting int8 tensor stays in the state, where a strict load finds it.
    """
    found = dict(state)
    for key in [key for key in state if key.endswith(SCALE)]:
        name = key.removesuffix(SCALE)
        values, scale = state.get(name), state[key]
        if values is not None and values.dtype == torch.int8 and scale.shape == values.shape[:1]:
            found[name] = values.float() * scale.reshape(-1, *[1] * (values.ndim - 1))
            del found[key]
    return found


def _large(tensor: Tensor) -> bool:
    return tensor.shape[0] > 1 and tensor.numel() >= _MIN_SIZE and tensor[0].numel() >= _MIN_ROW
