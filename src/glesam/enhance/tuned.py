"""Decoders tuned for enhanced latents: kept apart from the base model, which stays as it was, bit for bit."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from glesam.errors import ModelError
from glesam.files import atomic_path, write_text
from glesam.models.base import PromptableModel
from glesam.models.store import CONFIG_FILE, WEIGHTS_FILE, check_keys, read_config, read_weights

FAMILY = "tuned-decoder"
Model = TypeVar("Model", bound=PromptableModel)


def mask_decoder(model: PromptableModel) -> nn.Module:
    """The mask decoder of a model of any family.

    Raises:
        ModelError: the model has none where it is looked for.
    """
    for holder in (model, getattr(model, "model", None)):
        found = getattr(holder, "mask_decoder", None)
        if isinstance(found, nn.Module):
            return found
    raise ModelError(f"expected a model with a mask decoder, got {type(model).__name__}; use compact, SAM or SAM 2")


def save_decoder(model: PromptableModel, folder: str | Path, names: list[str], half: bool = False) -> None:
    """Write some of the mask decoder's weights: `config.json` and `model.safetensors`.

    Args:
        model: whose decoder was tuned.
        folder: made if it is not there.
        names: which of the decoder's tensors changed, by their names within it.
        half: store float16.
    """
    from safetensors.torch import save_file

    state = mask_decoder(model).state_dict()
    tensors = {k: (state[k].half() if half else state[k]).detach().cpu().contiguous() for k in names}
    with atomic_path(Path(folder) / WEIGHTS_FILE) as temporary:
        save_file(tensors, temporary)
    values = {"family": FAMILY, "base": model.family, "tensors": sorted(tensors)}
    write_text(Path(folder) / CONFIG_FILE, json.dumps(values, indent=2) + "\n")


def with_decoder(model: Model, folder: str | Path) -> Model:
    """Give a model with a tuned decoder; everything else shares its memory with `model`, which is left unchanged.

    Raises:
        ModelError: the folder holds no tuned decoder, or one of another family or shape.
    """
    config = read_config(folder)
    if config.get("family") != FAMILY or config.get("base") != model.family:
        raise ModelError(
            f"expected a tuned decoder for {model.family} in {folder}, got {config.get('family')!r} for "
            f"{config.get('base')!r}; train one with `glesam train decoder`"
        )
    names = list(config.get("tensors", []))
    return with_decoder_state(model, read_weights(folder), names, str(folder))


def with_decoder_state(model: Model, state: dict[str, Tensor], names: list[str], source: str) -> Model:
    """Give a model with some of its mask decoder's tensors replaced; see `with_decoder`.

    Args:
        model: left unchanged.
        state: the tensors, by their names within the decoder.
        names: all that the state must hold, no more and no less.
        source: where they come from, for error messages.

    Raises:
        ModelError: names or shapes do not fit.
    """
    own = {id(tensor) for part in (mask_decoder(model),) for tensor in (*part.parameters(), *part.buffers())}
    shared = {id(t): t for t in (*model.parameters(), *model.buffers()) if id(t) not in own}
    tuned = copy.deepcopy(model, shared)
    target = mask_decoder(tuned)
    expected = target.state_dict()
    unknown = sorted(set(names) - set(expected))
    if unknown:
        raise ModelError(
            f"expected tensors of the mask decoder in {source}, got {unknown[0]}; use the model that it was tuned for"
        )
    check_keys({name: expected[name] for name in names}, state, source)
    target.load_state_dict({name: value.to(expected[name].dtype) for name, value in state.items()}, strict=False)
    return tuned.eval()
