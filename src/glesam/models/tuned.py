"""Mask decoders and image encoders tuned for degraded photos: kept apart from the base model, which stays as it was.

Only the tensors that changed are stored, so that a folder is as small as what was trained.
"""

from __future__ import annotations

import copy
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn

from glesam.errors import ModelError
from glesam.models.base import Part, PromptableModel
from glesam.weights.folders import check_keys, read_config, read_weights, save_tensors

Model = TypeVar("Model", bound=PromptableModel)
_WORDS = {"decoder": "a mask decoder", "encoder": "an image encoder"}


def mask_decoder(model: PromptableModel) -> nn.Module:
    """The mask decoder of a model of any family; see `part_of`."""
    return part_of(model, "decoder")


def image_encoder(model: PromptableModel) -> nn.Module:
    """The image encoder of a model of any family; see `part_of`."""
    return part_of(model, "encoder")


def part_of(model: PromptableModel, part: Part) -> nn.Module:
    """A part of a model, by the name that all families share.

    Raises:
        ModelError: the model has none.
    """
    found = model.parts().get(part)
    if found is None:
        raise ModelError(f"expected a model with {_WORDS[part]}, got {type(model).__name__}; use compact, SAM or SAM 2")
    return found


def save_tuned(model: PromptableModel, part: Part, folder: str | Path, names: list[str], half: bool = False) -> None:
    """Write some of a part's weights: `config.json` and `model.safetensors`.

    Args:
        model: whose part was tuned.
        part: "decoder" or "encoder".
        folder: made if it is not there.
        names: which of the part's tensors changed, by their names within it.
        half: store float16.
    """
    state = part_of(model, part).state_dict()
    tensors = {name: state[name].half() if half else state[name] for name in names}
    save_tensors(folder, tensors, {"family": _family(part), "base": model.family, "tensors": sorted(tensors)})


def with_tuned(model: Model, part: Part, folder: str | Path) -> Model:
    """Give a model with a tuned part; everything else shares its memory with `model`, which is left unchanged.

    Raises:
        ModelError: the folder holds no such part, or one of another family or shape.
    """
    config = read_config(folder)
    if config.get("family") != _family(part) or config.get("base") != model.family:
        raise ModelError(
            f"expected a tuned {part} for {model.family} in {folder}, got {config.get('family')!r} for "
            f"{config.get('base')!r}; train one with `glesam train decoder`"
        )
    names = list(config.get("tensors", []))
    return with_tuned_state(model, part, read_weights(folder), names, str(folder))


def with_tuned_state(model: Model, part: Part, state: dict[str, Tensor], names: list[str], source: str) -> Model:
    """Give a model with some of a part's tensors replaced; see `with_tuned`.

    Args:
        model: left unchanged.
        part: "decoder" or "encoder".
        state: the tensors, by their names within the part.
        names: all that the state must hold, no more and no less.
        source: where they come from, for error messages.

    Raises:
        ModelError: names or shapes do not fit.
    """
    module = part_of(model, part)
    own = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    shared = {id(t): t for t in (*model.parameters(), *model.buffers()) if id(t) not in own}
    tuned = copy.deepcopy(model, shared)
    target = part_of(tuned, part)
    expected = target.state_dict()
    unknown = sorted(set(names) - set(expected))
    if unknown:
        raise ModelError(
            f"expected tensors of the {part} in {source}, got {unknown[0]}; use the model that it was tuned for"
        )
    check_keys({name: expected[name] for name in names}, state, source)
    for child in _later_modules(target, set(names)):
        setattr(target, child, None)
    target.load_state_dict({name: value.to(expected[name].dtype) for name, value in state.items()}, strict=False)
    return tuned.eval()


def _later_modules(module: nn.Module, names: set[str]) -> list[str]:
    """Optional modules that came to a part after it was tuned as a whole: the tuned part never knew them.

    A part of which all else was tuned would be led astray by what such a module learned with other weights.
    """
    optional = tuple(f"{child}." for child in getattr(module, "OPTIONAL", ()))
    own = set(module.state_dict())
    if {name for name in own if not name.startswith(optional)} != names:
        return []
    return sorted({name.partition(".")[0] for name in own - names})


def _family(part: Part) -> str:
    """Name of a saved part's family in its `config.json`."""
    return f"tuned-{part}"
