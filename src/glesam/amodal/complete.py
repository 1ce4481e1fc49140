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
from glesam.masks.runs import RunMask
from glesam.masks.sparse import SparseMasks

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
    whole = (masks.mask(index) | hidden for index, hidden in enumerate(_hidden(backbone, network, image, masks)))
    if isinstance(masks, SparseMasks):
        return masks.with_whole([RunMask.from_array(each) for each in whole])
    stack = np.zeros(masks.masks.shape, bool)
    for index, each in enumerate(whole):
        stack[index] = each
    return replace(masks, amodal=stack)


def _hidden(backbone: Backbone, network: AmodalNetwork, image: RGB, masks: Masks) -> Iterator[Bool]:
    """Hidden part `(H, W)` of each mask; of an empty one nothing."""
    for start in range(0, len(masks), _BATCH):
        some = [masks.mask(index) for index in range(start, min(start + _BATCH, len(masks)))]
        views = [look_at(image, mask, network.side) for mask in some if mask.any()]
        logits = iter(_logits(backbone, network, views) if views else ())
        seen = iter(views)
        for mask in some:
            if mask.any():
                yield cleaned(next(seen).above(next(logits), mask.shape) & ~mask, mask)
            else:
                yield np.zeros(mask.shape, bool)


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
