"""Facts of masks' making that name objects by their numbers, when some of the objects are chosen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

OBJECT_LISTS = ("looked_nearer", "cut_boxes", "start_kept")
"""Keys of `Masks.info` that hold numbers of objects, from 0."""


def renumbered(info: dict[str, Any], indices: Sequence[int]) -> dict[str, Any]:
    """The facts for the objects of some indices, which get the numbers 0, 1, ... in their order."""
    lists = {key: info[key] for key in OBJECT_LISTS if isinstance(info.get(key), list)}
    return info | {key: [new for new, old in enumerate(indices) if old in named] for key, named in lists.items()}
