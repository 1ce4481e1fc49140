"""What the stages on a frozen model share: opening it, feeding it views, decay groups."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from torch import nn

from glesam.models.base import PromptableModel
from glesam.weights.folders import state_digest as state_digest


class FrozenPartsObjective(nn.Module):
    """An objective whose `model` learns while its `frozen` modules stay in evaluation mode.

    A frozen encoder in training mode would drop paths at random, and pairs would differ by more than their quality.
    """

    def __init__(self, model: nn.Module, **frozen: nn.Module) -> None:
        super().__init__()
        self.model = model
        self.frozen = nn.ModuleDict({name: module.eval().requires_grad_(False) for name, module in frozen.items()})

    def train(self, mode: bool = True) -> FrozenPartsObjective:
        """Set the mode of everything but the frozen modules."""
        super().train(mode)
        self.frozen.eval()
        return self


def open_frozen(name: str) -> PromptableModel:
    """Load a model that is not to learn.

    Args:
        name: preset, folder, hub id or original checkpoint; see `load_model`.

    Raises:
        ModelError: unknown name, or missing or wrong weights.
    """
    from glesam.models.registry import load_model

    model = load_model(name)
    return model.requires_grad_(False).eval()


def decay_groups(modules: Iterable[nn.Module], lr: float, weight_decay: float) -> list[dict[str, Any]]:
    """AdamW groups of all parameters that learn: weight decay on matrices and kernels only, not on embeddings.

    Args:
        modules: parameters that several of them share are taken once.
        lr: learning rate of all groups.
        weight_decay: decoupled weight decay.
    """
    groups: dict[bool, dict[int, nn.Parameter]] = {True: {}, False: {}}
    for module in modules:
        for layer in module.modules():
            for parameter in layer.parameters(recurse=False):
                if parameter.requires_grad:
                    decays = parameter.ndim > 1 and not isinstance(layer, nn.Embedding)
                    groups[decays][id(parameter)] = parameter
    return [
        {"params": list(parameters.values()), "lr": lr, "weight_decay": weight_decay if decays else 0.0}
        for decays, parameters in groups.items()
        if parameters
    ]
