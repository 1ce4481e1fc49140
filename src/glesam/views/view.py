"""What a look at a part of an image gives, and what looks: the way from views to the model."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from glesam.masks.obey import Grey
from glesam.masks.runs import Box
from glesam.models.base import ImageGeometry, MaskOutput, PromptTensors


@dataclass(frozen=True)
class View:
    """An image, or a part of it, as the model sees it.

    Attributes:
        geometry: how it lies in the model's square.
        enhanced: whether the enhancer has worked on its embedding.
        decode: answers prompts `(1, N)` in the model's frame; the second argument asks for three candidates.
        guide: grey values that masks are refined by, `(H, W)` uint8 or shrunk; None leaves them the decoder's.
    """

    geometry: ImageGeometry
    enhanced: bool
    decode: Callable[[PromptTensors, bool], MaskOutput]
    guide: Grey | None = None


Look = Callable[[Box], View]
"""Encodes (and enhances) what lies in a box of the image."""
