"""State dicts out of the files in which people keep them: PyTorch's, Lightning's, safetensors."""

from __future__ import annotations

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from glesam.errors import ModelError
from glesam.weights.folders import brief

SUFFIXES = (".pth", ".pt", ".ckpt", ".safetensors")
"""Names of files that may hold one."""

_HOLDERS = ("model", "state_dict", "model_state_dict")
"""Keys under which training code keeps the weights: SAM 2's authors, Lightning, PyTorch's tutorial."""

_PREFIXES = ("module.", "_orig_mod.", "model.", "sam.", "sam_model.", "net.", "network.")
"""Of DDP, `torch.compile`, and usual attributes of a LightningModule."""


def read_checkpoint(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a file: bare, or under `model`, `state_dict` or `model_state_dict`.

    Args:
        path: `.safetensors`, or any file that `torch.save` wrote. Only tensors are read from it, never code.

    Raises:
        ModelError: the file is missing or of another format, or holds something else than tensors.
    """
    content = _read_safetensors(path) if Path(path).suffix == ".safetensors" else _read_pickle(path)
    for key in _HOLDERS:
        if isinstance(content, Mapping) and isinstance(content.get(key), Mapping):
            content = content[key]
            break
    if (
        not isinstance(content, Mapping)
        or not content
        or not all(isinstance(k, str) and isinstance(v, Tensor) for k, v in content.items())
    ):
        raise ModelError(
            f"expected a state dict in {path}, got something else; give a file of weights, such as the authors'"
        )
    return without_prefix(dict(content))


def without_prefix(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Take off what wrappers put before every key; keys that say what a model has, such as `mask_decoder.`, stay."""
    while found := next((p for p in _PREFIXES if all(key.startswith(p) for key in state)), None):
        state = {key.removeprefix(found): value for key, value in state.items()}
    return state


def _read_pickle(path: str | Path) -> Any:
    """What `torch.save` wrote, as far as it is tensors and plain containers."""
    try:
        return torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        if "Unsupported" in str(error) or "Weights only load failed" in str(error):
            raise ModelError(
                f"expected weights alone in {path}, got pickled objects, whose loading would run their code; save "
                "model.state_dict() where the model was made, and give that file"
            ) from error
        raise ModelError(_not_readable(path, error)) from error
    except Exception as error:  # torch's reader raises many types on foreign bytes
        raise ModelError(_not_readable(path, error)) from error


def _not_readable(path: str | Path, error: Exception) -> str:
    return f"expected a PyTorch file of weights in {path}, got {brief(error)}; download it again"


def _read_safetensors(path: str | Path) -> dict[str, Tensor]:
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        found: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"expected a safetensors file in {path}, got {brief(error)}; download it again") from error
    return found
