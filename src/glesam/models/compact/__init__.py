"""The compact model: EfficientNet-Lite2, a small neck, and a decoder that is fast on CPUs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glesam.common.lazy import lazy

if TYPE_CHECKING:
    from glesam.models.compact.model import CompactConfig, CompactModel

__all__ = ["CompactConfig", "CompactModel"]

__getattr__ = lazy(
    __name__,
    {
        "CompactConfig": "glesam.models.compact.model",
        "CompactModel": "glesam.models.compact.model",
    },
)
