"""`Masks`, the one result type: run lengths, outlines, COCO, files and bridges to other packages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glesam.common.lazy import lazy

if TYPE_CHECKING:
    from glesam.masks.masks import Masks

__all__ = ["Masks"]

__getattr__ = lazy(
    __name__,
    {
        "Masks": "glesam.masks.masks",
    },
)
