"""Names for the masks of everything mode: what a labeler is, the known ones, and the map of classes.

The split into "all masks first, then a name for each" is that of Semantic-Segment-Anything and Semantic-Fast-SAM.
"""

from __future__ import annotations

import importlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import Bool
from glesam.common.messages import hint
from glesam.draw.colours import colour
from glesam.errors import ConfigError, DataError
from glesam.images.pixels import RGB
from glesam.masks.formats import PNG_KEY
from glesam.masks.masks import Masks

Ranking = list[tuple[str, float]]
"""Names of one mask with scores from 0 to 1, the best first; none where nothing is known."""

UNKNOWN = "unknown"
"""Name of a mask that the labeler knows nothing of."""


class Labeler(Protocol):
    """Names masks."""

    def __call__(self, image: RGB, masks: Masks) -> Sequence[Ranking]:
        """One ranking for each mask of an image `(H, W, 3)` uint8 RGB."""
        ...


LABELERS: dict[str, str] = {
    "offline": "glesam.text.offline_labels:load",
    "clip": "glesam.text.clip_labels:load",
    "examples": "glesam.fewshot.labels:load",
}
"""Known labelers: name to `module:function`, which takes the text after `name:` and gives the labeler."""


ReadFile = Callable[[Path], RGB]
"""Reads an image file as the model is to see it, `(H, W, 3)` uint8 RGB."""

LOOKING = {"examples"}
"""Those of `LABELERS` that look at image files of their own: their function also takes a `ReadFile`."""


def load_labeler(spec: str | Labeler = "offline", read_file: ReadFile | None = None) -> Labeler:
    """A labeler by name, with what it needs after a colon (`clip:FOLDER`); a callable is given back.

    Args:
        spec: name, or a labeler.
        read_file: for those in `LOOKING`, so that they see their files as the image whose masks they name; None for
            `glesam.images.read`.

    Raises:
        ConfigError: an unknown name.
        ModelError: its weights are missing or do not fit.
        ImageError: an image file of its own cannot be read.
        DataError: a mask file of its own cannot be read.
        PromptError: a mask file of its own does not fit its image.
    """
    if not isinstance(spec, str):
        return spec
    name, _, argument = spec.partition(":")
    if name not in LABELERS:
        known = ", ".join(LABELERS)
        raise ConfigError(f"expected a labeler of {known}, got {name!r}; {hint(name, LABELERS, 'name one of these')}")
    module, function = LABELERS[name].split(":")
    load: Callable[..., Labeler] = getattr(importlib.import_module(module), function)
    return load(argument, read_file) if name in LOOKING and read_file is not None else load(argument)


def rank_each(masks: Masks, rank: Callable[[int, Bool], Ranking]) -> list[Ranking]:
    """One ranking for each mask by `rank`, which gets its number and its pixels `(H, W)`; none for an empty mask."""
    each = ((index, masks.mask(index)) for index in range(len(masks)))
    return [rank(index, mask) if mask.any() else [] for index, mask in each]


def label(image: RGB, masks: Masks, labeler: Labeler) -> Masks:
    """The masks with the best name of each as its class name.

    Raises:
        DataError: the labeler does not give one ranking for each mask.
    """
    rankings = labeler(image, masks)
    if len(rankings) != len(masks):
        raise DataError(f"expected one ranking for each of {len(masks)} masks, got {len(rankings)}; mend the labeler")
    return masks.named([ranking[0][0] if ranking else UNKNOWN for ranking in rankings])


def class_map(masks: Masks) -> tuple[npt.NDArray[np.uint8], list[str]]:
    """Class of each pixel, small masks over large ones.

    Returns:
        `(H, W)` uint8: 0 where no mask is, else 1 + place in the list of names, which are in the order in which they
        come.

    Raises:
        DataError: no class names, or more than 255 different ones.
    """
    names = list(dict.fromkeys(masks.class_names))
    if len(masks) and not names:
        raise DataError("expected masks with class names, got none; label them first")
    if len(names) > 255:
        raise DataError(f"expected at most 255 classes for a map of 8 bits, got {len(names)}; use to_coco()")
    numbers = np.array([0, *(1 + names.index(name) for name in masks.class_names)], np.uint8)
    return numbers[masks.to_labels()], names


def class_map_png(masks: Masks) -> bytes:
    """The map of classes as a palette PNG; its text chunk `glesam` has the names by palette entry, as JSON."""
    from PIL import Image, PngImagePlugin

    classes, names = class_map(masks)
    image = Image.fromarray(classes, "P")
    image.putpalette([0, 0, 0, *(value for i in range(len(names)) for value in colour(i))])
    text = PngImagePlugin.PngInfo()
    text.add_text(PNG_KEY, json.dumps({"classes": {str(i): name for i, name in enumerate(names, start=1)}}))
    stream = io.BytesIO()
    image.save(stream, "PNG", pnginfo=text)
    return stream.getvalue()


def save_class_map(masks: Masks, path: str | Path) -> None:
    """Write `class_map_png` to a file in one step."""
    from glesam.common.files import write_bytes

    write_bytes(path, class_map_png(masks))
