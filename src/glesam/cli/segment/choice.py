"""Which model works on the images, and what happens to them before it: the options that photos and clips share."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple


class ModelChoice(NamedTuple):
    """The arguments of `Predictor.from_pretrained` that the command takes.

    Attributes:
        name: preset, folder, hub id or checkpoint.
        device: as the user gave it.
        enhance: on, off or auto.
        enhancer: folder of an enhancer, or None.
        restore: restorer, or None.
        restore_cache: folder for restored images, or None.
    """

    name: str
    device: str
    enhance: str
    enhancer: Path | None = None
    restore: str | None = None
    restore_cache: Path | None = None
