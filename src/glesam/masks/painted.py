"""Masks that come in as images: black and white, ids, or painted in any colours by another tool or by hand.

Each pixel takes the nearest of the image's main colours. Where two are about as near (soft edges, traces of JPEG) it
takes that of the nearest pixel that is sure; how many such pixels there were is reported.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
from scipy.ndimage import distance_transform_edt

from glesam.common.arrays import STRIP, Bool, row_slices
from glesam.common.messages import one_line, shown
from glesam.draw.colours import Colour
from glesam.errors import DataError
from glesam.images.opening import check_size, open_known
from glesam.images.reading import MAX_PIXELS

MOST_COLOURS = 255
"""Objects of one painted image at most."""

_MOST_PIXELS = MAX_PIXELS // 4
"""Pixels of a painted file; telling colours apart takes some forty bytes for each."""

_MOST_BYTES = 2**31
"""Memory of the masks of one image of ids."""

_LEAST_SHARE = 0.0005
"""Share of the image that a colour fills to count as painted on purpose."""

_MERGE = 15.0
"""Distance in CIELAB below which two colours are one: JPEG moves flat colours by a few, 2.3 is just noticeable."""

_SURE = 0.5
"""A pixel is sure if its nearest colour is nearer than this share of the distance to the second."""

_GREYS, _RARER = 6, 2
_FLAT = 64
"""Colours up to which an image is painted flat; with more of them soft edges make colours of their own."""


@dataclass(frozen=True, eq=False)
class Painted:
    """What was painted.

    Attributes:
        masks: `(N, H, W)` bool, one a colour, apart from each other; larger ones need not come first.
        colours: RGB of each; for images of ids `(id, id, id)`.
        ambiguous: share of the image's pixels whose colour was not sure.
    """

    masks: Bool
    colours: tuple[Colour, ...]
    ambiguous: float


def read_painted(source: str | os.PathLike[str] | npt.NDArray[Any], palette: Sequence[Colour] | None = None) -> Painted:
    """Read a painted mask.

    * One channel, or a palette PNG: 0 is background and each other value an object; of soft edges between 0 and 255,
      what is at least half white is the object.
    * Colours: see `palette`. Transparent pixels are background.

    Args:
        source: file, or `(H, W)`, `(H, W, 3)` RGB or `(H, W, 4)` RGBA array.
        palette: RGB colours that were painted with, the background first. Without it the colours that fill enough of
            the image; the background is black if it is there, else the colour that fills most of the edge.

    Raises:
        DataError: not an image, nothing painted, or more than 255 colours.
    """
    array = np.asarray(source) if isinstance(source, np.ndarray) else _read(Path(source))
    if array.dtype == np.bool_:
        array = array.astype(np.uint8)
    if array.ndim == 2:
        return _of_ids(array)
    if array.ndim != 3 or array.shape[2] not in (3, 4) or array.dtype != np.uint8:
        raise DataError(
            f"expected a mask (H, W) of ids or (H, W, 3) uint8 colours, got {array.shape} {array.dtype}; convert it"
        )
    clear = array[..., 3] < 128 if array.shape[2] == 4 else np.zeros(array.shape[:2], bool)
    return _of_colours(array[..., :3], clear, palette)


def read_objects(path: Path) -> Bool:
    """Marks of an example, `(n, H, W)`: each colour or id is an object; of one colour, each piece apart from others.

    Raises:
        DataError: as `read_painted`.
    """
    painted = read_painted(path).masks
    if len(painted) > 1:
        return painted
    count, labels = cv2.connectedComponents(painted[0].astype(np.uint8), connectivity=8)
    return np.stack([labels == index for index in range(1, count)])


def _read(path: Path) -> npt.NDArray[Any]:
    """Ids of a grey or palette file, else colours."""
    try:
        with path.open("rb") as stream, open_known(stream) as image:
            check_size(image.width, image.height, _MOST_PIXELS, shown(path))
            image.load()
            if image.mode in ("1", "L", "P", "I", "I;16"):
                return np.asarray(image.convert("L") if image.mode == "1" else image)
            mode = "RGBA" if image.has_transparency_data else "RGB"
            colours = np.asarray(image.convert(mode))
    except Exception as error:  # Pillow's plugins raise whatever damaged bytes lead them to
        raise DataError(
            f"expected a mask image, cannot read {shown(path)} ({one_line(error)}); save it as PNG"
        ) from error
    grey = (colours[..., 0] == colours[..., 1]).all() and (colours[..., 1] == colours[..., 2]).all()
    return colours[..., 0] if grey and mode == "RGB" else colours


def _of_ids(ids: npt.NDArray[Any]) -> Painted:
    """One object for each value but 0; soft black and white becomes one."""
    values, counts = np.unique(ids, return_counts=True)
    grey = (values != 0) & (values != 255)
    if ids.dtype == np.uint8 and _is_soft(values[grey], counts[grey], int(counts[values == 255].sum())):
        return _found([ids >= 128], [(255, 255, 255)], float(counts[grey].sum()) / ids.size)
    kinds = [int(value) for value in values if value != 0]
    if len(kinds) > MOST_COLOURS and len(kinds) * ids.size > _MOST_BYTES:
        raise DataError(
            f"expected at most {MOST_COLOURS} objects, or masks of at most {_MOST_BYTES // 2**20} MiB together, got "
            f"{len(kinds)} ids on {ids.size} pixels; give a mask, not a photo or a depth map, or shrink it"
        )
    return _found([ids == value for value in kinds], [(value, value, value) for value in kinds], 0.0)


def _is_soft(between: npt.NDArray[np.int64], counts: npt.NDArray[np.int64], white: int) -> bool:
    """Whether greys between black and white are soft edges, not ids: dark and bright ones, all rarer than white."""
    several = len(between) >= _GREYS and between.min() < 128 <= between.max()
    return bool(several) and white >= _RARER * int(counts.max())


def _of_colours(rgb: npt.NDArray[np.uint8], clear: Bool, palette: Sequence[Colour] | None) -> Painted:
    """Each pixel to the nearest colour."""
    colours = list(palette) if palette is not None else _main_colours(rgb, clear)
    if not colours:
        raise DataError("expected painted colours, got a transparent image; paint the objects")
    if len(colours) > MOST_COLOURS + 1:
        raise DataError(
            f"expected at most {MOST_COLOURS} colours, got {len(colours)}; give a mask, not a photo, or a palette"
        )
    nearest, unsure = _nearest(rgb, colours)
    unsure &= ~clear
    sure = ~unsure & ~clear
    if unsure.any() and sure.any():
        rows, columns = distance_transform_edt(~sure, return_distances=False, return_indices=True)
        nearest = np.where(unsure, nearest[rows, columns], nearest)
    ground = -1 if palette is None and clear.any() else 0
    kinds = [index for index in range(len(colours)) if index != ground]
    masks = [(nearest == index) & ~clear for index in kinds]
    return _found(masks, [colours[index] for index in kinds], float(unsure.mean()))


def _found(masks: list[Bool], colours: list[Colour], unsure: float) -> Painted:
    kept = [index for index, mask in enumerate(masks) if mask.any()]
    if not kept:
        raise DataError("expected a painted object, got background only; paint the object in another colour")
    return Painted(np.stack([masks[i] for i in kept]), tuple(colours[i] for i in kept), unsure)


def _nearest(rgb: npt.NDArray[np.uint8], colours: Sequence[Colour]) -> tuple[npt.NDArray[np.int64], Bool]:
    """Index of the nearest colour of each pixel (CIE76), and where that is not sure."""
    flat, back = np.unique(rgb.reshape(-1, 3), axis=0, return_inverse=True)
    wanted = _lab(np.array(colours, np.uint8))
    nearest, unsure = np.zeros(len(flat), np.int64), np.zeros(len(flat), bool)
    for some in row_slices(flat, STRIP // len(colours)):
        lab = _lab(flat[some])
        distance = np.stack([np.linalg.norm(lab - one, axis=1) for one in wanted], axis=1)
        nearest[some] = distance.argmin(axis=1)
        if len(colours) > 1:
            first, second = np.partition(distance, 1, axis=1)[:, :2].T
            unsure[some] = first > _SURE * second
    shape = rgb.shape[:2]
    return nearest[back].reshape(shape), unsure[back].reshape(shape)


def _main_colours(rgb: npt.NDArray[np.uint8], clear: Bool) -> list[Colour]:
    """Colours that fill enough of the image, most frequent first, close ones merged; the background first."""
    flat, counts = np.unique(rgb[~clear].reshape(-1, 3), axis=0, return_counts=True)
    if not len(flat):
        return []
    order = np.argsort(-counts, kind="stable")
    lab = _lab(flat)
    chosen: list[int] = []
    image = _lab(rgb.reshape(-1, 3)).reshape(rgb.shape) if len(flat) > _FLAT else None
    for index in order[: 16 * MOST_COLOURS].tolist():
        if counts[index] < _LEAST_SHARE * rgb.shape[0] * rgb.shape[1] and chosen:
            break
        far = not chosen or np.linalg.norm(lab[chosen] - lab[index], axis=1).min() > _MERGE
        if far and (image is None or _has_core(image, lab[index])):
            chosen.append(index)
    chosen = chosen or [int(order[0])]
    colours = [(int(r), int(g), int(b)) for r, g, b in flat[chosen]]
    ground = colours.index(_background(rgb, clear, colours))
    return [colours[ground], *colours[:ground], *colours[ground + 1 :]]


def _has_core(lab: npt.NDArray[np.float32], colour: npt.NDArray[np.float32]) -> bool:
    """Whether a colour fills a square of 3 x 3 pixels somewhere; those of soft edges do not."""
    near = (np.linalg.norm(lab - colour, axis=2) < _MERGE / 2).astype(np.uint8)
    return bool(np.asarray(cv2.erode(near, np.ones((3, 3), np.uint8))).any())


def _background(rgb: npt.NDArray[np.uint8], clear: Bool, colours: list[Colour]) -> Colour:
    """Black, or what fills most of the edge."""
    dark = [colour for colour in colours if max(colour) < 16]
    if dark:
        return dark[0]
    nearest, _ = _nearest(rgb, colours)
    edge = np.ones(rgb.shape[:2], bool)
    edge[1:-1, 1:-1] = False
    edge &= ~clear
    return colours[int(np.bincount(nearest[edge], minlength=len(colours)).argmax())]


def _lab(colours: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
    """`(n, 3)` uint8 sRGB to CIELAB."""
    scaled = colours.reshape(1, -1, 3).astype(np.float32) / 255
    return np.asarray(cv2.cvtColor(scaled, cv2.COLOR_RGB2LAB), np.float32).reshape(-1, 3)
