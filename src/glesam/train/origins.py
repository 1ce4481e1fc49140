"""What a run was started with and its checkpoints leave out, by digests: a resumed run must find it as it was."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

from torch import nn

from glesam.common.files import sha256
from glesam.common.messages import slug
from glesam.data.base import SegmentationDataset, fingerprint
from glesam.errors import ConfigError
from glesam.weights.folders import tensors_digest

_MODEL = "model."


def origins(stage: Any, objective: nn.Module, frozen: Collection[str]) -> dict[str, str | list[str]]:
    """Digests of what a stage makes anew at each start.

    Args:
        stage: its `start`, the weights that an average is taken with, its `packs`, and `looked_at`, `(images, models)`
            of a stage that looks at images once with frozen models beside its objective, count where it has them.
        objective: the stage's, with the model that learns as `objective.model`.
        frozen: names of the model's tensors that checkpoints leave out.

    Returns:
        `frozen`: of all tensors that no checkpoint holds, and of the start; `packs`: the keys of the packs, in order;
        and with `looked_at` its `images`, keys like those of packs, and `models`, of the tensors of its models.
    """
    state = objective.state_dict()
    left_out = {k: v for k, v in state.items() if not k.startswith(_MODEL) or k.removeprefix(_MODEL) in frozen}
    start = {f"start.{name}": weight for name, weight in getattr(stage, "start", {}).items()}
    found: dict[str, str | list[str]] = {
        "frozen": tensors_digest({**left_out, **start}),
        "packs": [pack.key for pack in getattr(stage, "packs", ())],
    }
    if hasattr(stage, "looked_at"):
        images, models = stage.looked_at()
        tensors = {f"{name}.{k}": v for name, model in models.items() for k, v in model.state_dict().items()}
        # Keys of their own: checkpoints of a time before them say nothing of these, and are resumed.
        found |= {"images": images, "models": tensors_digest(tensors)}
    return found


def images_key(dataset: SegmentationDataset, indices: Sequence[int], *files: Path) -> str:
    """A key like a pack's, of some of a data set's images and masks, and of further files."""
    digests = [fingerprint(dataset, indices), [dataset.names[index] for index in indices], *map(sha256, files)]
    return f"{slug(dataset.name)}-{hashlib.sha256(json.dumps(digests).encode()).hexdigest()[:16]}"


def check_origins(stored: Mapping[str, Any], current: Mapping[str, Any], run: Path) -> None:
    """Compare what a checkpoint says of its run's origins with those of a stage.

    Args:
        stored: the checkpoint; what it says nothing of, as older ones do, is not compared.
        current: what `origins` gives now.
        run: folder of the run, for the error.

    Raises:
        ConfigError: they differ.
    """
    if _differs(stored, current, "frozen") or _differs(stored, current, "models"):
        raise ConfigError(
            f"expected the frozen weights that the run in {run} was started with, got others; bring back the models "
            "that its config.json names, or start anew in another --out"
        )
    for part in ("packs", "images"):
        if not _differs(stored, current, part):
            continue
        other = [key.rpartition("-")[0] for key in current[part] if key not in stored[part]]
        raise ConfigError(
            f"expected the images and masks that the run in {run} was started with, got others in "
            f"{', '.join(other) or 'other places'}; bring them back, or start anew in another --out"
        )


def _differs(stored: Mapping[str, Any], current: Mapping[str, Any], part: str) -> bool:
    """Whether a checkpoint says something else of a part; nothing where one of both says nothing of it."""
    return part in stored and part in current and bool(stored[part] != current[part])
