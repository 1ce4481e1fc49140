"""JSON lines: files that grow by one record at a time and survive a kill in the middle of one."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from glesam.common.messages import one_line


def line(record: Any) -> bytes:
    """A record as one line of UTF-8 with its line end, without spaces.

    Raises:
        ValueError: it holds a number that JSON has not, such as NaN.
    """
    return json.dumps(record, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def records(path: str | Path, skip_broken: bool = False) -> Iterator[Any]:
    """Read records one by one; one is in memory at a time. Empty lines do not count.

    Args:
        path: the file.
        skip_broken: pass over lines that are no JSON. A last line without its end, which a kill cut short, is always
            left out.

    Raises:
        OSError: it cannot be read.
        ValueError: a line is no JSON; the message gives its number.
    """
    with Path(path).open("rb") as stream:
        for number, text in enumerate(stream, start=1):
            if not text.endswith(b"\n") or not text.strip():
                continue
            try:
                yield json.loads(text)
            except (ValueError, RecursionError) as error:
                if not skip_broken:
                    raise ValueError(f"line {number}: {one_line(error)}") from error
