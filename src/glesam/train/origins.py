"""What a run was started with and its checkpoints leave out, by digests: a resumed run must find it as it was."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from torch import nn

from glesam.errors import ConfigError
from glesam.weights.folders import tensors_digest

_MODEL = "model."


def origins(stage: Any, objective: nn.Module, frozen: Collection[str]) -> dict[str, str | list[str]]:
    """Digests of what a stage makes anew at each start.

    Args:
        stage: its `start`, the weights that an average is taken with, and its `packs` count, where it has them.
        objective: the stage's, with the model that learns as `objective.model`.
        frozen: names of the model's tensors that checkpoints leave out.

    Returns:
        `frozen`: of all tensors that no checkpoint holds, and of the start; `packs`: the keys of the packs, in order.
    """
    state = objective.state_dict()
    left_out = {k: v for k, v in state.items() if not k.startswith(_MODEL) or k.removeprefix(_MODEL) in frozen}
    start = {f"start.{name}": weight for name, weight in getattr(stage, "start", {}).items()}
    return {
        "frozen": tensors_digest({**left_out, **start}),
        "packs": [pack.key for pack in getattr(stage, "packs", ())],
    }


def check_origins(stored: Mapping[str, Any], current: Mapping[str, Any], run: Path) -> None:
    """Compare what a checkpoint says of its run's origins with those of a stage.

    Args:
        stored: the checkpoint; what it says nothing of, as older ones do, is not compared.
        current: what `origins` gives now.
        run: folder of the run, for the error.

    Raises:
        ConfigError: they differ.
    """
    if stored.get("frozen", current["frozen"]) != current["frozen"]:
        raise ConfigError(
            f"expected the frozen weights that the run in {run} was started with, got others; bring back the models "
            "that its config.json names, or start anew in another --out"
        )
    if stored.get("packs", current["packs"]) != current["packs"]:
        other = [key.rpartition("-")[0] for key in current["packs"] if key not in stored["packs"]]
        raise ConfigError(
            f"expected the images and masks that the run in {run} was started with, got others in "
            f"{', '.join(other) or 'other places'}; bring them back, or start anew in another --out"
        )
