"""Masks for other programs' own types."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import numpy as np

from glesam.errors import ConfigError

if TYPE_CHECKING:
    from glesam.masks.masks import Masks


def to_supervision(masks: Masks) -> Any:
    """Make a `supervision.Detections`.

    Supervision is no extra of glesam: many of its versions depend on opencv-python, whose files overwrite those of
    opencv-python-headless, which glesam uses.

    Returns:
        Detections with `xyxy` `(N, 4)` float32, `mask` `(N, H, W)` bool, `confidence` `(N,)` the predicted IoU,
        `class_id` `(N,)` zeros, and in `data` the `name` of the image for each.

    Raises:
        ConfigError: supervision is not installed; says how to install it.
    """
    try:
        supervision = importlib.import_module("supervision")
    except ImportError as error:
        raise ConfigError(
            f"expected the package supervision, got none ({error}); install it beside opencv-python-headless with: "
            "pip install --no-deps supervision && pip install av defusedxml matplotlib pydeprecate pyyaml requests tqdm"
        ) from error
    count = len(masks)
    return supervision.Detections(
        xyxy=masks.boxes,
        mask=np.stack([np.asarray(mask, bool) for mask in masks.masks]) if count else np.zeros((0, *masks.size), bool),
        confidence=masks.scores,
        class_id=np.zeros(count, int),
        data={"name": np.array([masks.name or ""] * count)},
    )
