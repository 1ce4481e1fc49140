"""Low-rank adapters (LoRA: Hu et al., ICLR 2022) on a model's layers, as parametrisations of their weights.

peft's layers, which `enhance.lora` uses on the U-Net, add their part when a layer is called, and give the frozen weight
to code that reads it. The compact decoder reads weights where no gradients are wanted, as between rounds of corrective
clicks, and would answer there without what was learned. A parametrised weight is the sum wherever it is read.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from glesam.weights.folders import ModuleType

WEIGHT = "weight"


class LowRank(nn.Module):
    """Adds `up @ down`, zero at first, to a weight.

    Args:
        weight: `(n, ...)`, of any floating type.
        rank: of what is added.
        generator: draws `down`, uniformly as Kaiming (a = sqrt 5).
    """

    def __init__(self, weight: Tensor, rank: int, generator: torch.Generator) -> None:
        super().__init__()
        rows, columns = weight.shape[0], weight[0].numel()
        down = torch.empty(min(rank, rows, columns), columns)
        nn.init.kaiming_uniform_(down, a=math.sqrt(5), generator=generator)
        self.down = nn.Parameter(down.to(weight))
        self.up = nn.Parameter(torch.zeros(rows, len(down)).to(weight))

    def forward(self, weight: Tensor) -> Tensor:
        """Return the sum, in the weight's shape."""
        return weight + (self.up @ self.down).view(weight.shape)


def attach(model: nn.Module, layers: Iterable[nn.Module], rank: int, seed: int) -> None:
    """Freeze a model, and put trainable adapters on some of its layers.

    Args:
        model: changed in place; its answers stay as they are.
        layers: of the model. Linear layers and convolutions without groups get adapters, others none; of a grouped
            convolution each group would need its own.
        rank: of each adapter, at least 1; smaller where a weight has fewer rows or columns.
        seed: of the adapters.
    """
    model.requires_grad_(False)
    generator = torch.Generator().manual_seed(seed)
    for layer in layers:
        if isinstance(layer, nn.Linear) or (isinstance(layer, nn.Conv2d | nn.ConvTranspose2d) and layer.groups == 1):
            parametrize.register_parametrization(layer, WEIGHT, LowRank(layer.weight, rank, generator))


def merged(model: ModuleType) -> ModuleType:
    """A model with the same answers and plain weights; itself where it has no adapters, else a copy."""
    if not any(parametrize.is_parametrized(module) for module in model.modules()):
        return model
    plain = copy.deepcopy(model)
    for module in list(plain.modules()):
        if parametrize.is_parametrized(module, WEIGHT):
            _merge(module)
    return plain


def _merge(module: nn.Module) -> None:
    """Make a layer plain again; torch's own way changes the class, which copies of the layer share."""
    weight = nn.Parameter(module.weight.detach(), requires_grad=False)  # type: ignore[operator]
    plain = parametrize.type_before_parametrizations(module)
    del module.parametrizations
    module.__class__ = plain
    module.register_parameter(WEIGHT, weight)
