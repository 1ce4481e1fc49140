"""Augmentation in uint8 by OpenCV: one affine warp, one colour table, cut-outs of other images pasted in.

All functions draw from the passed generator only, so that a training batch is a function of (seed, step).
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Ids
from glesam.images.pixels import RGB

PADDING_GREY = 127
_LARGEST_SCALE = 4.0
"""View pixels for each pixel of the image, at the most: beyond that there is nothing to see."""
_SMOOTH_FROM, _SMOOTH_IDS = 1.3, 30
"""Views enlarged by more have smooth edges; not with more objects, which would take too long."""


@dataclass(frozen=True)
class ViewConfig:
    """How a training view is cut out of an image.

    Attributes:
        frame: side in pixels that a whole image is enlarged to at inference; scale 1 means that size.
        scale: range of the relative scale, drawn log-uniformly.
        aspect: largest stretch of one axis against the other.
        rotation: largest rotation in degrees; applied to one view in four.
        focus: chance that the view is laid around an object instead of anywhere.
        zoom: chance that such a view is laid close around its object, which then fills half to nine tenths of it.
    """

    frame: int = 512
    scale: tuple[float, float] = (0.45, 1.5)
    aspect: float = 1.2
    rotation: float = 15.0
    focus: float = 0.8
    zoom: float = 0.0


def random_view(image: RGB, mask: Ids, size: int, config: ViewConfig, rng: np.random.Generator) -> tuple[RGB, Ids]:
    """Cut a `size` x `size` view: scale, stretch, rotate, flip and place by one affine warp."""
    height, width = mask.shape
    scale = config.frame / max(height, width) * float(np.exp(rng.uniform(*np.log(config.scale))))
    box = _focus_box(mask, rng) if rng.random() < config.focus else None
    if box is not None and rng.random() < 0.75:
        # A view that cuts most of its object away teaches little: shrink until the object fits.
        scale = min(scale, 0.95 * size / max(box[2] - box[0], box[3] - box[1], 1))
    if box is not None and config.zoom > 0 and rng.random() < config.zoom:
        fill = float(rng.uniform(0.5, 0.9)) * size
        scale = min(_LARGEST_SCALE, fill / max(box[2] - box[0], box[3] - box[1], 1))
    # Padding costs as much time as pixels do: at least the long side, half of the time the short one, fills the view.
    scale = max(scale, size / (min(height, width) if rng.random() < 0.5 else max(height, width)))
    stretch = float(np.exp(rng.uniform(-1, 1) * np.log(config.aspect) / 2))
    angle = float(np.deg2rad(rng.uniform(-config.rotation, config.rotation))) if rng.random() < 0.25 else 0.0
    flip = -1.0 if rng.random() < 0.5 else 1.0
    linear = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag(
        [flip * scale * stretch, scale / stretch]
    )
    # Places are of pixels' edges, and the warp's of their centres, half a pixel from these.
    offset = _offset(linear, (height, width), box, size, rng) + linear @ (0.5, 0.5) - 0.5
    matrix = np.hstack([linear, offset[:, None]])
    border = (PADDING_GREY,) * 3
    method = cv2.INTER_LINEAR if scale < 1 or rng.random() < 0.5 else cv2.INTER_CUBIC
    view = cv2.warpAffine(image, matrix, (size, size), flags=method, borderValue=border)
    return view.astype(np.uint8), _warp_ids(mask, matrix, size, scale)


def _warp_ids(mask: Ids, matrix: npt.NDArray[np.float64], size: int, scale: float) -> Ids:
    """Warp instance ids into a view; where it enlarges, edges are drawn between pixels instead of in their steps."""
    nearest = cv2.warpAffine(mask.astype(np.uint8), matrix, (size, size), flags=cv2.INTER_NEAREST, borderValue=(0,))
    ids, _ = ids_and_areas(nearest)
    if scale < _SMOOTH_FROM or len(ids) > _SMOOTH_IDS:
        return np.asarray(nearest, np.int32)
    warped = np.zeros((size, size), np.int32)
    best = np.full((size, size), 127, np.uint8)
    for one in ids:
        share = cv2.warpAffine((mask == one).astype(np.uint8) * 255, matrix, (size, size), flags=cv2.INTER_LINEAR)
        warped[share > best] = one
        best = np.maximum(best, share.astype(np.uint8))
    return warped


def _focus_box(mask: Ids, rng: np.random.Generator) -> tuple[int, int, int, int] | None:
    """Box `(x0, y0, x1, y1)` of a random object, or None where there is none."""
    ids, _ = ids_and_areas(mask)
    if not len(ids):
        return None
    x, y, width, height = cv2.boundingRect((mask == rng.choice(ids)).astype(np.uint8))
    return x, y, x + width, y + height


def ids_and_areas(mask: Ids) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Ids of the objects in a mask, sorted, and their pixels; counting is many times faster than `np.unique`."""
    counts = np.bincount(mask.ravel())
    ids = np.flatnonzero(counts[1:]) + 1
    return ids, counts[ids]


