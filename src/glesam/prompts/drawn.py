"""Points and boxes drawn from an object's mask, for training and for measuring."""

from __future__ import annotations

import numpy as np

from glesam.common.arrays import Bool, Float
from glesam.common.boxes import pixel_box
from glesam.errors import PromptError


def draw_points(truth: Bool, count: int, rng: np.random.Generator) -> Float:
    """Draw `count` pixels of an object without replacement, uniformly; give `(count, 2)` float32 `(x, y)`.

    An object of fewer pixels gives all of them, then repeats the last one (GleSAM's protocol). The first k points of a
    longer draw are the points of a draw of k from an equal generator.

    Raises:
        PromptError: the object has no pixel.
    """
    inside = np.flatnonzero(truth)
    if inside.size == 0:
        raise PromptError("expected an object of at least one pixel, got an empty mask; drop empty objects first")
    # Fisher-Yates, stopped after `count` steps, with the moved entries in a dictionary: nested draws, no full shuffle.
    moved: dict[int, int] = {}
    chosen = []
    for step in range(min(count, inside.size)):
        pick = int(rng.integers(step, inside.size))
        chosen.append(inside[moved.get(pick, pick)])
        moved[pick] = moved.get(step, step)
    chosen += [chosen[-1]] * (count - len(chosen))
    y, x = np.divmod(np.asarray(chosen), truth.shape[1])
    return np.stack([x, y], axis=1).astype(np.float32)


def tight_box(truth: Bool) -> Float:
    """Smallest box around an object: `(4,)` float32 `(x0, y0, x1, y1)`; x1 and y1 are the far edges of the last pixels.

    Raises:
        PromptError: the object has no pixel.
    """
    box = pixel_box(truth)
    if box is None:
        raise PromptError("expected an object of at least one pixel, got an empty mask; drop empty objects first")
    return np.array(box, np.float32)
