"""What became of the images of one call: counts, and the report."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import typer

from glesam.cli.common import FAILED, describe, status_of, warn
from glesam.cli.segment.outputs import STDOUT
from glesam.errors import DataError, GlesamError


@dataclass
class Tally:
    """What became of the images."""

    done: int = 0
    skipped: int = 0
    errors: list[GlesamError] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)

    def fail(self, name: str, error: GlesamError) -> None:
        """Count and name an image that failed."""
        text = describe(error)
        warn(f"glesam: error: {text if name in text else f'{name}: {text}'}")
        self.errors.append(error)
        self.failed[name] = text

    def take(self, failed: Mapping[str, str]) -> None:
        """Count images that failed in other jobs, name to reason; these have named them."""
        for name, reason in failed.items():
            if name not in self.failed:  # inputs that do not exist fail in every job
                self.errors.append(DataError(reason))
                self.failed[name] = reason

    def report(self, output: str | None, passed_on: bool = False) -> None:
        """Sum up more than one image on stderr, and leave with the status that fits.

        Args:
            output: where the results went.
            passed_on: another job takes what failed here, and has the status for it.

        Raises:
            typer.Exit: an image failed: 1; or 2 if all did and the command was wrong for each.
        """
        if self.done + self.skipped + len(self.errors) > 1:
            where = "" if output in (None, STDOUT) else f" in {output}"
            counts = f"{self.done} segmented, {self.skipped} skipped, {len(self.errors)} failed"
            warn(f"glesam: {counts}{where}")
        if self.errors and not passed_on:
            worked = self.done + self.skipped > 0
            raise typer.Exit(FAILED if worked else min(map(status_of, self.errors)))
