"""The file formats of `Masks`, each as bytes: id PNG, COCO JSON, GeoJSON polygons, npz. Every one carries `info`."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glesam.common.arrays import Bool
from glesam.common.files import write_bytes
from glesam.common.messages import one_line
from glesam.errors import DataError, ImageError
from glesam.masks.amodal import entry
from glesam.masks.polygons import Ring, signed_area
from glesam.masks.rle import decode
from glesam.masks.rle import encode as encode_rle

if TYPE_CHECKING:
    from glesam.masks.masks import Masks

PNG_KEY = "glesam"
"""Keyword of the PNG text chunk: JSON with `name`, `info` and `scores`."""

PALETTE_MASKS = 254
"""Masks of a PNG up to which it has colours. Entry 255 stays free: in palettes it is PASCAL VOC's void border."""


def save(masks: Masks, path: str | os.PathLike[str]) -> None:
    """See `glesam.masks.masks.Masks.save`."""
    content = encode(masks, Path(path).suffix)
    try:
        write_bytes(Path(path), content)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ImageError(f"expected to write {path}, got {reason!r}; choose a folder that you may write to") from error


def encode(masks: Masks, suffix: str) -> bytes:
    """See `glesam.masks.masks.Masks.encode`."""
    writer = WRITERS.get(suffix.lower())
    if writer is None:
        raise DataError(f"expected a name that ends in {', '.join(WRITERS)}, got {suffix or 'no suffix'!r}; choose one")
    return writer(masks)


def png(masks: Masks) -> bytes:
    """Ids as a PNG in the colours of the overlay; grey above `PALETTE_MASKS` masks, from 256 on with 16 bits."""
    from PIL import Image, PngImagePlugin

    if len(masks) > 65535:
        raise DataError(f"expected at most 65535 masks for a PNG of ids, got {len(masks)}; write .json or .npz")
    labels = np.zeros(masks.size, np.uint8 if len(masks) <= 255 else np.uint16)
    masks.paint(labels)
    text = PngImagePlugin.PngInfo()
    text.add_text(PNG_KEY, _json({"name": masks.name, "info": masks.info, "scores": _scores(masks)} | _named(masks)))
    stream = io.BytesIO()
    image = Image.fromarray(labels)
    if len(masks) <= PALETTE_MASKS:
        image.putpalette(_palette())
    image.save(stream, "PNG", pnginfo=text)
    return stream.getvalue()


def preview(masks: Masks, side: int = 512) -> bytes:
    """A small image of the masks in their colours, as PNG; above 255 masks colours come again."""
    from PIL import Image

    labels = masks.to_labels()
    image = Image.fromarray(np.where(labels > 0, (labels - 1) % 255 + 1, 0).astype(np.uint8))
    image.putpalette(_palette())
    image.thumbnail((side, side), Image.Resampling.NEAREST)
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _palette() -> list[int]:
    """256 colours as a flat list: black, then those of the overlay."""
    from glesam.draw.colours import colour

    return [0, 0, 0, *(part for index in range(255) for part in colour(index))]


def npz(masks: Masks) -> bytes:
    """All arrays, compressed; `info` and `name` as JSON text, so that no pickle is needed to read."""
    arrays: dict[str, Any] = {
        "masks": masks.masks,
        "scores": masks.scores,
        "logits": masks.logits,
        "boxes": masks.boxes,
        "info": np.array(_json(masks.info)),
        "name": np.array(masks.name or ""),
    }
    if masks.class_names:
        arrays["class_names"] = np.array(masks.class_names)
    if masks.candidates is not None:
        arrays |= {"candidates": masks.candidates, "candidate_scores": masks.candidate_scores}
    if masks.amodal is not None:
        arrays["amodal"] = masks.amodal
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def to_coco(masks: Masks, image_id: int = 1, category_id: int = 1) -> list[dict[str, Any]]:
    """See `glesam.masks.masks.Masks.to_coco`."""
    ids = category_ids(masks, category_id)
    rows = zip(masks.masks, masks.boxes.tolist(), masks.areas.tolist(), _scores(masks), strict=True)
    return [
        {
            "id": number,
            "image_id": image_id,
            "category_id": ids[number - 1],
            "iscrowd": 0,
            "segmentation": encode_rle(mask),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": area,
            "score": score,
            "predicted_iou": score,
        }
        | _amodal(masks, number - 1)
        for number, (mask, (x0, y0, x1, y1), area, score) in enumerate(rows, start=1)
    ]


