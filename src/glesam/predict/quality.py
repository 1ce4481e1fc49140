"""What qualities add: a second answer; with `high` more looks at an image, and a nearer one at small objects.

A mask that is given back with the same prompts is PerSAM's cascaded post-refinement (Zhang et al., ICLR 2024).

Averaging over mirrored and resized copies is the field's usual test-time augmentation; looking at a crop around an
object again is RITM's zoom-in (Sofiiuk et al., ICIP 2022), here averaged with the first answer, since alone it loses.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.common.messages import one_of
from glesam.masks.runs import Box
from glesam.models.base import ImageGeometry, MaskOutput, PromptableModel, PromptTensors
from glesam.prompts.prompts import PADDING_LABEL, Prompts

QUALITIES = ("fast", "standard", "high")

FAST = 0.75
"""Share of the model's input side that `fast` encodes at."""

COARSE = 0.625
"""Share of the side of the second look of `high`: context for a backbone that was pre-trained on small images."""

ZOOM = 2.0
"""Sides of a crop around a small object, as a multiple of the object's."""

SMALL_CLICKED, SMALL_BOXED = 0.10, 0.05
"""Share of the image under which an object's box, found by clicks or given, is looked at again."""

_LEAST_CROP = 48


def check_quality(quality: str) -> str:
    """Check the name of a quality.

    Raises:
        ConfigError: it is not one of `QUALITIES`.
    """
    return one_of("a quality", quality, QUALITIES)


def mirrored_prompts(prompts: PromptTensors, geometry: ImageGeometry) -> PromptTensors:
    """Prompts for the image with left and right exchanged."""
    width = geometry.input_size[1]
    points, boxes, masks = prompts.point_coords, prompts.boxes, prompts.mask_input
    if boxes is not None:
        x0, y0, x1, y1 = boxes.unbind(dim=-1)
        boxes = torch.stack([width - x1, y0, width - x0, y1], dim=-1)
    return PromptTensors(
        None if points is None else torch.stack([width - points[..., 0], points[..., 1]], dim=-1),
        prompts.point_labels,
        boxes,
        None if masks is None else mirrored_logits(masks, geometry),
    )


def mirrored_logits(logits: Tensor, geometry: ImageGeometry) -> Tensor:
    """Logits `(..., s, s)` of an image with left and right exchanged; cells are interpolated where they do not meet."""
    side = logits.shape[-1]
    cell = geometry.image_size / side
    steps = torch.arange(side, device=logits.device, dtype=torch.float32)
    # Centre of cell j of the result is pixel (j + .5) * cell; its mirror image lies at the width less that.
    columns = (2 * (geometry.input_size[1] / cell - steps - 1) + 1) / side - 1
    rows = (2 * steps + 1) / side - 1
    grid = torch.stack([columns[None].expand(side, -1), rows[:, None].expand(-1, side)], dim=-1)
    flat = logits.float().reshape(-1, 1, side, side)
    turned = F.grid_sample(flat, grid[None].expand(len(flat), -1, -1, -1), padding_mode="border", align_corners=False)
    return turned.view(logits.shape)


def mirrored_output(output: MaskOutput, geometry: ImageGeometry) -> MaskOutput:
    """The answer to mirrored prompts, in the frame of the image as it is."""
    fine = None if output.fine is None else mirrored_logits(output.fine, geometry)
    return replace(output, low_res_logits=mirrored_logits(output.low_res_logits, geometry), fine=fine)


def mean_output(outputs: Sequence[MaskOutput]) -> MaskOutput:
    """Mean of the logits and of the scores of several looks; fine logits and object scores where all have them."""
    logits = torch.stack([output.low_res_logits.float() for output in outputs]).mean(dim=0)
    iou = torch.stack([output.iou.float() for output in outputs]).mean(dim=0)
    told = [output.object_score for output in outputs if output.object_score is not None]
    score = torch.stack(told).mean(dim=0) if len(told) == len(outputs) else None
    fine = [output.fine for output in outputs if output.fine is not None]
    if len(fine) < len(outputs):
        return MaskOutput(logits, iou, None, score)
    size = fine[0].shape[-2:]
    same = [F.interpolate(each.float().flatten(0, 1), size, mode="bilinear", align_corners=False) for each in fine]
    return MaskOutput(logits, iou, torch.stack(same).mean(dim=0).view(fine[0].shape), score)


def is_fed_back(model: PromptableModel, quality: str, prompts: PromptTensors, multimask: bool) -> bool:
    """Whether an answer is given back as a mask prompt, and another one follows.

    Only single masks, whose prompts bring no mask yet, of models that gain by it; `fast` leaves it out.
    """
    return model.answers_again and quality != "fast" and prompts.mask_input is None and not multimask


def zoom_window(
    prompt: Prompts,
    found: tuple[float, float, float, float] | None,
    size: tuple[int, int],
    small: tuple[float, float] = (SMALL_CLICKED, SMALL_BOXED),
) -> Box | None:
    """The crop in which one object is to be looked at again; None where it is large enough, or not found.

    Nor is there one where only negative clicks say what is meant: an answer of the crop alone would be to nothing else.

    Args:
        prompt: of the one object, in pixels of the image.
        found: box of its mask `(x0, y0, x1, y1)`, None for an empty one.
        size: `(H, W)` of the image.
        small: share of the image under which an object's box, found by clicks or given, is small.
    """
    boxed = bool(prompt.has_box[0])
    clicked = prompt.points is not None and prompt.labels is not None and bool((prompt.labels[0] == 1).any())
    if found is None or not (clicked or boxed):
        return None
    frame = np.array(prompt.boxes[0] if boxed and prompt.boxes is not None else found, float)
    share = float(np.prod(frame[2:] - frame[:2])) / (size[0] * size[1])
    if share >= small[int(boxed)]:
        return None
    if prompt.points is not None and prompt.labels is not None:
        inside = prompt.points[0][prompt.labels[0] == 1]
        frame[:2] = np.minimum(frame[:2], inside.min(axis=0, initial=np.inf))
        frame[2:] = np.maximum(frame[2:], inside.max(axis=0, initial=-np.inf) + 1)
    middle, sides = (frame[:2] + frame[2:]) / 2, np.maximum(ZOOM * (frame[2:] - frame[:2]), _LEAST_CROP)
    low = np.maximum(np.floor(middle - sides / 2), 0).astype(int)
    high = np.minimum(np.ceil(middle + sides / 2), size[::-1]).astype(int)
    return int(low[0]), int(low[1]), int(high[0]), int(high[1])


def moved_into(prompt: Prompts, window: Box) -> Prompts:
    """Points and box of one object in pixels of a crop; points outside of it are left out, and so is a mask input."""
    corner = np.array(window[:2], np.float32)
    boxes = None if prompt.boxes is None else prompt.boxes - np.tile(corner, 2)
    if prompt.points is None or prompt.labels is None:
        return Prompts(boxes=boxes)
    points, labels = prompt.points[0] - corner, prompt.labels[0]
    size = np.array([window[2] - window[0], window[3] - window[1]])
    kept = ((points >= 0) & (points < size)).all(axis=1) & (labels != PADDING_LABEL)
    return Prompts(points[kept][None], labels[kept][None], None if boxes is None else np.maximum(boxes, 0))
