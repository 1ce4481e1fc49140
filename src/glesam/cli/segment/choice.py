"""Which model works on the images, and what happens to them before it: the options that images and clips share."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Any, NamedTuple


class Refine(StrEnum):
    """Whether masks are refined."""

    auto = "auto"
    off = "off"


class Quality(StrEnum):
    """How much work goes into masks."""

    fast = "fast"
    standard = "standard"
    high = "high"


class ModelChoice(NamedTuple):
    """The arguments of `Predictor.from_pretrained` that the command takes.

    Attributes:
        name: preset, folder, hub id or checkpoint.
        device: as the user gave it.
        enhance: on, off or auto.
        enhancer: folder of an enhancer, or None.
        restore: restorer, or None.
        restore_cache: folder for restored images, or None.
        refine: auto or off.
        head: mask head, or None.
        head_mode: sum or hq, or None.
        quality: fast, standard or high.
    """

    name: str
    device: str
    enhance: str
    enhancer: Path | None = None
    restore: str | None = None
    restore_cache: Path | None = None
    refine: str = "auto"
    head: str | None = None
    head_mode: str | None = None
    quality: str = "standard"

    @property
    def further(self) -> dict[str, Any]:
        """What `Predictor.from_pretrained` and `load_tracker` take by name."""
        names = ("enhancer", "restore", "restore_cache", "refine", "head", "head_mode", "quality")
        return {name: getattr(self, name) for name in names}
