"""The official release's decoder file: a whole SAM under the authors' names, of which the mask decoder was trained.

`epoch_last.pth` of stage 2 holds the full state dict, with a `module.` prefix when it was trained on several
processes. The official reader ignores whatever does not fit; here each key is accounted for.
"""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from glesam.errors import ModelError
from glesam.models.base import PromptableModel
from glesam.models.sam.base import TIED_KEYS, WrappedModel
from glesam.models.sam.original import FAMILIES, read_checkpoint, rename, stack_tables
from glesam.models.tuned import mask_decoder
from glesam.weights.folders import check_keys

_PREFIX = "mask_decoder."
_TABLES = {family.model_class.family: (family.rules, family.ignored) for family in FAMILIES}


def read_official_decoder(path: str | Path, model: PromptableModel) -> dict[str, Tensor]:
    """Read the mask decoder of an official stage-2 file, or of a file with the decoder alone.

    Everything else in the file was frozen in training, so it must equal the model's own weights: that tells a decoder
    for ViT-L from one for ViT-B, whose decoders have the same shapes.

    Args:
        path: `.pth` file. Only tensors are read from it, never code.
        model: SAM or SAM 2, the one that the decoder was tuned for.

    Returns:
        The decoder's tensors by their names within it; see `models.tuned.with_tuned_state`.

    Raises:
        ModelError: the file cannot be read, a key is unknown or missing, or the frozen parts are another model's.
    """
    if not isinstance(model, WrappedModel) or model.family not in _TABLES:
        raise ModelError(
            f"expected SAM, MobileSAM or SAM 2 for an official decoder, got {model.family}; load sam-vit-l or such"
        )
    rules, ignored = _TABLES[model.family]
    state = rename(read_checkpoint(path), rules, ignored, str(path))
    if model.family == "sam2" and any(key.startswith("prompt_encoder.point_embed.") for key in state):
        state = stack_tables(state, str(path))
    found = {key.removeprefix(_PREFIX): value for key, value in state.items() if key.startswith(_PREFIX)}
    check_keys(mask_decoder(model).state_dict(), found, f"{path} (mask decoder)")
    _check_frozen({k: v for k, v in state.items() if not k.startswith(_PREFIX)}, model, path)
    return found


def _check_frozen(state: dict[str, Tensor], model: WrappedModel, path: str | Path) -> None:
    """Compare what training left alone with the model's own weights."""
    own = model.model.state_dict()
    for name, other in (TIED_KEYS, TIED_KEYS[::-1]):
        if other in own:
            own.setdefault(name, own[other])
    wrong = [
        k for k, v in state.items() if k not in own or own[k].shape != v.shape or not torch.equal(own[k], v.to(own[k]))
    ]
    if wrong:
        raise ModelError(
            f"expected the frozen weights of this {model.family} in {path}, got {len(wrong)} others, first "
            f"{wrong[0]}; use the model that the decoder was tuned for"
        )
