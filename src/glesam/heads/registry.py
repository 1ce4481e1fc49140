"""The door through which heads are made, found, loaded and hung on models; their kinds are in `glesam.heads.kinds`."""

from __future__ import annotations

import os
from pathlib import Path

from glesam.errors import ModelError
from glesam.heads.files import ORIGINAL_FILES, OriginalFile
from glesam.heads.headed import HeadedModel
from glesam.heads.kinds import KINDS, HeadKind, load_head, new_head
from glesam.heads.original import head_for
from glesam.models.base import PromptableModel
from glesam.weights.folders import user_folder

__all__ = ["KINDS", "ORIGINAL_FILES", "HeadKind", "OriginalFile", "attach", "find_head", "load_head", "new_head"]


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
