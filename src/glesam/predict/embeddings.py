"""What the predictor keeps of an image once it is encoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from glesam.enhance.gate import Verdict
from glesam.errors import PromptError
from glesam.images.pixels import RGB
from glesam.masks.obey import Grey
from glesam.models.base import Embedding, ImageGeometry, MaskOutput, PromptTensors
from glesam.views.enlarge import boxes_inside


@dataclass
class Encoded:
    """What is kept of an image: its pixels only where it, or a crop of it, may be encoded again.

    Grey values, a byte each and at most `masks.refine.GUIDE_PIXELS`, are kept to refine masks by.

    Attributes:
        geometry: how it lies in the model's square.
        raw: the encoder's embedding, batch of one.
        enhanced: the restored embedding, once it was asked for.
        verdict: what the gate said, once it was asked.
        is_smoothed: whether images before it counted in the verdict, see `Embedder.steady`.
        pixels: the model's input, `(1, 3, h, w)`, where a second encoding may come; without padding if that may go.
        guide: `(H, W)` uint8 grey values that masks are refined by, of the image or shrunk.
        image: `(H, W, 3)` uint8, kept where high quality, or a rule for small objects, may look at it again.
        side: longer side in pixels that it was encoded at, where that is not the model's own.
        looks: further looks at it, by name, once they were asked for.
    """

    geometry: ImageGeometry
    raw: Embedding
    enhanced: Embedding | None = None
    verdict: Verdict | None = None
    pixels: Tensor | None = None
    guide: Grey | None = None
    image: RGB | None = None
    side: int | None = None
    looks: dict[str, Any] = field(default_factory=dict)
    is_smoothed: bool = False

    @property
    def level(self) -> float | None:
        """How degraded the gate called the image, 0 to 3; None where it was not asked or gives no level."""
        return None if self.verdict is None else self.verdict.level

    def small_boxes(self, prompts: PromptTensors, share: float) -> Tensor:
        """`(N,)` bool: whether an object's box covers less than a share of the image; False without a box."""
        if prompts.boxes is None:
            return torch.zeros(prompts.shape[1], dtype=torch.bool)
        height, width = self.geometry.input_size
        return (prompts.boxes[0, :, 2:] - prompts.boxes[0, :, :2]).prod(dim=-1) < share * height * width

    def small_masks(self, logits: Tensor, share: float) -> Tensor:
        """`(N,)` bool: whether the box of a mask, `(N, h, w)` logits, is under a share of the image; not if empty."""
        height, width = self.geometry.input_size
        boxes = boxes_inside(logits, self.geometry)
        areas = (boxes[:, 2:] - boxes[:, :2]).prod(dim=-1)
        return (areas > 0) & (areas < share * height * width)


def row(embedding: Embedding, index: int, count: int) -> Embedding:
    """One image of a batch; copied, so that a kept image does not keep the whole batch in memory."""
    if count == 1:
        return embedding
    return embedding.map(lambda tensor: tensor[index, None].clone())


def same_shape(images: dict[str, tuple[Tensor, ImageGeometry]]) -> list[dict[str, tuple[Tensor, ImageGeometry]]]:
    """Split model inputs, by key, into batches that can be encoded together."""
    batches: dict[torch.Size, dict[str, tuple[Tensor, ImageGeometry]]] = {}
    for key, (pixels, geometry) in images.items():
        batches.setdefault(pixels.shape, {})[key] = pixels, geometry
    return list(batches.values())


def in_float32(embedding: Embedding) -> Embedding:
    """An embedding in float32, whatever autocast made of it."""
    return embedding.map(lambda tensor: tensor.float())


def file_name(image: object) -> str | None:
    """The name of an image that is given as a path, or None."""
    return Path(image).name if isinstance(image, (str, os.PathLike)) else None


@contextmanager
def numbered(index: int) -> Iterator[None]:
    """Let an error about the prompts of a batch say whose they are."""
    try:
        yield
    except PromptError as error:
        raise PromptError(f"image {index}: {error}") from error


def woven(first: MaskOutput, second: MaskOutput, is_first: Tensor) -> MaskOutput:
    """The answers to two shares of N objects in the objects' order; `is_first`, `(N,)` bool, says whose is whose."""
    order = torch.cat([is_first.nonzero(), (~is_first).nonzero()]).flatten().argsort()
    logits = torch.cat([first.low_res_logits, second.low_res_logits], dim=1)
    scores = torch.cat([first.iou, second.iou], dim=1)
    fine = None
    if first.fine is not None or second.fine is not None:
        fine = torch.cat([_doubled(first), _doubled(second)], dim=1)[:, order]
    told = [each.object_score for each in (first, second) if each.object_score is not None]
    present = torch.cat(told, dim=1)[:, order] if len(told) == 2 else None
    return MaskOutput(logits[:, order], scores[:, order], fine, present)


def blended(first: MaskOutput, second: MaskOutput, share: Tensor) -> MaskOutput:
    """The weighted mean of two answers to the same prompts: logits and scores.

    Args:
        first: counts `share`.
        second: counts the rest; its object scores are kept.
        share: `(N,)`, 0 to 1, of each object.
    """
    share = share[:, None].to(first.iou)
    maps = share[..., None, None]
    fine = None
    if first.fine is not None or second.fine is not None:
        fine = torch.lerp(_doubled(second).float(), _doubled(first).float(), maps)
    logits = torch.lerp(second.low_res_logits.float(), first.low_res_logits.float(), maps)
    return MaskOutput(logits, torch.lerp(second.iou.float(), first.iou.float(), share), fine, second.object_score)


def _doubled(output: MaskOutput) -> Tensor:
    """Logits at twice the resolution, enlarged where there are none."""
    if output.fine is not None:
        return output.fine
    low = output.low_res_logits
    double = F.interpolate(low.flatten(0, 1), scale_factor=2.0, mode="bilinear", align_corners=False)
    return double.reshape(*low.shape[:3], *double.shape[-2:])