def _amodal(masks: Masks, index: int) -> dict[str, Any]:
    """The keys of the whole object, where it is known."""
    if masks.amodal is None:
        return {}
    whole = masks.amodal[index]
    return entry(encode_rle(whole), int(np.count_nonzero(whole)), int(np.count_nonzero(whole & masks.masks[index])))


def category_ids(masks: Masks, first: int = 1) -> list[int]:
    """COCO category of each mask: names get numbers from `first` on, as they come; without names all are `first`."""
    if not masks.class_names:
        return [first] * len(masks)
    numbers = {name: first + i for i, name in enumerate(dict.fromkeys(masks.class_names))}
    return [numbers[name] for name in masks.class_names]


def coco(masks: Masks) -> bytes:
    """A whole COCO document of one image; a category for each class name, or a single one."""
    return _document(masks, masks.to_coco())


def _document(masks: Masks, annotations: list[dict[str, Any]]) -> bytes:
    names = list(dict.fromkeys(masks.class_names)) or ["object"]
    height, width = masks.size
    document = {
        "info": masks.info,
        "images": [{"id": 1, "file_name": masks.name or "", "width": width, "height": height}],
        "categories": [{"id": number, "name": name} for number, name in enumerate(names, start=1)],
        "annotations": annotations,
    }
    return _json(document).encode() + b"\n"


def boxes(masks: Masks) -> bytes:
    """The COCO document without masks: boxes `[x, y, width, height]`, areas of the masks, scores and categories."""
    return _document(
        masks, [{k: v for k, v in entry.items() if not k.endswith("segmentation")} for entry in masks.to_coco()]
    )


def geojson(masks: Masks, tolerance: float = 1.0) -> bytes:
    """Polygons as GeoJSON (RFC 7946), but in pixels of the image (x right, y down), as image viewers read it.

    Args:
        masks: N masks.
        tolerance: as in `Masks.to_polygons`.
    """
    rows = zip(masks.to_polygons(tolerance), masks.areas.tolist(), _scores(masks), strict=True)
    features = [
        {
            "type": "Feature",
            "id": number,
            "properties": {"id": number, "score": score, "area": area} | _class(masks, number - 1),
            "geometry": {"type": "MultiPolygon", "coordinates": _polygons(rings)},
        }
        for number, (rings, area, score) in enumerate(rows, start=1)
    ]
    height, width = masks.size
    members = {"name": masks.name, "info": masks.info, "image_size": {"width": width, "height": height}}
    return _json({"type": "FeatureCollection", **members, "features": features}).encode() + b"\n"


def _polygons(rings: list[Ring]) -> list[list[list[list[float]]]]:
    """Group rings to polygons (outer ring, holes), each ring closed by its first point as GeoJSON asks."""
    polygons: list[list[list[list[float]]]] = []
    for ring in rings:
        closed = np.concatenate([ring, ring[:1]]).tolist()
        if signed_area(ring) > 0:
            polygons.append([closed])
        else:
            polygons[-1].append(closed)
    return polygons


def from_coco(content: Any, size: tuple[int, int] | None, name: str | None) -> dict[str, Any]:
    """The fields of `Masks` that COCO annotations hold; see `glesam.masks.masks.Masks.from_coco`."""
    try:
        return _from_coco(content, size, name)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise DataError(f"expected COCO annotations, got other values ({one_line(error)}); see to_coco()") from error