def _offset(
    linear: npt.NDArray[np.float64],
    shape: tuple[int, int],
    box: tuple[int, int, int, int] | None,
    size: int,
    rng: np.random.Generator,
) -> npt.NDArray[np.float64]:
    """Translation that places the warped image in the view, `(2,)`.

    An image smaller than the view lies top left, as at inference; a larger one shows the focus box or any part.
    """
    corners = np.array([[0, 0], [shape[1], 0], [0, shape[0]], [shape[1], shape[0]]]) @ linear.T
    low, high = corners.min(axis=0), corners.max(axis=0)
    offset = np.empty(2)
    centre = None if box is None else linear @ np.array([(box[0] + box[2]) / 2, (box[1] + box[3]) / 2])
    for axis in (0, 1):
        room = size - (high[axis] - low[axis])
        if room >= 0:
            offset[axis] = -low[axis] + (0.0 if rng.random() < 0.8 else rng.uniform(0, room))
        elif centre is not None:
            target = size * rng.uniform(0.25, 0.75)
            offset[axis] = np.clip(target - centre[axis], size - high[axis], -low[axis])
        else:
            offset[axis] = rng.uniform(size - high[axis], -low[axis])
    return offset


def jitter_colour(image: RGB, rng: np.random.Generator) -> RGB:
    """Change exposure, contrast, white balance and saturation within what cameras do; one image in 20 turns grey."""
    levels = np.arange(256, dtype=np.float32) / 255
    gamma = float(np.exp(rng.uniform(-0.35, 0.35)))
    contrast, brightness = rng.uniform(0.75, 1.25), rng.uniform(-0.12, 0.12)
    gains = rng.uniform(0.9, 1.1, 3)
    curve = (levels**gamma - 0.5) * contrast + 0.5 + brightness
    table = np.clip(curve[:, None] * gains * 255, 0, 255).astype(np.uint8)
    out = cv2.LUT(image, table[None])
    grey = cv2.cvtColor(out, cv2.COLOR_RGB2GRAY)
    saturation = 0.0 if rng.random() < 0.05 else float(rng.uniform(0.6, 1.4))
    return np.asarray(cv2.addWeighted(out, saturation, cv2.merge([grey] * 3), 1 - saturation, 0), np.uint8)


def paste_object(image: RGB, mask: Ids, source: RGB, source_mask: Ids, rng: np.random.Generator) -> tuple[RGB, Ids]:
    """Paste a random object of another image at a random place and size; it becomes a new id and hides what it covers.

    Cut-outs (Ghiasi et al., CVPR 2021) give each image several objects, so that prompts are worth listening to.
    """
    box = _focus_box(source_mask, rng)
    if box is None:
        return image, mask
    x0, y0, x1, y1 = box
    ids = source_mask[y0:y1, x0:x1]
    inside = ids[ids > 0]
    cut = (ids == np.bincount(inside).argmax()).astype(np.uint8)
    size = mask.shape[0]
    scale = size * float(np.exp(rng.uniform(np.log(0.12), np.log(0.6)))) / max(cut.shape)
    shape = (max(2, round((x1 - x0) * scale)), max(2, round((y1 - y0) * scale)))
    alpha = cv2.resize(cut * 255, shape, interpolation=cv2.INTER_LINEAR)
    patch = cv2.resize(source[y0:y1, x0:x1], shape, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR)
    if rng.random() < 0.5:
        alpha, patch = np.ascontiguousarray(alpha[:, ::-1]), np.ascontiguousarray(patch[:, ::-1])
    return _blend(image, mask, jitter_colour(patch.astype(np.uint8), rng), alpha, rng)


def _blend(
    image: RGB, mask: Ids, patch: RGB, alpha: npt.NDArray[np.uint8], rng: np.random.Generator
) -> tuple[RGB, Ids]:
    """Lay a patch over a copy of the image at a random place, at least half of it inside."""
    size, (h, w) = mask.shape[0], alpha.shape
    y, x = (int(rng.integers(-n // 4, max(1, size - 3 * n // 4))) for n in (h, w))
    top, left, bottom, right = max(0, y), max(0, x), min(size, y + h), min(size, x + w)
    if bottom <= top or right <= left:
        return image, mask
    part = np.s_[top - y : bottom - y, left - x : right - x]
    weight = cv2.GaussianBlur(alpha, (3, 3), 0)[part][..., None].astype(np.uint16)
    image, mask = image.copy(), mask.copy()
    under = image[top:bottom, left:right].astype(np.uint16)
    image[top:bottom, left:right] = ((patch[part] * weight + under * (255 - weight)) // 255).astype(np.uint8)
    mask[top:bottom, left:right][alpha[part] > 127] = int(mask.max()) + 1
    return image, mask
