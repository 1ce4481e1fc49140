"""One row per measured object, and the files that keep finished parts so that a run can be stopped and taken up again.

A part is all rows of one model on one data set at one level: a CSV file with a stamp beside it, a JSON file that holds
all that acts on the numbers. The stamp is written last, so that a part without one counts as not done.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from glesam.common.documents import read_json, to_json
from glesam.common.files import read_text, write_text
from glesam.common.messages import one_line, slug
from glesam.errors import ConfigError, DataError


@dataclass(frozen=True)
class Row:
    """What one model made of one object.

    Attributes:
        model: model as asked for, such as `compact@enhance=off`.
        set: name of the data set.
        level: level of quality.
        prompt: kind of prompt.
        image: name of the image within the set.
        object_id: id of the object within the image.
        area_share: object's share of the image's area, 0 to 1.
        area: the object's pixels.
        iou: intersection over union.
        dice: Dice coefficient.
        pixel_accuracy: share of pixels that agree.
        boundary_iou: IoU of the inner boundary bands.
        score: the model's own prediction of the IoU.
        sharpness: variance of the Laplacian of the image that the model got, grey values of 0 to 255.
        encode_seconds: time of `set_image`, the same for all rows of an image.
        decode_seconds: time of `predict`, divided by the objects that were asked for together.
        psnr: PSNR in dB of the image that the model got against the clear one; infinite where they are equal, None
            where there is none to compare with.
    """

    model: str
    set: str
    level: str
    prompt: str
    image: str
    object_id: int
    area_share: float
    area: int
    iou: float
    dice: float
    pixel_accuracy: float
    boundary_iou: float
    score: float
    sharpness: float
    encode_seconds: float
    decode_seconds: float
    psnr: float | None = None


FILES_KEY = "files"
"""Key of a stamp: digest of the files that were measured."""
METRICS = ("iou", "dice", "pixel_accuracy", "boundary_iou")
COLUMNS = tuple(field.name for field in fields(Row))
_TEXT = frozenset({"model", "set", "level", "prompt", "image"})


def to_csv(rows: Iterable[Row]) -> str:
    """Rows as CSV text with a header; floats keep all digits, so that a row read back equals the one written."""
    stream = io.StringIO()
    writer = csv.DictWriter(stream, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(asdict(row) for row in rows)
    return stream.getvalue()


def from_csv(path: Path) -> list[Row]:
    """Read rows back.

    Raises:
        DataError: the file has other columns, or a field that is no number.
    """
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""))
    try:
        if tuple(reader.fieldnames or ()) not in (COLUMNS, COLUMNS[:-1]):  # files of 0.1 have no PSNR
            raise ValueError("other columns")
        return [_row(record) for record in reader]
    except (TypeError, ValueError, csv.Error) as error:
        raise DataError(
            f"expected rows of results in {path}, got a file with {one_line(error)}; delete it and run again"
        ) from error


def _row(record: dict[str, Any]) -> Row:
    psnr = record.pop("psnr", "")
    values: dict[str, Any] = {name: text if name in _TEXT else float(text) for name, text in record.items()}
    return Row(
        **{
            **values,
            "object_id": int(record["object_id"]),
            "area": int(record["area"]),
            "psnr": float(psnr) if psnr else None,
        }
    )


class PartStore:
    """The finished parts of a run, in `<out>/parts/<model>/<set>/<level>.{csv,json}`.

    Args:
        out: output folder of the run.
        overwrite: measure parts of another configuration again instead of refusing them.
    """

    def __init__(self, out: Path, overwrite: bool = False) -> None:
        self.folder = out / "parts"
        self.overwrite = overwrite

    def is_done(self, model: str, set_name: str, level: str, stamp: dict[str, Any]) -> bool:
        """Whether a part is there, made with the same configuration.

        Raises:
            ConfigError: it was made with another configuration, and `overwrite` is off.
            DataError: its stamp cannot be read.
        """
        path = self._path(model, set_name, level, "json")
        if not path.is_file() or not path.with_suffix(".csv").is_file():
            return False
        found = _read_stamp(path)["stamp"]
        wanted = json.loads(json.dumps(stamp))
        if found == wanted:
            return True
        # Corrected files, and nothing else: those rows are out of date, which is no reason to refuse the folder.
        if self.overwrite or all(found.get(key) == wanted.get(key) for key in {*found, *wanted} - {FILES_KEY}):
            return False
        key = next(k for k in [*wanted, *found] if found.get(k) != wanted.get(k))
        raise ConfigError(
            f"expected {path} made with {key}={_short(wanted.get(key))}, found {key}={_short(found.get(key))}; "
            "give another --out, or --overwrite to measure again"
        )

    def write(
        self, model: str, set_name: str, level: str, stamp: dict[str, Any], rows: list[Row], failed: dict[str, str]
    ) -> None:
        """Keep a finished part: its rows, and the images that failed with the reason of each."""
        path = self._path(model, set_name, level, "json")
        path.unlink(missing_ok=True)  # an old stamp must never stand beside new rows
        write_text(path.with_suffix(".csv"), to_csv(rows))
        write_text(path, to_json({"stamp": stamp, "failed": failed}, indent=1) + "\n")

    def read(self, model: str, set_name: str, level: str) -> tuple[list[Row], dict[str, str]]:
        """Rows and failures of a finished part.

        Raises:
            DataError: a file of it cannot be read.
        """
        path = self._path(model, set_name, level, "json")
        return from_csv(path.with_suffix(".csv")), _read_stamp(path)["failed"]

    def _path(self, model: str, set_name: str, level: str, suffix: str) -> Path:
        """File of a part."""
        return self.folder / slug(model) / slug(set_name) / f"{slug(level)}.{suffix}"


def _read_stamp(path: Path) -> dict[str, Any]:
    """Read a part's JSON file.

    Raises:
        DataError: it is not one.
    """
    try:
        content = read_json(path, what="the stamp of a part")
    except DataError as error:
        raise DataError(f"{str(error).removesuffix('; correct it there')}; delete it and run again") from error
    if isinstance(content, dict) and all(isinstance(content.get(key), dict) for key in ("stamp", "failed")):
        return content
    raise DataError(f"expected the stamp of a part in {path}, got another content; delete it and run again")


def _short(value: object) -> str:
    """A value for a message, cut where it is long."""
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else text[:57] + "..."
