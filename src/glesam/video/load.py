"""Which way objects are carried: SAM 2's memory where the model has it, else the previous mask."""

from __future__ import annotations

import os
from pathlib import Path

from glesam.errors import ConfigError, ModelError
from glesam.video.tracker import Tracker

KINDS = ("auto", "memory", "masks")


def load_tracker(
    model: str | os.PathLike[str] = "compact",
    device: str = "cpu",
    enhance: str = "auto",
    multimask: bool = False,
    kind: str = "auto",
    enhancer: str | os.PathLike[str] | None = None,
    restore: str | None = None,
    restore_cache: str | os.PathLike[str] | None = None,
    refine: str = "auto",
    head: str | None = None,
    head_mode: str | None = None,
    quality: str = "standard",
) -> Tracker:
    """Load a model for clips.

    Args:
        model: as `Predictor.from_pretrained` takes it. SAM 2's memory comes from folders and hub repositories in
            transformers' format, and from the authors' `.pt` files.
        device: see `Predictor.from_pretrained`.
        enhance: "on" asks for the enhancer, which works with the previous mask only.
        multimask: three candidates on the first frame; the memory has its own rule.
        kind: "memory", "masks", or "auto": memory where weights have it and no enhancing is asked for.
        enhancer: folder of an enhancer, see `Predictor.from_pretrained`; works with the previous mask only.
        restore: restorer for each frame, see `Predictor.from_pretrained`; works with the previous mask only.
        restore_cache: folder that keeps restored frames.
        refine: "auto" or "off", see `Predictor`.
        head: mask head, see `Predictor.from_pretrained`; works with the previous mask only.
        head_mode: see `Predictor.from_pretrained`.
        quality: see `Predictor`; works with the previous mask only.

    Raises:
        ConfigError: unknown `kind` or `refine`.
        ModelError: as `Predictor.from_pretrained`, or there is no memory and `kind` asks for it.
    """
    if kind not in KINDS:
        raise ConfigError(f"expected a kind of {', '.join(KINDS)}, got {kind!r}; name one of these")
    from glesam.masks.refine import check_mode
    from glesam.predict.modes import pick_device
    from glesam.predict.predictor import Predictor

    if kind != "masks" and enhance != "on" and enhancer is None and restore is None and head is None:
        from glesam.video.memory import MemoryTracker, has_memory, load_memory_model

        folder = _folder(model)
        if folder is not None and has_memory(folder):
            return MemoryTracker(load_memory_model(folder, pick_device(device)), str(model), check_mode(refine))
    if kind == "memory":
        raise ModelError(
            f"expected SAM 2 weights with memory for kind='memory' without enhancing, got {model}; use SAM 2's "
            "weights, or kind='masks'"
        )
    from glesam.video.propagate import MaskPropagation

    predictor = Predictor.from_pretrained(
        model,
        device,
        enhance,
        enhancer=enhancer,
        restore=restore,
        restore_cache=restore_cache,
        refine=refine,
        head=head,
        head_mode=head_mode,
        quality=quality,
    )
    return MaskPropagation(predictor, multimask)


def _folder(model: str | os.PathLike[str]) -> Path | None:
    """Folder or file of a model's weights on this machine; a hub repository is fetched. None for what has no memory."""
    from glesam.models.registry import model_info, presets
    from glesam.models.sam.reading import SUFFIXES
    from glesam.weights.folders import fetch_folder

    path = Path(model)
    if path.exists() or path.suffix in SUFFIXES:
        return path if path.exists() else None
    preset = next((p for p in presets() if p.name == str(model)), None)
    if preset is None or preset.family != "sam2":
        # What is no SAM 2 by name has no memory, or is a hub id, which the predictor's own loader judges.
        return fetch_folder(path.as_posix()) if preset is None and str(model).count("/") == 1 else None
    location = model_info(preset.name).location
    if location is None:
        return fetch_folder(preset.source)
    return location
