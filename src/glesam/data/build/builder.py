"""Builds an LQSeg set: clear images, their degraded copies at levels 1 to 3, masks, and a manifest of all.

The set is a function of source, options, seed and library versions: neither the order of files, nor the number of
workers, nor a stop half-way changes a byte. Recipe and levels: Guo et al., CVPR 2025 (GleSAM), section on LQSeg.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np

import glesam
from glesam.common.files import sweep
from glesam.common.locks import sole
from glesam.common.pool import cores, outcomes, writing
from glesam.data.base import SegmentationDataset, fingerprint
from glesam.data.build.journal import BuildJournal, read_journal
from glesam.data.build.manifest import FILE_NAME as MANIFEST
from glesam.data.build.manifest import Head, Manifest, SampleRecord, differences
from glesam.data.build.options import BuildConfig
from glesam.data.build.sample import SampleBuilder, SampleOutcome, is_intact, is_there
from glesam.data.build.verify import KINDS
from glesam.errors import DataError


@dataclass
class BuildReport:
    """What a build did.

    Attributes:
        manifest: path of the manifest.
        built: number of images made now.
        kept: number of images that were there already, whole.
        without_object: names of images left out since no object is in their mask.
        failed: name to reason of images that could not be read or degraded.
    """

    manifest: Path
    built: int = 0
    kept: int = 0
    without_object: list[str] = field(default_factory=list)
    failed: dict[str, str] = field(default_factory=dict)


def build(
    source: SegmentationDataset,
    out: str | Path,
    config: BuildConfig | None = None,
    workers: int | None = None,
    advance: Callable[[SampleOutcome], None] | None = None,
) -> BuildReport:
    """Build an LQSeg set of `source` in the folder `out`, or resume one that was stopped.

    Writes `clear/`, `lq1/` ..., `masks/` and `manifest.json`; failed images are in the report, and an earlier build's
    files of images left out now are deleted. More than one worker needs a call under `if __name__ == "__main__":`.

    Args:
        source: data set to take images and masks from.
        out: folder of the set; empty, new, or holding a set of the same options.
        config: options; the defaults when not given.
        workers: number of processes; all cores when not given.
        advance: called after each image, with its outcome.

    Raises:
        DataError: `out` holds something else or a set of other options, or cannot be written, or the disk is full.
        ConfigError: an option is impossible, or another build works in `out`.
    """
    config, out = config or BuildConfig(), Path(out)
    head, names = make_head(source, config), source.names[: config.limit]
    with writing(out), sole(out):
        earlier = _resume(out, head, names)
        kept = _unchanged(source, {n: record for n, record in earlier.items() if is_intact(out, record)})
        report, records = BuildReport(out / MANIFEST, kept=len(kept)), dict(kept)
        with BuildJournal(out, head, kept) as journal:
            wanted = [index for index, name in enumerate(names) if name not in kept]
            for outcome in outcomes(SampleBuilder(source, out, config), wanted, workers or cores()):
                _account(outcome, report, records, journal)
                if advance is not None:
                    advance(outcome)
        _leave_out_removed(out, records, report)
        _delete_outdated(out, earlier, records)  # before the manifest is written, which knows of them no more
        Manifest(head, records, report.without_object, list(report.failed)).save(out)
        journal.remove()
    return report


def make_head(source: SegmentationDataset, config: BuildConfig) -> Head:
    """All that decides the set's pixels, in the form that json gives back."""
    return Head(
        config=json.loads(json.dumps(config.acting())),
        source={"name": source.name, "reader": type(source).__name__},
        versions={"glesam": glesam.__version__, "numpy": np.__version__, "opencv": cv2.__version__},
    )


def _account(
    outcome: SampleOutcome, report: BuildReport, records: dict[str, SampleRecord], journal: BuildJournal
) -> None:
    if outcome.record is not None:
        records[outcome.name] = outcome.record
        journal.add(outcome.record)
        report.built += 1
    elif outcome.error is not None:
        report.failed[outcome.name] = outcome.error
    else:
        report.without_object.append(outcome.name)


def _leave_out_removed(out: Path, records: dict[str, SampleRecord], report: BuildReport) -> None:
    """Call images failed whose files somebody removed during the build."""
    for name in [name for name, record in records.items() if not is_there(out, record)]:
        report.failed[name] = f"expected its files in {out}, they were removed; run it again"
        del records[name]


def _delete_outdated(out: Path, earlier: dict[str, SampleRecord], records: dict[str, SampleRecord]) -> None:
    """Delete the files of images that were in the set and are not now: who reads the folders would take them for it."""
    for name in earlier.keys() - records.keys():
        for kind in earlier[name].files.keys() & set(KINDS):
            # By its last part alone: a manifest is a file of the user's, and must not name what lies elsewhere.
            (out / kind / Path(earlier[name].files[kind].path).name).unlink(missing_ok=True)


def _resume(out: Path, head: Head, names: list[str]) -> dict[str, SampleRecord]:
    """What an earlier build left in `out`, whole or not; leftovers of writes that were cut are removed.

    Raises:
        DataError: `out` holds something else, a set of other options, or images that are not asked for.
    """
    earlier = _earlier(out)
    if not earlier:
        if found := sorted(entry.name for entry in out.iterdir() if not entry.name.startswith(".")):
            raise DataError(
                f"expected {out} to be empty or to hold a built set, found {found[0]} and no {MANIFEST}; "
                f"choose another folder"
            )
        return {}
    records: dict[str, SampleRecord] = {}
    for old, done in earlier:
        if changes := differences(old, head):
            raise DataError(
                f"expected {out} to hold a set of the same options, but {'; '.join(changes)}; build into another "
                f"folder, or delete this one"
            )
        records |= done
    if surplus := sorted(set(records) - set(names)):
        raise DataError(
            f"expected {out} to hold images of the source only, found {len(surplus)} others, first {surplus[0]} "
            f"(smaller limit, or taken from the source?); build into another folder, or delete this one"
        )
    _remove_leftovers(out)
    return records


def _unchanged(source: SegmentationDataset, records: dict[str, SampleRecord]) -> dict[str, SampleRecord]:
    """Records whose image and mask are still those that they were made of."""
    places = {name: index for index, name in enumerate(source.names)}
    return {n: record for n, record in records.items() if record.source == fingerprint(source, [places[n]])}


def _earlier(out: Path) -> list[tuple[Head, dict[str, SampleRecord]]]:
    """Heads and records of the manifest and the journal in a folder, as far as there are any."""
    found = []
    if (out / MANIFEST).is_file():
        manifest = Manifest.load(out)
        found.append((manifest.head, manifest.samples))
    if (journal := read_journal(out)) is not None:
        found.append(journal)
    return found


def _remove_leftovers(out: Path) -> None:
    """Delete the temporary files of writes that a kill cut off."""
    for kind in KINDS:
        sweep(out / kind)
