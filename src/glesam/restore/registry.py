"""The restorers that glesam knows: a new one is one file and one row.

A restorer is named `NAME` or `NAME:ARGUMENT`, such as `median:5` or `swin2sr:models/swin2sr`.
"""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from glesam.common.messages import hint
from glesam.errors import ConfigError
from glesam.restore.base import Identity, Restorer

NONE = "none"
"""What a user types for no restorer."""


@dataclass(frozen=True)
class RestorerKind:
    """A row of the table.

    Attributes:
        name: what a user types.
        about: one line of help.
        open: `module:function`, imported at first use, or the function; it takes the text after the colon, and the
            device too where `on_device` is set.
        argument: what stands after the colon, for messages; "[...]" where it may be missing; empty where there is none.
        on_device: whether it runs where the model runs.
    """

    name: str
    about: str
    open: str | Callable[..., Restorer]
    argument: str = ""
    on_device: bool = False

    @property
    def form(self) -> str:
        """How it is typed, such as `median[:SIZE]`."""
        if not self.argument:
            return self.name
        optional = self.argument.startswith("[")
        return f"{self.name}[:{self.argument[1:-1]}]" if optional else f"{self.name}:{self.argument}"


_CLASSICAL, _NETWORKS = "glesam.restore.classical", "glesam.restore.networks"
_KINDS = {
    kind.name: kind
    for kind in (
        RestorerKind("identity", "the image as it is", lambda argument: Identity()),
        RestorerKind("median", "median filter, against salt and pepper", f"{_CLASSICAL}:open_median", "[SIZE]"),
        RestorerKind("nlm", "non-local means, against noise", f"{_CLASSICAL}:open_nlm", "[STRENGTH]"),
        RestorerKind("deblock", "against JPEG's blocks", f"{_CLASSICAL}:open_deblock", "[QUALITY]"),
        RestorerKind("gamma", "brightens dark images", f"{_CLASSICAL}:open_gamma", "[EXPONENT]"),
        RestorerKind("clahe", "local contrast", f"{_CLASSICAL}:open_clahe", "[LIMIT]"),
        RestorerKind("unet", "the small U-Net of `glesam train restorer`", f"{_NETWORKS}:open_unet", "FOLDER", True),
        RestorerKind("swin2sr", "Swin2SR as transformers saves it", f"{_NETWORKS}:open_swin2sr", "FOLDER", True),
        RestorerKind("torchscript", "any TorchScript network", f"{_NETWORKS}:open_torchscript", "FILE", True),
        RestorerKind("onnx", "any ONNX network", f"{_NETWORKS}:open_onnx", "FILE", True),
        RestorerKind("folder", "images restored elsewhere", "glesam.restore.folder:FolderRestorer", "FOLDER"),
    )
}


def restorers() -> tuple[RestorerKind, ...]:
    """All rows."""
    return tuple(_KINDS.values())


def register(kind: RestorerKind) -> None:
    """Add a row, from any package.

    Raises:
        ConfigError: the name is taken.
    """
    if kind.name in _KINDS or kind.name == NONE:
        raise ConfigError(f"expected a new restorer's name, got {kind.name!r}, which is taken; choose another")
    _KINDS[kind.name] = kind


def check_restorer(text: str) -> RestorerKind:
    """The row of a restorer, without opening it.

    Raises:
        ConfigError: unknown name, or an argument that is missing or too much.
    """
    name, colon, argument = text.partition(":")
    kind = _KINDS.get(name)
    if kind is None:
        raise ConfigError(f"expected a restorer, got {text!r}; {hint(name, [*_KINDS, NONE])}")
    needed = bool(kind.argument) and not kind.argument.startswith("[")
    if (needed and not argument) or (colon and not kind.argument):
        raise ConfigError(f"expected the restorer {kind.form}, got {text!r}; type it so")
    return kind


def load_restorer(
    text: str | None, device: str = "cpu", cache: str | os.PathLike[str] | None = None
) -> Restorer | None:
    """Open a restorer by its name.

    Args:
        text: `NAME` or `NAME:ARGUMENT`; None, "" and "none" stand for no restorer.
        device: where networks run.
        cache: folder that keeps restored images for later runs; None keeps none.

    Raises:
        ConfigError: unknown name, or an argument that does not fit.
        ModelError: a network that is missing, corrupt or of another kind.
        ImageError: a folder without images.
    """
    if not text or text == NONE:
        return None
    kind = check_restorer(text)
    opening = kind.open
    if isinstance(opening, str):
        module, _, function = opening.partition(":")
        opening = getattr(importlib.import_module(module), function)
    argument = text.partition(":")[2]
    restorer: Restorer = opening(argument, device) if kind.on_device else opening(argument)
    if cache is None:
        return restorer
    from glesam.restore.cache import CachedRestorer

    return CachedRestorer(restorer, Path(cache))
