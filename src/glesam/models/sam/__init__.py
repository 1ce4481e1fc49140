"""SAM and SAM 2 through transformers, and the authors' own checkpoints."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glesam.common.lazy import lazy

if TYPE_CHECKING:
    from glesam.models.sam.sam import SamPromptable
    from glesam.models.sam.sam2 import Sam2Promptable

__all__ = ["Sam2Promptable", "SamPromptable"]

__getattr__ = lazy(
    __name__,
    {
        "Sam2Promptable": "glesam.models.sam.sam2",
        "SamPromptable": "glesam.models.sam.sam",
    },
)