def _from_coco(content: Any, size: tuple[int, int] | None, name: str | None) -> dict[str, Any]:
    """As `from_coco`, whose values may be of any type."""
    info: dict[str, Any] = {}
    entries, categories = content, {}
    if isinstance(content, dict):
        chosen = _chosen_image(content, name)
        name, info = chosen.get("file_name") or None, content.get("info") or {}
        size = (chosen["height"], chosen["width"])
        categories = {c.get("id"): c.get("name") for c in _entries(content.get("categories", []))}
        entries = [a for a in _entries(content["annotations"]) if a.get("image_id") == chosen["id"]]
    stack = [_mask(entry, i) for i, entry in enumerate(_entries(entries))]
    sizes = {mask.shape for mask in stack} | ({size} if size else set())
    if len(sizes) != 1:
        got = ", ".join(map(str, sorted(sizes))) or "an empty list"
        raise DataError(f"expected annotations of one image's size (H, W), got {got}; give size, or one image's masks")
    scores = [_score(entry, i) for i, entry in enumerate(entries)]
    masks = np.stack(stack) if stack else np.zeros((0, *sizes.pop()), bool)
    names = [categories.get(entry.get("category_id")) for entry in entries]
    # A document of one nameless category, as `coco` writes it, names nothing.
    known = all(isinstance(each, str) for each in names) and set(names) != {"object"}
    return {
        "masks": masks,
        "scores": np.array(scores, np.float32),
        "name": name,
        "info": info,
        "class_names": tuple(map(str, names)) if known else (),
        "amodal": _whole(entries, masks.shape),
    }


def _whole(entries: list[dict[str, Any]], shape: tuple[int, ...]) -> Bool | None:
    """The whole objects of annotations, where all have one."""
    key = "amodal_segmentation"
    if not entries or not all(key in entry for entry in entries):
        return None
    stack = [_mask(entry, i, key) for i, entry in enumerate(entries)]
    if any(mask.shape != shape[1:] for mask in stack):
        raise DataError(f"expected {key} of {shape[1:]} as the masks, got another size; complete the masks again")
    return np.stack(stack)


def _chosen_image(document: dict[str, Any], name: str | None) -> dict[str, Any]:
    """The one image of a COCO document that is meant."""
    listed = _entries(document.get("images", []))
    found = [p for p in listed if name is None or p.get("file_name") == name]
    if len(found) != 1 or not {"id", "width", "height"} <= found[0].keys() or "annotations" not in document:
        known = len(listed)
        wanted = "one image" if name is None else f"one image {name}"
        raise DataError(
            f"expected a COCO document with {wanted} (id, width, height) and annotations, got {len(found)} of "
            f"{known} images; give the name of one"
        )
    return found[0]


def _entries(values: Any) -> list[dict[str, Any]]:
    """Check that a part of a COCO document is a list of objects."""
    if not isinstance(values, list) or not all(isinstance(v, dict) for v in values):
        raise DataError(f"expected COCO annotations as a list of objects, got {type(values).__name__}; see to_coco()")
    return values


def _mask(entry: dict[str, Any], index: int, key: str = "segmentation") -> Bool:
    """Decode one annotation; an error names it."""
    try:
        return decode(entry.get(key))
    except DataError as error:
        raise DataError(f"annotation {index}: {error}") from None


def _score(entry: dict[str, Any], index: int) -> float:
    """Score of an annotation; 1 for a mask that a person drew."""
    score = entry.get("score", entry.get("predicted_iou", 1.0))
    if not isinstance(score, (int, float)):
        raise DataError(f"expected a number as score of annotation {index}, got {score!r}; correct or remove it")
    return float(score)


def _named(masks: Masks) -> dict[str, Any]:
    """The class names for a record of all masks, where there are any."""
    return {"class_names": list(masks.class_names)} if masks.class_names else {}


def _class(masks: Masks, index: int) -> dict[str, str]:
    """The class name for a record of one mask, where there is one."""
    return {"class": masks.class_names[index]} if masks.class_names else {}


def _scores(masks: Masks) -> list[float]:
    """Scores as the shortest numbers that are these float32."""
    return [float(str(score)) for score in masks.scores]


def _json(value: Any) -> str:
    """JSON text, keys in order; numpy numbers become plain."""
    try:
        return json.dumps(value, default=_plain, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise DataError(
            f"expected info of plain JSON values, got one that is not ({one_line(error)}); use str, int, float"
        ) from error


def _plain(value: Any) -> Any:
    """Numpy scalars as Python's."""
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"{type(value).__name__} {value!r}")


WRITERS: dict[str, Callable[[Masks], bytes]] = {".png": png, ".json": coco, ".geojson": geojson, ".npz": npz}
"""Format by suffix."""
