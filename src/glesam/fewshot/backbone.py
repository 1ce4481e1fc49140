"""The ImageNet backbone that ships with the package, as part of the offline vocabulary's classifier."""

from __future__ import annotations

import functools

from glesam.fewshot.features import Backbone
from glesam.models.registry import COMPACT_FOLDER

FOLDER = COMPACT_FOLDER.parent / "words"
"""Folder of the classifier of the offline vocabulary; its weights are stored once for both uses."""


@functools.cache
def bundled_backbone() -> Backbone:
    """EfficientNet-Lite2 with ImageNet weights, frozen, on the CPU; loaded once a process.

    Raises:
        ModelError: the bundled weights are missing or corrupt.
    """
    import torch

    from glesam.text.classifier import CellClassifier

    backbone = CellClassifier.from_pretrained(FOLDER).backbone.requires_grad_(False).eval()
    return backbone.to(memory_format=torch.channels_last)  # type: ignore[call-overload, no-any-return]
