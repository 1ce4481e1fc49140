"""Between Label Studio's JSON and glesam: percent to pixels, masks to brush RLE."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from glesam.errors import PromptError
from glesam.masks import Masks
from glesam.prompts import Prompts

RLE_SIZES = (3, 4, 8, 16)
"""Bits that the length of a run may take."""
CHANNELS = 4
"""Label Studio's brush pictures are RGBA."""


def to_prompts(regions: list[dict[str, Any]]) -> Prompts:
    """One object from all regions that the annotator drew: key points and at most one box.

    Args:
        regions: `context["result"]` of a request: coordinates in percent of `original_width` and `original_height`.

    Raises:
        PromptError: neither a point nor a box, or several boxes.
    """
    points, labels, boxes = [], [], []
    for region in regions:
        width, height, value = region["original_width"], region["original_height"], region["value"]
        x, y = value["x"] * width / 100, value["y"] * height / 100
        if region["type"].startswith("keypoint"):
            points.append([x, y])
            labels.append(int(region.get("is_positive", 1)))
        elif region["type"].startswith("rectangle"):
            boxes.append([x, y, x + value["width"] * width / 100, y + value["height"] * height / 100])
    if len(boxes) > 1 or not points + boxes:
        raise PromptError(f"expected points or one box, got {len(points)} points and {len(boxes)} boxes; draw one box")
    return Prompts(points=points or None, labels=labels or None, boxes=boxes or None)


def to_result(masks: Masks, label: str, from_name: str, to_name: str) -> dict[str, Any]:
    """The first mask as a prediction that Label Studio shows as a brush."""
    height, width = masks.size
    region = {
        "from_name": from_name,
        "to_name": to_name,
        "type": "brushlabels",
        "original_width": width,
        "original_height": height,
        "image_rotation": 0,
        "value": {"format": "rle", "rle": to_brush_rle(masks.masks[0]), "brushlabels": [label]},
        "score": float(masks.scores[0]),
        "readonly": False,
    }
    return {"result": [region], "score": float(masks.scores[0]), "model_version": str(masks.info.get("model", ""))}


def to_brush_rle(mask: npt.NDArray[np.bool_]) -> list[int]:
    """Encode an `(H, W)` mask as Label Studio's brush RLE, bytes 0..255.

    The picture is RGBA, row by row, 255 inside and 0 outside. A header gives the number of bytes (32 bits), the bits of
    a value less one (5) and four run sizes less one (4 each); then each run has a bit 1, the number of its size (2),
    its length less one, and its value (8).
    """
    flat = np.asarray(mask, bool).ravel()
    starts = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    lengths = np.diff(np.append(starts, flat.size)) * CHANNELS
    bits = [f"{flat.size * CHANNELS:032b}", f"{8 - 1:05b}", *(f"{size - 1:04b}" for size in RLE_SIZES)]
    for inside, length in zip(flat[starts].tolist(), lengths.tolist(), strict=True):
        bits.extend(_run(length, 255 * inside))
    text = "".join(bits)
    text += "0" * (-len(text) % 8)
    return [int(text[i : i + 8], 2) for i in range(0, len(text), 8)]


def _run(length: int, value: int) -> list[str]:
    """Bits of a run, in pieces of at most the longest length."""
    longest = 2 ** RLE_SIZES[-1]
    pieces = [longest] * (length // longest) + ([length % longest] if length % longest else [])
    bits = []
    for piece in pieces:
        number = next(i for i, size in enumerate(RLE_SIZES) if piece <= 2**size)
        bits.append(f"1{number:02b}{piece - 1:0{RLE_SIZES[number]}b}{value:08b}")
    return bits
