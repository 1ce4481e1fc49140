"""The mean of what several runs saved: often better than each of them.

Model soups (Wortsman et al., ICML 2022): runs that continue from one another stay in one basin, and the mean of their
weights costs nothing at inference.
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from glesam.errors import ConfigError
from glesam.models.base import Part, PromptableModel
from glesam.models.tuned import tunable_state, with_tuned
from glesam.train.loop import is_run
from glesam.train.stages.base import trained_so_far
from glesam.train.stages.trainable import TUNABLE, saved_part
from glesam.weights.folders import DIGEST_KEY, WEIGHTS_FILE, check_keys, read_config, read_weights, save_tensors, seal

WHOLE = ("enhancer", "skips")
"""Parts that are saved whole; of the others a run saves the tensors that differ from the base model's."""


def are_models(runs: Sequence[str | Path]) -> bool:
    """Whether folders hold whole models, as runs of the base stage save them, or such runs that were stopped."""
    return all((Path(run) / WEIGHTS_FILE).is_file() or is_run(run) for run in runs)


def average_models(models: Sequence[str | Path], out: str | Path) -> Path:
    """Write the mean of the weights of models that were trained on from one another.

    Args:
        models: folders of at least two saved models of one configuration; of a run what it would save as its model.
        out: folder of the mean, made if it is not there.

    Returns:
        The folder.

    Raises:
        ConfigError: fewer than two models, models of different configurations, or a run whose start is not as it was.
        ModelError: a folder without weights, or with other tensors than the first.
    """
    if len(models) < 2:
        raise ConfigError(f"expected at least 2 models to average, got {len(models)}; name the folder of each")
    with tempfile.TemporaryDirectory() as drafts:
        folders = [_saved(Path(each), Path(drafts) / str(index)) for index, each in enumerate(models)]
        configs = [{k: v for k, v in read_config(folder).items() if k != DIGEST_KEY} for folder in folders]
        for config, folder in zip(configs[1:], models[1:], strict=True):
            if config != configs[0]:
                raise ConfigError(f"expected models of one configuration, got {configs[0]} and, in {folder}, {config}")
        save_tensors(Path(out), _mean_whole(folders), configs[0])
    seal(out)
    return Path(out)


def _saved(model: Path, draft: Path) -> Path:
    """The folder of a model; what a run of the base stage would save now is saved in `draft`."""
    if not is_run(model):
        return model
    trained_so_far(model, averaged=True).save_pretrained(draft, half=True)
    return draft


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
    save_tensors(out, _mean_whole(folders), read_config(folders[0]))


def _mean_whole(folders: Sequence[Path]) -> dict[str, Tensor]:
    states = [read_weights(folder) for folder in folders]
    for state, folder in zip(states[1:], folders[1:], strict=True):
        check_keys(states[0], state, str(folder))
    return mean_state(states)


def mean_state(states: Sequence[dict[str, Tensor]]) -> dict[str, Tensor]:
    """Mean of tensors of equal names and shapes, taken in float32; what is not floating is the first one's."""
    first = states[0]
    return {
        name: torch.stack([state[name].float() for state in states]).mean(dim=0).to(value.dtype)
        if value.is_floating_point()
        else value
        for name, value in first.items()
    }
