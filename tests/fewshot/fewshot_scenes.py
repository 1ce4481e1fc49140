"""Coloured squares on grey, a backbone that sees mean colours, and a decoder that knows where the squares are."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.fewshot.candidates import Ask
from glesam.fewshot.features import image_features
from glesam.fewshot.references import Reference
from glesam.masks.masks import Masks
from glesam.prompts.prompts import Prompts

SIZE = (256, 384)
RED, GREEN, BLUE = (200, 40, 40), (40, 190, 60), (50, 60, 210)
Colour = tuple[int, int, int]
Square = tuple[int, int, int, Colour]
"""x, y, side, colour."""


def backbone(pixels: Tensor) -> list[Tensor]:
    """Mean colours of cells and their squares, at strides 16 and 32; nothing at 4 and 8."""
    fine = F.avg_pool2d(pixels, 16)
    fine = torch.cat([fine, fine**2, torch.full_like(fine[:, :1], 0.3)], dim=1)
    return [pixels[:, :0], pixels[:, :0], fine, F.avg_pool2d(fine, 2)]


def draw(squares: Sequence[Square]) -> npt.NDArray[np.uint8]:
    """The scene, with a little noise."""
    image = np.full((*SIZE, 3), 128, np.int64)
    for x, y, side, colour in squares:
        image[y : y + side, x : x + side] = colour
    noise = np.random.default_rng(0).integers(-6, 7, image.shape)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


def mask_of(square: Square) -> npt.NDArray[np.bool_]:
    """Where a square is."""
    x, y, side, _ = square
    mask = np.zeros(SIZE, bool)
    mask[y : y + side, x : x + side] = True
    return mask


def decoder(squares: Sequence[Square]) -> Ask:
    """Answers a point with its square, and candidates of its left half and the whole image; a box with all within."""
    masks = [mask_of(square) for square in squares]

    def hit(prompts: Prompts, index: int) -> list[npt.NDArray[np.bool_]]:
        if prompts.boxes is not None and prompts.has_box[index]:
            x0, y0, x1, y1 = (round(float(v)) for v in prompts.boxes[index])
            window = np.zeros(SIZE, bool)
            window[y0:y1, x0:x1] = True
            return [mask for mask in masks if (mask & window).sum() > 0.5 * mask.sum()]
        assert prompts.points is not None
        x, y = prompts.points[index, 0].astype(int)
        return [mask for mask in masks if mask[y, x]]

    def ask(prompts: Prompts, multimask: bool) -> Masks:
        found, halves = [], []
        for index in range(len(prompts)):
            whole = np.any([np.zeros(SIZE, bool), *hit(prompts, index)], axis=0)
            half = whole.copy()
            half[:, int(np.flatnonzero(whole.any(axis=0)).mean()) if whole.any() else 0 :] = False
            found.append(whole)
            halves.append(half)
        stack, scores = np.stack(found), np.full(len(found), 0.9, np.float32)
        if not multimask:
            return Masks(stack, scores)
        candidates = np.stack([np.stack(halves), stack, np.ones_like(stack)], axis=1)
        return Masks(stack, scores, candidates=candidates, candidate_scores=np.tile(scores[:, None], (1, 3)))

    return ask


def reference(squares: Sequence[Square], marked: Sequence[int], negative: bool = False) -> Reference:
    """An example image with some of its squares marked."""
    image = draw(squares)
    masks = np.stack([mask_of(squares[i]) for i in marked])
    return Reference.of(backbone, image, image_features(backbone, image), masks, negative)
