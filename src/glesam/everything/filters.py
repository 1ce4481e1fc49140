"""Which answers of the decoder are worth keeping, judged on its low-resolution logits before anything is enlarged."""

from __future__ import annotations

from torch import Tensor


def stability_scores(logits: Tensor, offset: float) -> Tensor:
    """How little a mask changes when its cut moves: IoU of the masks cut at `+offset` and at `-offset`.

    The higher cut lies within the lower one, so that the IoU is a ratio of areas (segment-anything's
    `calculate_stability_score`, here at the decoder's resolution).

    Args:
        logits: `(M, h, w)`, above 0 inside.
        offset: in logits, above 0.

    Returns:
        `(M,)` float64, 0 where even the lower cut leaves nothing.
    """
    inner = (logits > offset).flatten(1).sum(dim=1).double()
    outer = (logits > -offset).flatten(1).sum(dim=1).double()
    return inner / outer.clamp(min=1)


def mask_boxes(logits: Tensor) -> Tensor:
    """Boxes `(M, 4)` int64 `(x0, y0, x1, y1)`, ends excluded, of `(M, h, w)` logits above 0; zeros if none is."""
    inside = logits > 0
    columns, rows = inside.any(dim=1), inside.any(dim=2)
    x0, y0 = columns.int().argmax(dim=1), rows.int().argmax(dim=1)
    x1 = columns.shape[1] - columns.flip(1).int().argmax(dim=1)
    y1 = rows.shape[1] - rows.flip(1).int().argmax(dim=1)
    boxes = inside.new_zeros((len(logits), 4), dtype=x0.dtype)
    found = columns.any(dim=1)
    for index, side in enumerate((x0, y0, x1, y1)):
        boxes[found, index] = side[found]
    return boxes
