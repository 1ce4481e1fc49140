"""`results.csv`: one row per object of a folder of images."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glesam.common.documents import checked
from glesam.common.files import read_text, write_text
from glesam.common.messages import one_line
from glesam.errors import DataError

if TYPE_CHECKING:
    from glesam.masks.masks import Masks

RESULTS = "results.csv"


@dataclass(frozen=True)
class ObjectRow:
    """One object of one image.

    Attributes:
        file: what the image is called in its folder.
        object: number of the object, from 1; its value in the mask PNG.
        score: predicted IoU.
        bbox_x: left edge of the mask in pixels; `bbox_y` its upper edge.
        bbox_y: see `bbox_x`.
        bbox_width: width of the mask in pixels; 0 for an empty mask.
        bbox_height: height of the mask in pixels.
        area: pixels of the mask.
        seconds: time for the whole image, reading to mask; None when it is not known any more.
        enhanced: whether the image was enhanced; None when it is not known any more.
        class_name: name of the object's class; empty where nobody named it.
    """

    file: str
    object: int
    score: float
    bbox_x: int
    bbox_y: int
    bbox_width: int
    bbox_height: int
    area: int
    seconds: float | None = None
    enhanced: bool | None = None
    class_name: str = ""


COLUMNS = tuple(field.name for field in fields(ObjectRow))
_NAMELESS = COLUMNS[:-1]
"""Of tables in which no object has a class name."""


def rows_of(masks: Masks, file: str, seconds: float | None = None) -> list[ObjectRow]:
    """The rows of one image's masks.

    Args:
        masks: N masks; `info["enhanced"]` is taken over where it is there.
        file: what the image is called.
        seconds: time that the image took.
    """
    enhanced = masks.info.get("enhanced")
    told = None if seconds is None else round(seconds, 4)
    names = masks.class_names or ("",) * len(masks)
    shapes = zip(masks.boxes.astype(int).tolist(), masks.areas.tolist(), masks.scores.tolist(), names, strict=True)
    return [
        ObjectRow(file, number, round(score, 6), x0, y0, x1 - x0, y1 - y0, area, told, enhanced, name)
        for number, ((x0, y0, x1, y1), area, score, name) in enumerate(shapes, start=1)
    ]


def to_csv(rows: Iterable[ObjectRow]) -> str:
    """Rows as CSV text (RFC 4180, lines end in LF): header, then one line a row; unknown values are empty.

    The last column, `class_name`, is there only if an object has one.
    """
    listed, stream = list(rows), io.StringIO()
    columns = COLUMNS if any(row.class_name for row in listed) else _NAMELESS
    writer = csv.DictWriter(stream, columns, lineterminator="\n", extrasaction="ignore")
    writer.writeheader()
    writer.writerows(_texts(row) for row in listed)
    return stream.getvalue()


def write_csv(path: str | Path, rows: Iterable[ObjectRow]) -> None:
    """Write rows to a file in one step.

    Raises:
        OSError: the file cannot be written.
    """
    write_text(path, to_csv(rows))


def read_csv(path: str | Path) -> list[ObjectRow]:
    """Read what `write_csv` wrote.

    Raises:
        DataError: the file is no such table; names the line.
        OSError: the file cannot be read.
    """
    return read_csv_text(read_text(path), str(path))


def read_csv_text(text: str, name: str) -> list[ObjectRow]:
    """Read rows from text that messages call `name`.

    Raises:
        DataError: the text is no such table; names the line.
    """
    reader = csv.DictReader(io.StringIO(text, newline=""))
    if tuple(reader.fieldnames or ()) not in (COLUMNS, _NAMELESS):
        raise DataError(f"expected the columns {', '.join(COLUMNS)} in {name}, got others; move that file away")
    return [_row(values, f"{name}, line {number}") for number, values in enumerate(reader, start=2)]


def from_values(values: dict[str, Any]) -> ObjectRow:
    """A row from plain values, as `dataclasses.asdict` gives them.

    Raises:
        DataError: keys are missing or unknown, or a value does not fit.
    """
    return checked(ObjectRow, values, "a row of results", DataError)


def _texts(row: ObjectRow) -> dict[str, Any]:
    """Values as they stand in the file."""
    values = {key: "" if value is None else value for key, value in asdict(row).items()}
    return values | {"enhanced": str(values["enhanced"]).lower()}


def _row(values: dict[str, Any], where: str) -> ObjectRow:
    """A row from the texts of one line."""
    try:
        numbers = {key: int(values[key]) for key in COLUMNS[3:8]}
        return ObjectRow(
            values["file"],
            int(values["object"]),
            float(values["score"]),
            **numbers,
            seconds=float(values["seconds"]) if values["seconds"] else None,
            enhanced={"true": True, "false": False, "": None}[values["enhanced"]],
            class_name=values.get("class_name") or "",
        )
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"expected a row of results in {where}, got {one_line(error)}; mend it or move the file away"
        ) from error
