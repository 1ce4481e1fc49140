"""The kinds of latent enhancers: a new one is one file and one row."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

from torch import nn

from glesam.errors import ModelError
from glesam.weights.folders import CONFIG_FILE, read_config

_ENHANCERS: dict[str, str | type[nn.Module]] = {
    "latent-enhancer": "glesam.enhance.gle:LatentEnhancer",
    "residual-enhancer": "glesam.enhance.residual:ResidualEnhancer",
}
"""Family in a saved enhancer's `config.json` to its class, or to `module:class`, imported at first use."""


def register(family: str, enhancer: str | type[nn.Module]) -> None:
    """Add a kind of enhancer, from any package.

    Args:
        family: what `config.json` of a saved one names.
        enhancer: class, or `module:class`: a module that maps `(B, C, h, w)` latents to the same shape, with
            `save_pretrained(folder)` and a class method `from_pretrained(folder)`.

    Raises:
        ModelError: the family is taken.
    """
    if family in _ENHANCERS:
        raise ModelError(f"expected a new family of enhancers, got {family!r}, which is taken; choose another")
    _ENHANCERS[family] = enhancer


def load_enhancer(folder: str | Path) -> nn.Module:
    """Load an enhancer of any kind by the family that its `config.json` names.

    Raises:
        ModelError: it is no enhancer's folder, or the folder is corrupt.
    """
    family = read_config(folder).get("family")
    kind: Any = _ENHANCERS.get(str(family))
    if kind is None:
        raise ModelError(
            f"expected a family of {', '.join(_ENHANCERS)} in {folder}/{CONFIG_FILE}, got {family!r}; "
            "give a folder that `glesam train enhancer` saved"
        )
    if isinstance(kind, str):
        module, _, name = kind.partition(":")
        kind = getattr(importlib.import_module(module), name)
    loaded: nn.Module = kind.from_pretrained(folder)
    return loaded
