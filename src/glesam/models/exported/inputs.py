"""What an exported model sees, by the kind that its `config.json` names: the image in its square, and its points."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.models.base import CORNER_LABELS, PADDING_LABEL, ImageGeometry, PromptTensors
from glesam.models.compact import pixels as compact
from glesam.models.sam import pixels as sam


@dataclass(frozen=True)
class ModelInputs:
    """How a model of a kind is fed.

    Attributes:
        lay: `(H, W, 3)` uint8 RGB and side S to `(1, 3, S, S)` pixel values and their geometry.
        side_step: see `PromptableModel.side_step`.
        cuts_boxes: see `PromptableModel.cuts_boxes`.
        answers_again: see `PromptableModel.answers_again`.
        padding: when a point with label -1 follows an object's points, as the authors' predictors add it: with points
            that have no box beside them, with any points and boxes, or never (the graph fills up by itself).
    """

    lay: Callable[[npt.NDArray[np.uint8], int], tuple[Tensor, ImageGeometry]]
    side_step: int | None
    cuts_boxes: bool
    answers_again: bool
    padding: Literal["without box", "always", "never"]

    def points(self, prompts: PromptTensors) -> tuple[Tensor, Tensor]:
        """Points `(B, N, K, 2)` and labels `(B, N, K)`, boxes first, as two corner points; padded."""
        batch, count = prompts.shape
        coords, labels = [torch.zeros(batch, count, 0, 2)], [torch.zeros(batch, count, 0, dtype=torch.long)]
        if prompts.boxes is not None:
            coords.append(prompts.boxes.float().reshape(batch, count, 2, 2))
            labels.append(torch.tensor(CORNER_LABELS).expand(batch, count, 2))
        if prompts.point_coords is not None and prompts.point_labels is not None:
            coords.append(prompts.point_coords.float())
            labels.append(prompts.point_labels.long())
        pads = self.padding == "always" or (self.padding == "without box" and prompts.boxes is None)
        padding = 1 if pads and len(coords) > 1 else 0
        return (
            F.pad(torch.cat(coords, dim=2), (0, 0, 0, padding)),
            F.pad(torch.cat(labels, dim=2), (0, padding), value=PADDING_LABEL),
        )


KINDS = {
    "compact": ModelInputs(compact.lay_into_square, 32, True, True, "never"),
    "sam": ModelInputs(sam.lay_into_square, None, False, False, "without box"),
    "sam2": ModelInputs(sam.squash_into_square, None, False, False, "always"),
}
