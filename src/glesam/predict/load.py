"""Loading what a predictor is made of: the model, what restores embeddings, and what restores images."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

import torch

from glesam.enhance.pipeline import Restoration
from glesam.errors import ConfigError
from glesam.models.base import PromptableModel
from glesam.predict.modes import check_dtype, pick_device
from glesam.restore.base import Restorer


@dataclass(frozen=True)
class PredictorParts:
    """What `Predictor.from_pretrained` puts together.

    Attributes:
        model: of any family, with its head.
        restoration: for embeddings of degraded images; None leaves the base model.
        restorer: for images, before the model sees them; None leaves them as they are.
        dtype: of the predictor; an exported model has its own.
    """

    model: PromptableModel
    restoration: Restoration | None
    restorer: Restorer | None
    dtype: str


@torch.inference_mode(False)  # see load_model
def load_parts(
    name: str | os.PathLike[str],
    device: str = "cpu",
    dtype: str = "float32",
    enhancer: str | os.PathLike[str] | None = None,
    runtime: str | None = None,
    restore: str | Restorer | None = None,
    restore_cache: str | os.PathLike[str] | None = None,
    head: str | os.PathLike[str] | None = None,
    head_mode: str | None = None,
) -> PredictorParts:
    """Load them. Arguments and errors are those of `Predictor.from_pretrained`."""
    from glesam.heads.headed import HeadedModel
    from glesam.models.exported.model import RuntimeModel, runtime_of
    from glesam.models.registry import load_model, local_weights
    from glesam.restore.registry import load_restorer

    # The restorer comes first: a wrong name costs no loading of a model.
    restorer = restore if isinstance(restore, Restorer) else load_restorer(restore, pick_device(device), restore_cache)
    with_head = (head or head_mode) is not None
    if runtime is not None or runtime_of(local_weights(name)) is not None:
        if with_head:
            raise ConfigError("expected no head for an exported model, which has its own decoder; leave the head out")
        if enhancer is not None:
            raise ConfigError(f"expected an exported model as it was exported, got enhancer {enhancer}; leave that out")
        exported = RuntimeModel.from_pretrained(name, runtime)
        exported.place("cpu" if device == "auto" else device, check_dtype(dtype))
        return PredictorParts(exported, exported.restoration(), restorer, "float32")
    model = load_model(os.fspath(name), device=pick_device(device))
    bundle = _bundle(name, enhancer, model.base if isinstance(model, HeadedModel) else model)
    if with_head:
        from glesam.heads.registry import attach

        model = attach(head, model, os.fspath(name), head_mode)
    if isinstance(model, HeadedModel) and bundle is not None:
        bundle = bundle.under(model.over)
    return PredictorParts(model, bundle, restorer, dtype)


def _bundle(
    name: str | os.PathLike[str], enhancer: str | os.PathLike[str] | None, model: PromptableModel
) -> Restoration | None:
    """The enhancer of a folder, one that ships under that name, or the one that ships for the model."""
    from glesam.models.registry import bundled_enhancer, enhancer_folder

    folder = bundled_enhancer(name) if enhancer is None else enhancer_folder(enhancer)
    if folder is None:
        return None
    from glesam.enhance.bundle import load_bundle

    # A model that was tuned from the base takes what ships, where it was asked for by name.
    named = enhancer is not None and not Path(enhancer).exists()
    return load_bundle(folder, model, other_weights=named)
