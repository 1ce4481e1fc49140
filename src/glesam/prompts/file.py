"""The prompts file: JSON that lists the objects to segment, image by image.

    {
      "cat.jpg": [
        {"points": [[320, 240], [10, 10]], "labels": [1, 0]},
        {"box": [10, 20, 300, 400]},
        {"box": [50, 60, 90, 99], "points": [[70, 80]]}
      ],
      "sub/dog.png": [{"points": [[5, 5]]}]
    }

Keys are names as `glesam.images.iterate` gives them: the file name, or the path relative to the folder named. Each
value is a list of objects, each with `points` (`[x, y]` in pixels), `labels` (1 foreground, 0 background; all 1 if left
out), a `box` (`[x0, y0, x1, y1]`), or points and a box together. Unknown keys are refused, so that typos are noticed.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from glesam.common.documents import brief_value, read_json
from glesam.common.files import write_text
from glesam.common.messages import hint, shown
from glesam.errors import PromptError
from glesam.prompts.prompts import Prompts

Number = Annotated[float, Field(allow_inf_nan=False)]


class ObjectPrompt(BaseModel):
    """One object of one image."""

    model_config = ConfigDict(extra="forbid", strict=True)

    points: Annotated[list[Annotated[list[Number], Field(min_length=2, max_length=2)]], Field(min_length=1)] | None = (
        None
    )
    labels: list[Annotated[int, Field(ge=0, le=1)]] | None = None
    box: Annotated[list[Number], Field(min_length=4, max_length=4)] | None = None


Prompted = TypeVar("Prompted", bound=ObjectPrompt)


def read_prompts_file(path: str | os.PathLike[str]) -> dict[str, Prompts]:
    """Read prompts of several images from JSON; the format is described at the top of this file.

    Returns:
        Prompts by the image's name, in the file's order.

    Raises:
        PromptError: unreadable, no JSON, an unknown key or a bad value; names file, image, object and key.
    """
    images = read_objects(path, ObjectPrompt, "prompts", "a prompts file")
    if not images:
        raise PromptError(f"expected prompts for at least one image, got none in {path}; add one")
    return {name: joined(objects, f"{path}: {name}") for name, objects in images.items()}


def read_objects(path: str | os.PathLike[str], kind: type[Prompted], what: str, file: str) -> dict[str, list[Prompted]]:
    """Read a JSON object of lists of objects.

    Args:
        path: the file.
        kind: what each object in the lists is.
        what: they are, together, for messages.
        file: what the file is, for messages.

    Raises:
        PromptError: as `read_prompts_file`.
    """
    content = read_json(path, PromptError, unique=True, what=file)
    try:
        return TypeAdapter(dict[str, Annotated[list[kind], Field(min_length=1)]]).validate_python(content)  # type: ignore[valid-type]
    except ValidationError as error:
        raise PromptError(f"{shown(path)}: {_first_fault(error, kind)}") from None
    except RecursionError:
        raise PromptError(f"expected {what} in {shown(path)}, got values nested too deeply; see the format") from None


def write_prompts_file(path: str | os.PathLike[str], prompts: Mapping[str, Prompts]) -> None:
    """Write prompts of several images as JSON; `read_prompts_file` returns equal prompts.

    Raises:
        PromptError: prompts with a mask input, which the format does not hold, or the file cannot be written.
    """
    lines = [f"  {json.dumps(name)}: [{_objects_text(each)}\n  ]" for name, each in prompts.items()]
    try:
        write_text(Path(path), "{\n" + ",\n".join(lines) + "\n}\n")
    except OSError as error:
        raise PromptError(f"expected to write prompts, cannot write {path} ({error.strerror}); check rights") from error


def joined(objects: Sequence[ObjectPrompt], where: str) -> Prompts:
    """All objects of one image as one `Prompts`."""
    for index, each in enumerate(objects):
        _check(each, f"{where}, object {index}")
    points = [each.points for each in objects]
    labels = [each.labels for each in objects]
    boxes = [each.box for each in objects]
    if not any(points):
        return Prompts(boxes=boxes)
    return Prompts(points, labels, boxes if any(boxes) else None)


def _check(entry: ObjectPrompt, where: str) -> None:
    """Validate one object by itself, so that an error names it."""
    points, labels = [None if each is None else [each] for each in (entry.points, entry.labels)]
    try:
        Prompts(points, labels, entry.box)
    except PromptError as error:
        raise PromptError(f"{where}: {error}") from None


def _objects_text(prompts: Prompts) -> str:
    """Objects of one image as JSON, one a line."""
    if prompts.mask_input is not None:
        raise PromptError("expected points and boxes for a prompts file, got a mask input; leave the mask input out")
    return ",".join(f"\n    {json.dumps(_object(prompts, i))}" for i in range(len(prompts)))


def _object(prompts: Prompts, index: int) -> dict[str, Any]:
    """One object as JSON values."""
    entry: dict[str, Any] = {}
    count = int(prompts.point_counts[index])
    if count and prompts.points is not None and prompts.labels is not None:
        entry["points"] = [[_number(v) for v in row] for row in prompts.points[index, :count]]
        entry["labels"] = prompts.labels[index, :count].tolist()
    if prompts.boxes is not None and prompts.has_box[index]:
        entry["box"] = [_number(v) for v in prompts.boxes[index]]
    return entry


def _number(value: np.float32) -> int | float:
    """The shortest number that is this float32."""
    return int(value) if value == int(value) else float(str(value))


def _first_fault(error: ValidationError, kind: type[ObjectPrompt]) -> str:
    """The first error in one line: image, object, key, and what is wrong."""
    fault = error.errors()[0]
    where = [str(part) for part in fault["loc"]]
    place = ", ".join(
        f"{kind}{part}" for kind, part in zip(("", "object ", "key ", "item ", "item "), where, strict=False)
    )
    if fault["type"] == "extra_forbidden":
        return f"{place}: unknown key; {hint(where[-1], kind.model_fields)}"
    got = brief_value(fault["input"])
    return f"{place or 'whole file'}: {fault['msg']}, got {got}; see the format in the documentation"
