"""Rows of an image that was finished earlier, from its outputs alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from glesam.common.documents import expect_object, parse_json, read_json
from glesam.common.messages import one_line
from glesam.errors import DataError
from glesam.folders.table import ObjectRow, rows_of
from glesam.images.opening import open_known
from glesam.masks.formats import PNG_KEY
from glesam.masks.masks import Masks


def rows_from_outputs(file: str, outputs: Mapping[str, Path | None]) -> list[ObjectRow]:
    """Read the rows back; the time that the image took is not known any more.

    COCO JSON and npz are exact. The mask PNG shows each pixel for one object only, so where objects overlap, box and
    area are those of the part that is seen.

    Args:
        file: what the image is called.
        outputs: kind ("json", "png", ...) to file, as the command line plans them.

    Raises:
        DataError: no output from which rows can be read, or a damaged one.
    """
    readers = {"json": _from_json, "npz": _from_npz, "png": _from_png, "boxes": _from_boxes}
    for kind, reader in readers.items():
        path = outputs.get(kind)
        if path is not None and path.exists():
            try:
                return reader(path, file)
            except Exception as error:  # files of others lead Pillow and these readers to many types
                raise DataError(
                    f"expected results in {path}, cannot read them ({one_line(error)}); delete that file"
                ) from error
    raise DataError(f"expected a mask PNG, COCO JSON or npz of {file}, found none; run again with --overwrite")


def _from_json(path: Path, file: str) -> list[ObjectRow]:
    """Rows of a COCO document of one image."""
    content = expect_object(read_json(path), str(path))
    return rows_of(Masks.from_coco(content), file) if content["annotations"] else []


def _from_npz(path: Path, file: str) -> list[ObjectRow]:
    """Rows of the arrays of one image."""
    with np.load(path) as arrays:
        facts = parse_json(str(arrays["info"]), str(path))
        names = tuple(str(name) for name in arrays["class_names"]) if "class_names" in arrays else ()
        return rows_of(Masks(arrays["masks"], arrays["scores"], info=facts, class_names=names), file)


def _from_boxes(path: Path, file: str) -> list[ObjectRow]:
    """Rows of a COCO document of boxes alone."""
    content = expect_object(read_json(path), str(path))
    names = {category["id"]: category["name"] for category in content["categories"]}
    named = set(names.values()) != {"object"}
    rows = []
    for entry in content["annotations"]:
        x, y, width, height = (int(value) for value in entry["bbox"])
        number, score, area = int(entry["id"]), round(float(entry["score"]), 6), int(entry["area"])
        row = ObjectRow(file, number, score, x, y, width, height, area, None, content["info"].get("enhanced"))
        rows.append(replace(row, class_name=names[entry["category_id"]]) if named else row)
    return rows


def _from_png(path: Path, file: str) -> list[ObjectRow]:
    """Rows from a PNG of ids, with the scores and facts that its text chunk holds."""
    with path.open("rb") as stream, open_known(stream) as image:
        facts = parse_json(str(image.info[PNG_KEY]), str(path))
        ids = np.asarray(image)
    scores = np.array(facts["scores"], np.float32)
    if not len(scores):
        return []
    names = tuple(facts.get("class_names", ()))
    masks = np.stack([ids == number for number in range(1, len(scores) + 1)])
    return rows_of(Masks(masks, scores, name=facts["name"], info=facts["info"], class_names=names), file)
