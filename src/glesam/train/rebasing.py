"""An enhancer moved to another base model, one that was trained on from the base model that it was made for.

What tuning changed is a direction among the weights. Added to other weights of the same basin it does there what it did
at home: task arithmetic (Ilharco et al., ICLR 2023, section 2). So an enhancer follows its base model to what that has
learned since, without being trained again.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

from torch import Tensor

from glesam.enhance.bundle import Parts, load_bundle, write_bundle
from glesam.enhance.pipeline import LevelRule
from glesam.errors import ModelError
from glesam.models.base import Part, PromptableModel
from glesam.models.tuned import tunable_state, with_tuned
from glesam.train.stages.trainable import TUNABLE
from glesam.weights.folders import check_keys, read_config, save_tensors


def rebase_bundle(
    folder: str | Path,
    old: PromptableModel,
    new: PromptableModel,
    out: str | Path,
    gate: Path | None = None,
    rules: Sequence[LevelRule] = (),
    half: bool = False,
    int8: bool = False,
) -> Path:
    """Write an enhancer for another base model: its encoder and decoder moved, all else as it was.

    Args:
        folder: an enhancer's folder, a bundle.
        old: the base model that it was made for, in float32.
        new: of the same family and shapes, trained on from `old`, in float32.
        out: folder of the new bundle.
        gate: a gate that takes the place of the bundle's own.
        rules: rules that take the place of the bundle's own.
        half: as in `write_bundle`.
        int8: as in `write_bundle`.

    Returns:
        The folder.

    Raises:
        ModelError: the bundle was made for another model than `old`, or the two models have other tensors.
    """
    folder = Path(folder)
    own = load_bundle(folder, old).rules
    present = set(read_config(folder)["parts"])
    found = {name: folder / name for name in present}
    if gate is not None:
        found["gate"] = gate
    with tempfile.TemporaryDirectory() as scratch:
        for part in TUNABLE:
            if part in present:
                found[part] = rebase_part(folder / part, part, old, new, Path(scratch) / part)
        return write_bundle(out, new, Parts(**found), rules or own, half, int8)


def rebase_part(folder: Path, part: Part, old: PromptableModel, new: PromptableModel, out: Path) -> Path:
    """Write a tuned part for another base model: `new + (tuned - old)`, tensor by tensor, in float32.

    Args:
        folder: the part, as `save_tuned` wrote it.
        part: "decoder" or "encoder".
        old: the model that it was tuned from.
        new: of the same family and shapes.
        out: folder of the moved part.

    Returns:
        The folder.

    Raises:
        ModelError: the models are of two families, or tensors that the part tuned have other names or shapes.
    """
    if new.family != old.family:
        raise ModelError(f"expected a model of family {old.family} to move a part to, got {new.family}")
    config = read_config(folder)
    tuned, before, after = (
        _state(model, part, config["tensors"]) for model in (with_tuned(old, part, folder), old, new)
    )
    check_keys(before, after, f"the {part} of the model to move to")
    save_tensors(out, {name: after[name] + (tuned[name] - before[name]) for name in before}, config)
    return out


def _state(model: PromptableModel, part: Part, names: list[str]) -> dict[str, Tensor]:
    """Those of a part's tensors that were tuned; a model that lacks one is found out by `check_keys`."""
    state = tunable_state(model, part)
    return {name: state[name].float() for name in names if name in state}
