"""The kinds of heads, one row each: a new one is one file and one row."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from pathlib import Path

import torch

from glesam.errors import ModelError
from glesam.heads.base import FAMILY_PREFIX, MaskHead, saved_kind
from glesam.models.base import PromptableModel
from glesam.models.tuned import mask_decoder
from glesam.weights.folders import load_module, read_config, state_digest


@dataclass(frozen=True)
class HeadKind:
    """A kind of head.

    Attributes:
        module: where its class is; imported when used, as torch takes seconds.
        name: of the class.
        summary: what it is for.
    """

    module: str
    name: str
    summary: str

    def load(self) -> type[MaskHead]:
        """The class."""
        found: type[MaskHead] = getattr(importlib.import_module(self.module), self.name)
        return found


KINDS = {
    "hq": HeadKind("glesam.heads.hq", "HQHead", "sharper masks (HQ-SAM)"),
    "robust": HeadKind("glesam.heads.robust", "RobustHead", "masks of degraded images (RobustSAM)"),
}


def new_head(kind: str, base: PromptableModel) -> MaskHead:
    """Make a head to be trained on a model; torch's global generator draws its weights.

    An HQ head starts silent, a robust head with the model's own mask tokens.

    Raises:
        ModelError: unknown kind, or a model that takes no heads.
    """
    found = _kind(kind).load()
    decoder = mask_decoder(base)
    head = found(decoder.hidden_size, base.early_channels)
    head.start_from(decoder)
    return head


def load_head(folder: str | Path, base: PromptableModel) -> MaskHead:
    """Load a saved head for the model that it was made for, in evaluation mode on the model's device.

    Raises:
        ModelError: no saved head, a corrupt one, an unknown kind, or one that was made for another model.
    """
    kind = saved_kind(folder)
    made_for = dict(read_config(folder).get("base", {}))
    if made_for.get("family") != base.family or made_for.get("sha256") != state_digest(base):
        if made_for.get("family") == base.family and base.dtype is not torch.float32:
            raise ModelError(
                f"expected the {base.family} model in float32 for the head in {folder}, got it in "
                f"{str(base.dtype)[6:]}; load it in float32, hang the head on it, and place both afterwards"
            )
        raise ModelError(
            f"expected a head for this {base.family} model in {folder}, got one for another "
            f"{made_for.get('family')} model; use the model that it was trained on"
        )
    build = _kind(kind).load()
    head = load_module(folder, FAMILY_PREFIX + kind, lambda config: build(**config["options"]))
    return head.to(base.device, base.dtype)


def _kind(kind: str) -> HeadKind:
    if kind not in KINDS:
        raise ModelError(f"expected a head of {', '.join(KINDS)}, got {kind!r}; name one of these")
    return KINDS[kind]
