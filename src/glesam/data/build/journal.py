"""What a build has done so far, one line a picture, so that a stopped build goes on where it was."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO

from glesam.data.build.manifest import Head, SampleRecord, head_from_json, record_from_json, record_to_json
from glesam.errors import DataError
from glesam.common.files import write_text

FILE_NAME = ".build.jsonl"


class Journal:
    """The journal of a set in the making: the head first, then a line for each finished picture.

    Use as a context manager; `add` appends. It stays on disk until `remove`.

    Args:
        folder: the set's folder.
        head: how the set is made.
        records: what is done already.

    Raises:
        OSError: the journal cannot be written.
    """

    def __init__(self, folder: Path, head: Head, records: dict[str, SampleRecord]) -> None:
        self._path = folder / FILE_NAME
        lines = [json.dumps(asdict(head)), *(_line(record) for record in records.values())]
        write_text(self._path, "\n".join(lines) + "\n")
        self._stream: IO[str] = self._path.open("a", encoding="utf-8")

    def __enter__(self) -> Journal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.close()

    def add(self, record: SampleRecord) -> None:
        """Append one finished picture, at once, so that a killed build loses none."""
        self._stream.write(_line(record) + "\n")
        self._stream.flush()

    def remove(self) -> None:
        """Delete the journal: the manifest holds all now."""
        self._path.unlink(missing_ok=True)


def read_journal(folder: Path) -> tuple[Head, dict[str, SampleRecord]] | None:
    """Head and finished pictures of a stopped build; None when there is no journal.

    A last line that was cut when the build was killed is left out.

    Raises:
        DataError: the journal is of another version, or broken before its end.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    # What follows the last line break is empty, or the line that was being written.
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")[:-1]
    try:
        head, *entries = [json.loads(line) for line in lines]
        records = {entry["name"]: record_from_json(entry["name"], entry) for entry in entries}
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"expected the journal of a build in {path}, got a broken file; delete it and build again"
        ) from error
    return head_from_json(head, path), records


def _line(record: SampleRecord) -> str:
    """One picture as one line."""
    return json.dumps({"name": record.name} | record_to_json(record), ensure_ascii=False)
