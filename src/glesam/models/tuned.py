"""Mask decoders and image encoders tuned for degraded images: kept apart from the base model, which stays as it was.

Only the tensors that changed are stored, so that a folder is as small as what was trained. A model that was trained on
from the base model as a whole, its fork, gives both parts with all of their tensors.
"""

from __future__ import annotations

import copy
from collections.abc import Iterable
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from glesam.errors import ModelError
from glesam.models.base import Part, PromptableModel
from glesam.weights.folders import check_keys, read_config, read_weights, save_tensors

Tunable = TypeVar("Tunable", bound=PromptableModel)
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


def tunable_state(model: PromptableModel, part: Part) -> dict[str, Tensor]:
    """All tensors that a tuned part may hold: the part's own, and for a decoder those of the modules that help it."""
    state: dict[str, Tensor] = dict(part_of(model, part).state_dict())
    if part == "decoder":
        for name, module in model.decoder_aides().items():
            state |= {f"{name}.{key}": value for key, value in module.state_dict().items()}
    return state


def save_fork(model: PromptableModel, fork: PromptableModel, folder: str | Path) -> Path:
    """Write encoder and decoder of a model that was trained on from another one as tuned parts of that one.

    Args:
        model: the base model.
        fork: of the same family and sizes; what embeds points and boxes is that of the base model, bit for bit.
        folder: gets `encoder/` and `decoder/`.

    Returns:
        The folder.

    Raises:
        ModelError: the fork is of another family or shape, or embeds points or boxes otherwise.
    """
    if fork.family != model.family:
        raise ModelError(f"expected a fork of family {model.family}, got {fork.family}; pass one of the base model")
    own, other = model.state_dict(), fork.state_dict()
    check_keys(own, other, "the base model in its fork")
    parts: tuple[Part, ...] = ("encoder", "decoder")
    tuned = {value.data_ptr() for part in parts for value in tunable_state(fork, part).values()}
    for name, value in other.items():
        if value.data_ptr() not in tuned and not torch.equal(value, own[name]):
            raise ModelError(
                f"expected a fork that embeds points and boxes as its base model does, got another {name}; train both "
                "with keep_prompts, from one start"
            )
    for part in parts:
        save_tuned(fork, part, Path(folder) / part, sorted(tunable_state(fork, part)))
    return Path(folder)


def save_tuned(model: PromptableModel, part: Part, folder: str | Path, names: list[str], half: bool = False) -> None:
    """Write some of a part's weights: `config.json` and `model.safetensors`.

    Args:
        model: whose part was tuned.
        part: "decoder" or "encoder".
        folder: made if it is not there.
        names: which of the part's tensors changed, by their names in `tunable_state`.
        half: store float16.
    """
    state = tunable_state(model, part)
    tensors = {name: state[name].half() if half else state[name] for name in names}
    save_tensors(folder, tensors, {"family": _family(part), "base": model.family, "tensors": sorted(tensors)})


def with_tuned(model: Tunable, part: Part, folder: str | Path) -> Tunable:
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


def with_tuned_state(model: Tunable, part: Part, state: dict[str, Tensor], names: list[str], source: str) -> Tunable:
    """Give a model with some of a part's tensors replaced; see `with_tuned`.

    Args:
        model: left unchanged.
        part: "decoder" or "encoder".
        state: the tensors, by their names in `tunable_state`.
        names: all that the state must hold, no more and no less.
        source: where they come from, for error messages.

    Raises:
        ModelError: names or shapes do not fit.
    """
    expected = tunable_state(model, part)
    unknown = sorted(set(names) - set(expected))
    if unknown:
        raise ModelError(
            f"expected tensors of the {part} in {source}, got {unknown[0]}; use the model that it was tuned for"
        )
    check_keys({name: expected[name] for name in names}, state, source)
    module = part_of(model, part)
    own = {id(tensor) for tensor in (*module.parameters(), *module.buffers())}
    aides = _aides(model, part, names)
    own |= {id(tensor) for aide in aides.values() for tensor in (*aide.parameters(), *aide.buffers())}
    shared = {id(t): t for t in (*model.parameters(), *model.buffers()) if id(t) not in own}
    tuned = copy.deepcopy(model, shared)
    target = part_of(tuned, part)
    for child in _later_modules(target, set(names)):
        setattr(target, child, None)
    cast = {name: value.to(expected[name].dtype) for name, value in state.items()}
    target.load_state_dict({name: value for name, value in cast.items() if not name.startswith(_dotted(aides))}, False)
    for name, aide in _aides(tuned, part, names).items():
        start = f"{name}."
        aide.load_state_dict({k.removeprefix(start): v for k, v in cast.items() if k.startswith(start)}, strict=False)
    return tuned.eval()


def _aides(model: PromptableModel, part: Part, names: Iterable[str]) -> dict[str, nn.Module]:
    """The modules besides a part that tensors of the given names belong to."""
    found = model.decoder_aides() if part == "decoder" else {}
    return {name: module for name, module in found.items() if any(each.startswith(f"{name}.") for each in names)}


def _dotted(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(f"{name}." for name in names)


def _later_modules(module: nn.Module, names: set[str]) -> list[str]:
    """Optional modules that came to a part after it was tuned as a whole: the tuned part never knew them.

    A part of which all else was tuned would be led astray by what such a module learned with other weights.
    """
    own, children = set(module.state_dict()), tuple(getattr(module, "OPTIONAL", ()))
    needed = {name for name in own if not name.startswith(_dotted(children))}
    if not needed <= names:
        return []
    present = {name.partition(".")[0] for name in own} & set(children)
    return sorted(child for child in present if not any(name.startswith(f"{child}.") for name in names))


def _family(part: Part) -> str:
    """Name of a saved part's family in its `config.json`."""
    return f"tuned-{part}"
