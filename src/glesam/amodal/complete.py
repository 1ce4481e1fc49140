"""From masks of what is seen to masks of whole objects."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

import cv2
import numpy as np
import torch

from glesam.amodal.network import AmodalNetwork
from glesam.amodal.view import ObjectView, look_at
from glesam.common.arrays import Bool
from glesam.common.boxes import pixel_window
from glesam.fewshot.features import Backbone, pixel_values
from glesam.images.pixels import RGB
from glesam.masks.masks import Masks

_BATCH = 8
_RIM = 0.02
"""Width, in the root of the visible area, up to which a strip along the visible part's edge counts as its edge."""

_LEAST = 0.01
"""Share of the visible area from which on a hidden part counts as one."""


def completed(backbone: Backbone, network: AmodalNetwork, image: RGB, masks: Masks) -> Masks:
    """Masks with their whole objects.

    Args:
        backbone: frozen ImageNet backbone.
        network: trained on its features.
        image: `(H, W, 3)` uint8 RGB.
        masks: N masks of it.

    Returns:
        The same with `amodal`; each contains its mask, and an empty mask has an empty one.
    """
    whole = masks.masks.copy()
    filled = [index for index in range(len(masks)) if masks.masks[index].any()]
    for start in range(0, len(filled), _BATCH):
        some = filled[start : start + _BATCH]
        for index, hidden in zip(some, _hidden(backbone, network, image, masks.masks[some]), strict=True):
            whole[index] |= hidden
    return replace(masks, amodal=whole)


def _hidden(backbone: Backbone, network: AmodalNetwork, image: RGB, visible: Bool) -> Iterator[Bool]:
    """Hidden part `(H, W)` of each of `(n, H, W)` masks, none of them empty."""
    views = [look_at(image, mask, network.side) for mask in visible]
    for view, mask, logits in zip(views, visible, _logits(backbone, network, views), strict=True):
        yield cleaned(view.above(logits, mask.shape) & ~mask, mask)


@torch.inference_mode()
def _logits(backbone: Backbone, network: AmodalNetwork, views: Sequence[ObjectView]) -> np.ndarray:
    """What the network says of views, `(n, S/4, S/4)` float32."""
    maps = backbone(pixel_values(np.stack([view.pixels for view in views])))[1:]
    planes = [torch.from_numpy(np.stack(part)) for part in zip(*((v.visible, v.inside) for v in views), strict=True)]
    return np.asarray(network(maps, *planes).numpy(), np.float32)


def cleaned(hidden: Bool, visible: Bool) -> Bool:
    """A hidden part without strips along the visible part's edge, which are its edge, and without specks.

    Args:
        hidden: `(H, W)`.
        visible: `(H, W)`, not empty.
    """
    if not hidden.any():
        return hidden
    area = float(np.count_nonzero(visible))
    kept, window = np.zeros(hidden.shape, bool), pixel_window(hidden)
    side = 2 * max(1, round(_RIM * np.sqrt(area))) + 1
    part = np.pad(hidden[window].astype(np.uint8), side)  # what ends at the window does not end there
    opened = cv2.morphologyEx(part, cv2.MORPH_OPEN, np.ones((side, side), np.uint8))[side:-side, side:-side]
    _, labels, stats, _ = cv2.connectedComponentsWithStats(np.ascontiguousarray(opened), connectivity=8)
    large = stats[:, cv2.CC_STAT_AREA] >= _LEAST * area
    large[0] = False
    kept[window] = large[labels]
    return kept
