"""A ComfyUI node: image and prompts in, mask out. Link or copy this folder into ComfyUI/custom_nodes/glesam."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
import torch

from glesam import Predictor, Prompts
from glesam.prompts.prompts import parse_box, parse_point


class GlesamSegment:
    """Segment what points and boxes name; all points are one object, each box is one more."""

    CATEGORY = "mask"
    FUNCTION = "segment"
    RETURN_TYPES = ("MASK", "FLOAT")
    RETURN_NAMES = ("mask", "score")
    _predictors: ClassVar[dict[str, Predictor]] = {}

    @classmethod
    def INPUT_TYPES(cls) -> dict[str, Any]:  # noqa: N802 - ComfyUI's name
        """What the node asks for: coordinates in pixels, separated by spaces; `x,y,0` is beside the object."""
        return {
            "required": {
                "image": ("IMAGE",),
                "points": ("STRING", {"default": "320,200"}),
                "boxes": ("STRING", {"default": ""}),
                "model": ("STRING", {"default": "compact"}),
            }
        }

    def segment(self, image: torch.Tensor, points: str, boxes: str, model: str) -> tuple[torch.Tensor, float]:
        """Masks `(B, H, W)` of 0 and 1 for images `(B, H, W, 3)` of 0 to 1, and the least predicted IoU."""
        predictor, prompts = self._predictor(model), _prompts(points, boxes)
        masks, scores = [], []
        for pixels in image:
            predictor.set_image(np.asarray(pixels.mul(255).round().clamp(0, 255).byte().cpu()))
            found = predictor.predict(prompts)
            masks.append(torch.from_numpy(found.masks.any(axis=0)).float())
            scores.append(float(found.scores.min()))
        return torch.stack(masks), min(scores)

    def _predictor(self, model: str) -> Predictor:
        """A model is loaded once."""
        if model not in self._predictors:
            self._predictors[model] = Predictor.from_pretrained(model, device="auto")
        return self._predictors[model]


def _prompts(points: str, boxes: str) -> Prompts:
    """The texts of the node as prompts."""
    clicks, frames = [parse_point(text) for text in points.split()], [parse_box(text) for text in boxes.split()]
    if not clicks:
        return Prompts(boxes=frames)
    empty: list[Any] = [[] for _ in frames]
    coords, labels = [[(x, y) for x, y, _ in clicks]], [[label for _, _, label in clicks]]
    return Prompts([*coords, *empty], [*labels, *empty], [None, *frames] if frames else None)


NODE_CLASS_MAPPINGS = {"GlesamSegment": GlesamSegment}
NODE_DISPLAY_NAME_MAPPINGS = {"GlesamSegment": "Segment (glesam)"}
