"""Which way objects are carried: SAM 2's memory where the model has it, else the previous mask."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from glesam.common.messages import one_of
from glesam.errors import ModelError
from glesam.prompts.names import refuse
from glesam.video.tracker import Tracker

KINDS = ("auto", "memory", "masks")
_WITHOUT_MEMORY = ("enhancer", "restore", "head")
_FURTHER = (*_WITHOUT_MEMORY, "restore_cache", "refine", "head_mode", "quality")


def load_tracker(
    model: str | os.PathLike[str] = "compact",
    device: str = "cpu",
    enhance: str = "auto",
    multimask: bool = False,
    kind: str = "auto",
    **further: Any,
) -> Tracker:
    """Load a model for clips.

    Args:
        model: as `Predictor.from_pretrained` takes it. SAM 2's memory comes from folders and hub repositories in
            transformers' format, and from the authors' `.pt` files.
        device: see `Predictor.from_pretrained`.
        enhance: "on" asks for the enhancer, which works with the previous mask only.
        multimask: three candidates on the first frame; the memory has its own rule.
        kind: "memory", "masks", or "auto": memory where weights have it and no enhancing is asked for.
        **further: `enhancer`, `restore`, `restore_cache`, `refine`, `head`, `head_mode` and `quality`, see
            `Predictor.from_pretrained`; but for `refine` they work with the previous mask only.

    Raises:
        ConfigError: unknown `kind` or `refine`.
        ModelError: as `Predictor.from_pretrained`, or there is no memory and `kind` asks for it.
        PromptError: an argument of another name.
    """
    _check(kind, further)
    plain = kind != "masks" and enhance != "on" and all(further.get(name) is None for name in _WITHOUT_MEMORY)
    if plain and (tracker := _with_memory(model, device, further.get("refine", "auto"))) is not None:
        return tracker
    if kind == "memory":
        raise ModelError(
            f"expected SAM 2 weights with memory for kind='memory' without enhancing, got {model}; use SAM 2's "
            "weights, or kind='masks'"
        )
    from glesam.predict.predictor import Predictor
    from glesam.video.propagate import MaskPropagation

    return MaskPropagation(Predictor.from_pretrained(model, device, enhance, **further), multimask)


def _check(kind: str, further: Iterable[str]) -> None:
    one_of("a kind", kind, KINDS)
    if unknown := [name for name in further if name not in _FURTHER]:
        raise refuse(unknown, _FURTHER, "load_tracker")


def _with_memory(model: str | os.PathLike[str], device: str, refine: str) -> Tracker | None:
    """SAM 2 with its memory, where the weights have it."""
    from glesam.masks.refine import check_mode
    from glesam.models.registry import verify_original
    from glesam.predict.modes import pick_device
    from glesam.video.memory import MemoryTracker, has_memory, load_memory_model

    source = _folder(model)
    if source is None or not has_memory(source):
        return None
    if source.is_file():
        verify_original(source)
    return MemoryTracker(load_memory_model(source, pick_device(device)), str(model), check_mode(refine))


def _folder(model: str | os.PathLike[str]) -> Path | None:
    """Folder or file of a model's weights on this machine; a hub repository is fetched. None for what has no memory."""
    from glesam.models.registry import local_weights, presets
    from glesam.models.sam.reading import SUFFIXES
    from glesam.weights.folders import fetch_folder

    path, preset = Path(model), next((p for p in presets() if p.name == str(model)), None)
    if preset is not None and preset.family != "sam2":
        return None
    if (here := local_weights(model)) is not None:
        return here
    if preset is not None:
        return fetch_folder(preset.source)
    # What is no file is a hub id, which the predictor's own loader judges.
    return fetch_folder(path.as_posix()) if path.suffix not in SUFFIXES and str(model).count("/") == 1 else None
