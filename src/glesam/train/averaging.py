"""The mean of what several runs of stage 2 saved: often better than each of them.

Model soups (Wortsman et al., ICML 2022): runs that continue from one another stay in one basin, and the mean of their
weights costs nothing at inference.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from glesam.errors import ConfigError
from glesam.models.base import Part, PromptableModel
from glesam.models.tuned import tunable_state, with_tuned
from glesam.train.stages.trainable import TUNABLE, saved_part
from glesam.weights.folders import check_keys, read_config, read_weights, save_tensors

WHOLE = ("enhancer", "skips")
"""Parts that are saved whole; of the others a run saves the tensors that differ from the base model's."""


def average_parts(runs: Sequence[str | Path], out: str | Path, model: PromptableModel) -> Path:
    """Write the mean of the parts that runs of stage 2 saved.

    Args:
        runs: `model` folders of at least two runs on one base model.
        out: folder to write, made if it is not there.
        model: the base model; where a run left a tensor of decoder or encoder as it was, the base model's counts.

    Returns:
        The folder, with a part for each that any run saved.

    Raises:
        ConfigError: fewer than two runs, a folder without parts, or an enhancer or skips that not all runs have.
        ModelError: parts of different shapes, or of another model.
    """
    if len(runs) < 2:
        raise ConfigError(f"expected at least 2 runs to average, got {len(runs)}; name each run's folder `model`")
    out = Path(out)
    for part in TUNABLE:
        _average_tuned([saved_part(str(run), part) for run in runs], part, out / part, model)
    for name in WHOLE:
        folders = [folder for run in runs if (folder := saved_part(str(run), name)) is not None]
        if folders and len(folders) < len(runs):
            raise ConfigError(f"expected {name} in all runs or in none, got it in {len(folders)} of {len(runs)}")
        if folders:
            _average_whole(folders, out / name)
    return out


def _average_tuned(folders: Sequence[Path | None], part: Part, out: Path, model: PromptableModel) -> None:
    """Average a part of which each run saved what changed; None is a run in which nothing did."""
    found = [folder for folder in folders if folder is not None]
    if not found:
        return
    names = sorted({name for folder in found for name in read_config(folder)["tensors"]})
    tuned = [model if folder is None else with_tuned(model, part, folder) for folder in folders]
    states = [tunable_state(each, part) for each in tuned]
    mean = mean_state([{name: state[name] for name in names} for state in states])
    save_tensors(out, mean, read_config(found[0]) | {"tensors": names})


def _average_whole(folders: Sequence[Path], out: Path) -> None:
    """Average a part that every run saved whole; its configuration is the first run's."""
    states = [read_weights(folder) for folder in folders]
    for state, folder in zip(states[1:], folders[1:], strict=True):
        check_keys(states[0], state, str(folder))
    save_tensors(out, mean_state(states), read_config(folders[0]))


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of tensors of equal names and shapes, taken in float32; what is not floating is the first one's."""
    first = states[0]
    return {
        name: torch.stack([state[name].float() for state in states]).mean(dim=0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in first.items()
    }
