"""The verb `segment`: images, folders and clips; prompts or everything."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glesam.common.lazy import lazy

if TYPE_CHECKING:
    from glesam.cli.segment.command import segment

__all__ = ["segment"]

__getattr__ = lazy(
    __name__,
    {
        "segment": "glesam.cli.segment.command",
    },
)
