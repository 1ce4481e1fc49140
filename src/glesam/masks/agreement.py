"""How much two masks are one."""

from __future__ import annotations

import numpy as np

from glesam.common.arrays import Bool


def mask_iou(one: Bool, other: Bool) -> float:
    """IoU of two `(H, W)` masks of one image; 0 for two empty ones."""
    whole = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / whole if whole else 0.0
