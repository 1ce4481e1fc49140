"""The kinds of heads, one row each, and the one door through which heads are made, found and loaded."""

from __future__ import annotations

import importlib
import os
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glesam.errors import ModelError

if TYPE_CHECKING:
    from glesam.heads.base import HeadedModel, MaskHead
    from glesam.models.base import PromptableModel

_HQ_URL = "https://huggingface.co/lkeab/hq-sam/resolve/main/"
_ROBUST_URL = "https://github.com/robustsam/RobustSAM"


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


@dataclass(frozen=True)
class OriginalFile:
    """An authors' file: a whole model and its head.

    Attributes:
        name: of the file.
        kind: of the head.
        model: preset of the model that the head hangs on.
        where: address of the file, or of the page that links to it.
    """

    name: str
    kind: str
    model: str
    where: str


ORIGINAL_FILES = (
    OriginalFile("sam_hq_vit_b.pth", "hq", "sam-vit-b", _HQ_URL + "sam_hq_vit_b.pth"),
    OriginalFile("sam_hq_vit_l.pth", "hq", "sam-vit-l", _HQ_URL + "sam_hq_vit_l.pth"),
    OriginalFile("sam_hq_vit_h.pth", "hq", "sam-vit-h", _HQ_URL + "sam_hq_vit_h.pth"),
    OriginalFile("sam_hq_vit_tiny.pth", "hq", "mobile-sam", _HQ_URL + "sam_hq_vit_tiny.pth"),
    OriginalFile("sam2.1_hq_hiera_large.pt", "hq", "sam2.1-hiera-large", _HQ_URL + "sam2.1_hq_hiera_large.pt"),
    OriginalFile("robustsam_checkpoint_b.pth", "robust", "sam-vit-b", _ROBUST_URL),
    OriginalFile("robustsam_checkpoint_l.pth", "robust", "sam-vit-l", _ROBUST_URL),
    OriginalFile("robustsam_checkpoint_h.pth", "robust", "sam-vit-h", _ROBUST_URL),
)


def new_head(kind: str, base: PromptableModel) -> MaskHead:
    """Make a head to be trained on a model; torch's global generator draws its weights.

    An HQ head starts silent, a robust head with the model's own mask tokens.

    Raises:
        ModelError: unknown kind, or a model that takes no heads.
    """
    found = _kind(kind).load()
    decoder = _decoder(base)
    head = found(decoder.hidden_size, base.early_channels)
    head.start_from(decoder)
    return head


def load_head(folder: str | Path, base: PromptableModel) -> MaskHead:
    """Load a saved head for the model that it was made for, in evaluation mode on the model's device.

    Raises:
        ModelError: no saved head, a corrupt one, an unknown kind, or one that was made for another model.
    """
    from glesam.heads.base import FAMILY_PREFIX, saved_kind
    from glesam.weights.folders import load_module, read_config, state_digest

    kind = saved_kind(folder)
    made_for = dict(read_config(folder).get("base", {}))
    if made_for.get("family") != base.family or made_for.get("sha256") != state_digest(base):
        raise ModelError(
            f"expected a head for this {base.family} model in {folder}, got one for another "
            f"{made_for.get('family')} model; use the model that it was trained on"
        )
    build = _kind(kind).load()
    head = load_module(folder, FAMILY_PREFIX + kind, lambda config: build(**config["options"]))
    return head.to(base.device, base.dtype)


def find_head(source: str | os.PathLike[str], model: str) -> Path:
    """Where a head lies on this machine: a folder or file as it is, or the one of a kind for a preset.

    Args:
        source: folder of a saved head, authors' file, or kind such as "hq".
        model: name of the model that it is for.

    Raises:
        ModelError: nothing there; says where to get it.
    """
    if Path(source).exists():
        return Path(source)
    kind = str(source)
    if kind not in KINDS:
        raise ModelError(
            f"expected a head of {', '.join(KINDS)}, a folder of a saved head or an authors' file, got {kind!r}; check "
            "the path"
        )
    from glesam.weights.folders import user_folder

    rows = [row for row in ORIGINAL_FILES if row.kind == kind and row.model == model]
    for row in rows:
        if (user_folder() / row.name).is_file():
            return user_folder() / row.name
    if rows:
        raise ModelError(
            f"expected {rows[0].name} in {user_folder()} for the {kind} head of {model}, got no such file; download it "
            f"from {rows[0].where}, or give its path as the head"
        )
    known = sorted({row.model for row in ORIGINAL_FILES if row.kind == kind})
    raise ModelError(
        f"expected a model with a known {kind} head ({', '.join(known)}), got {model}; train one with "
        f"`glesam train head --kind {kind}` and give its folder"
    )


def attach(
    source: str | os.PathLike[str] | None, base: PromptableModel, name: str, mode: str | None = None
) -> HeadedModel:
    """Hang a head on a model.

    Args:
        source: see `find_head`; None for the head that the model carries.
        base: the model; one that carries a head already keeps it where `source` is None or its kind.
        name: what the model is called.
        mode: "sum" or "hq" for heads of the kind "hq"; None leaves what the head was saved with.

    Raises:
        ModelError: no such head, or one for another model.
        ConfigError: unknown mode, or a mode for a head that has none.
    """
    from glesam.heads.base import HeadedModel
    from glesam.heads.original import head_for

    if isinstance(base, HeadedModel):
        if source is not None and str(source) != base.head.kind:
            raise ModelError(
                f"expected a model without a head for the head {source}, got one with its own {base.head.kind} head; "
                "leave the head out"
            )
        headed = base
    elif source is None:
        raise ModelError(f"expected a head for the mode {mode}, got none; name a head, or a file that has one")
    else:
        place = find_head(source, name)
        head = head_for(place, base) if place.is_file() else load_head(place, base)
        headed = HeadedModel(base, head)
    if mode is not None:
        headed.head.set_mode(mode)
    return headed


def _kind(kind: str) -> HeadKind:
    """The row of a kind."""
    if kind not in KINDS:
        raise ModelError(f"expected a head of {', '.join(KINDS)}, got {kind!r}; name one of these")
    return KINDS[kind]


def _decoder(base: PromptableModel) -> Any:
    """The mask decoder of a model that takes heads."""
    from glesam.models.tuned import mask_decoder

    return mask_decoder(base)
