"""What a build has done so far, one line an image, so that a stopped build can be resumed."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from types import TracebackType
from typing import IO

from glesam.common import jsonl
from glesam.common.documents import expect_object
from glesam.common.files import write_bytes
from glesam.common.messages import one_line, shown
from glesam.data.build.manifest import Head, SampleRecord, head_from_json, record_from_json, record_to_json
from glesam.errors import DataError

FILE_NAME = ".build.jsonl"


class BuildJournal:
    """The journal of a set in the making: the head first, then a line for each finished image.

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
        write_bytes(self._path, b"".join([jsonl.line(asdict(head)), *map(_line, records.values())]))
        self._stream: IO[bytes] = self._path.open("ab")

    def __enter__(self) -> BuildJournal:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stream.close()

    def add(self, record: SampleRecord) -> None:
        """Append one finished image, at once, so that a killed build loses none."""
        self._stream.write(_line(record))
        self._stream.flush()

    def remove(self) -> None:
        """Delete the journal: the manifest holds all now."""
        self._path.unlink(missing_ok=True)


def read_journal(folder: Path) -> tuple[Head, dict[str, SampleRecord]] | None:
    """Head and finished images of a stopped build; None when there is no journal.

    A last line that was cut when the build was killed is left out.

    Raises:
        DataError: the journal is of another version, or broken before its end.
    """
    path = folder / FILE_NAME
    if not path.is_file():
        return None
    try:
        head, *entries = jsonl.records(path)
        records = {entry["name"]: record_from_json(entry["name"], entry, path) for entry in entries}
        return head_from_json(expect_object(head, str(path)), path), records
    except (DataError, ValueError, KeyError, TypeError) as error:
        raise DataError(
            f"expected the journal of a build in {shown(path)}, it is broken ({one_line(error)}); delete it and build "
            "again"
        ) from error


def _line(record: SampleRecord) -> bytes:
    return jsonl.line({"name": record.name} | record_to_json(record))
