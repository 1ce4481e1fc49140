"""Whole objects beside masks of what is seen of them: what both kinds of results share."""

from __future__ import annotations

from typing import Any

from glesam.errors import DataError


def absent() -> DataError:
    """What to raise where whole objects are asked for and nothing completed the masks."""
    return DataError("expected masks with amodal ones, got none; complete them with `Predictor.complete`")


def entry(code: dict[str, Any], area: int, visible: int) -> dict[str, Any]:
    """Keys of a COCO annotation for a whole object; `occlude_rate` as in COCOA (Zhu et al., CVPR 2017).

    Args:
        code: RLE of the whole object.
        area: its pixels.
        visible: those of them that are seen.
    """
    return {"amodal_segmentation": code, "occlude_rate": round((area - visible) / area, 4) if area else 0.0}
