"""Prompts: what the user points at, checked where it comes in; the JSON file of many images' prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from glesam.common.lazy import lazy

if TYPE_CHECKING:
    from glesam.prompts.arrays import PADDING_LABEL
    from glesam.prompts.file import read_prompts_file, write_prompts_file
    from glesam.prompts.prompts import Prompts
    from glesam.prompts.texts import parse_box, parse_point

__all__ = ["PADDING_LABEL", "Prompts", "parse_box", "parse_point", "read_prompts_file", "write_prompts_file"]

__getattr__ = lazy(
    __name__,
    {
        "PADDING_LABEL": "glesam.prompts.arrays",
        "Prompts": "glesam.prompts.prompts",
        "parse_box": "glesam.prompts.texts",
        "parse_point": "glesam.prompts.texts",
        "read_prompts_file": "glesam.prompts.file",
        "write_prompts_file": "glesam.prompts.file",
    },
)
