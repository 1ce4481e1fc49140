"""Masks as labelling tools and trainers read them: LabelMe, YOLO-seg, CVAT, napari.

Formats as their makers state them: LabelMe's JSON (wkentaro/labelme), Ultralytics' segmentation labels
(docs.ultralytics.com/datasets/segment), CVAT for images 1.1 (docs.cvat.ai, "XML annotation format").
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

import numpy as np
import numpy.typing as npt

from glesam.errors import DataError
from glesam.masks.polygons import Ring, signed_area

if TYPE_CHECKING:
    from glesam.masks.masks import Masks

NAMELESS = "object"
"""Class of objects that nobody named."""


def labelme(masks: Masks, image_path: str, tolerance: float = 1.0) -> bytes:
    """LabelMe's JSON: a polygon for each piece of a mask; pieces of one object share a `group_id`, its number from 1.

    LabelMe has no holes in polygons: they are filled.

    Args:
        masks: N masks.
        image_path: of the image, from the JSON's folder on.
        tolerance: as in `Masks.to_polygons`.
    """
    names = masks.class_names or (NAMELESS,) * len(masks)
    shapes = [
        {
            "label": name,
            "points": ring.tolist(),
            "group_id": number,
            "shape_type": "polygon",
            "flags": {},
        }
        for number, (name, rings) in enumerate(zip(names, masks.to_polygons(tolerance), strict=True), start=1)
        for ring in _shells(rings)
    ]
    height, width = masks.size
    head: dict[str, Any] = {"version": "5.5.0", "flags": {}, "shapes": shapes, "imagePath": image_path}
    return json.dumps(head | {"imageData": None, "imageHeight": height, "imageWidth": width}, indent=1).encode() + b"\n"


def yolo(masks: Masks, classes: Sequence[str] = (), tolerance: float = 1.0) -> bytes:
    """YOLO-seg's text: for each object a line `class x1 y1 x2 y2 ...`, coordinates as shares of the image's sides.

    The format has one polygon an object: pieces are joined by a line there and back between their nearest corners, as
    Ultralytics' converter joins them; holes are filled. Empty masks have no line.

    Args:
        masks: N masks.
        classes: names in the order of their numbers; without it those of the masks, as they come.
        tolerance: as in `Masks.to_polygons`.

    Raises:
        DataError: a class that is not among `classes`.
    """
    names = masks.class_names or (NAMELESS,) * len(masks)
    known = list(classes) or list(dict.fromkeys(names))
    unknown = [name for name in names if name not in known] if masks.class_names else []
    if unknown:
        raise DataError(f"expected classes of {', '.join(known)}, got {unknown[0]!r}; add it to the classes")
    sides = np.array(masks.size[::-1], np.float64)
    lines = []
    for name, rings in zip(names, masks.to_polygons(tolerance), strict=True):
        if rings:
            number = known.index(name) if name in known else 0
            shares = (_joined(_shells(rings)) / sides).clip(0, 1)
            lines.append(f"{number} " + " ".join(f"{value:.6f}" for value in shares.ravel()))
    return "".join(f"{line}\n" for line in lines).encode()


def cvat(images: Iterable[Masks]) -> bytes:
    """One CVAT XML (for images 1.1) of several images: each mask as `<mask>`, which is exact, in the image's order.

    Args:
        images: masks of each image, with its name.

    Raises:
        DataError: an image without a name.
    """
    root = ElementTree.Element("annotations")
    ElementTree.SubElement(root, "version").text = "1.1"
    for number, masks in enumerate(images):
        if masks.name is None:
            raise DataError(f"expected masks with the name of their image, got none for image {number}; give a name")
        height, width = masks.size
        place = {"id": str(number), "name": masks.name, "width": str(width), "height": str(height)}
        image = ElementTree.SubElement(root, "image", place)
        for index in reversed(masks.paint_order.tolist()):
            _add_cvat_mask(image, masks, index)
    return bytes(ElementTree.tostring(root, encoding="utf-8", xml_declaration=True)) + b"\n"


def napari(masks: Masks) -> tuple[npt.NDArray[np.int32], dict[str, Any], str]:
    """A labels layer as napari's plugins give layers: data, arguments, and the kind.

    `viewer.add_labels(data, **arguments)` shows it; scores and classes are features of the labels.
    """
    features: dict[str, list[Any]] = {
        "index": list(range(len(masks) + 1)),
        "score": [float("nan"), *masks.scores.tolist()],
    }
    if masks.class_names:
        features["class"] = ["", *masks.class_names]
    return masks.to_labels(), {"name": masks.name or "objects", "opacity": 0.5, "features": features}, "labels"


def _add_cvat_mask(image: ElementTree.Element, masks: Masks, index: int) -> None:
    """A mask within its box: lengths of runs row by row, the first one outside."""
    (x0, y0, x1, y1), inside = masks.crop(index)
    if not inside.size:
        return
    flat = inside.ravel()
    edges = np.flatnonzero(np.diff(np.concatenate([[False], flat])))
    runs = np.diff(np.concatenate([[0], edges, [flat.size]]))
    name = masks.class_names[index] if masks.class_names else NAMELESS
    place = {"left": x0, "top": y0, "width": x1 - x0, "height": y1 - y0, "z_order": index}
    values = {"label": name, "source": "auto", "occluded": "0", "rle": ", ".join(map(str, runs.tolist()))}
    ElementTree.SubElement(image, "mask", values | {key: str(value) for key, value in place.items()})


def _shells(rings: list[Ring]) -> list[Ring]:
    """The outer rings."""
    return [ring for ring in rings if signed_area(ring) > 0]


def _joined(rings: list[Ring]) -> npt.NDArray[np.float64]:
    """One ring through all, `(K, 2)`: each next one is entered and left at the corners that lie nearest."""
    whole = rings[0].astype(np.float64)
    for ring in rings[1:]:
        distances = ((whole[:, None] - ring[None]) ** 2).sum(axis=2)
        here, there = np.unravel_index(int(distances.argmin()), distances.shape)
        turned = np.roll(ring, -there, axis=0)
        whole = np.concatenate([whole[: here + 1], turned, turned[:1], whole[here:]])
    return whole
