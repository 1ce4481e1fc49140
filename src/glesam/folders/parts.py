"""What is known of finished images while a folder is under way, so that `results.csv` is complete after any stop.

Each process appends to a part file of its own, `<out>/.results/<run>-<rank>-<process>.jsonl`: one JSON line an image,
written when its former outputs are gone and its new ones are not yet there, so that finished outputs always have their
line. Runs are numbered, so that the newest line counts whatever a clock says. The parts are merged into `results.csv`
at the end and then removed.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from glesam.common import jsonl
from glesam.errors import DataError
from glesam.folders.table import RESULTS, ObjectRow, from_values, read_csv, write_csv

PARTS = ".results"
"""Folder of the part files; hidden, so that no listing of images goes into it."""


@dataclass(frozen=True)
class ResultsJournal:
    """The part files of one folder of results.

    Attributes:
        folder: folder of the results.
        rank: number of this job among those that share the folder.
        run: number of this run, above that of every part that is there when it begins.
    """

    folder: Path
    rank: int = 0
    run: int = field(init=False)

    def __post_init__(self) -> None:
        runs = [_run_of(path) for path in self._parts()]
        object.__setattr__(self, "run", 1 + max(runs, default=0))

    def _parts(self) -> list[Path]:
        return sorted((self.folder / PARTS).glob("*.jsonl"), key=lambda path: (_run_of(path), path.name))

    def add(self, file: str, rows: Sequence[ObjectRow]) -> None:
        """Note one image; no object at all is a finding too.

        Raises:
            OSError: the part file cannot be written.
        """
        parts = self.folder / PARTS
        parts.mkdir(parents=True, exist_ok=True)
        line = jsonl.line({"file": file, "rows": [asdict(row) for row in rows]})
        with (parts / f"{self.run}-{self.rank}-{os.getpid()}.jsonl").open("ab") as stream:
            # The leading line end separates the record from one that a kill cut short.
            stream.write(b"\n" + line)

    def read(self) -> dict[str, list[ObjectRow]]:
        """All that is noted, of all processes and ranks, by image; a line cut short by a kill counts as absent."""
        found: dict[str, list[ObjectRow]] = {}
        for part in self._parts():
            for values in jsonl.records(part, skip_broken=True):
                record = _record(values)
                if record is not None:
                    found[record[0]] = record[1]
        return found

    def merge(self, files: Iterable[str], recover: Callable[[str], Sequence[ObjectRow]]) -> list[ObjectRow]:
        """Write `results.csv` and remove the parts.

        Args:
            files: images of this job whose outputs are there, in the order of the table.
            recover: gives the rows of an image that neither a part nor the former table knows.

        Returns:
            The table: images of this job, then what the former table held of others.

        Raises:
            DataError: there is a `results.csv` that is none.
            OSError: the table cannot be written.
        """
        table = self.folder / RESULTS
        former: dict[str, list[ObjectRow]] = {}
        for row in read_csv(table) if table.exists() else []:
            former.setdefault(row.file, []).append(row)
        merged = {**former, **self.read()}
        order = dict.fromkeys([*files, *former])
        rows = [row for file in order for row in (merged[file] if file in merged else recover(file))]
        write_csv(table, rows)
        shutil.rmtree(self.folder / PARTS, ignore_errors=True)
        return rows


def _run_of(part: Path) -> int:
    """Number of the run that wrote a part; 0 for names that do not say."""
    number, *others = part.stem.split("-")
    return int(number) if len(others) == 2 and number.isdecimal() else 0


def _record(values: Any) -> tuple[str, list[ObjectRow]] | None:
    """Image and rows of one record, or None for one that is something else."""
    try:
        return str(values["file"]), [from_values(row) for row in values["rows"]]
    except (DataError, KeyError, TypeError):
        return None
