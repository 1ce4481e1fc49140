"""Finds what is wrong with a data set before a training does: sizes, empty masks, unreadable files, lost partners."""

from __future__ import annotations

import re
import warnings
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, NamedTuple, TypeVar

import numpy as np
import numpy.typing as npt

from glesam.common.arrays import value_counts
from glesam.data.base import DataWarning, SegmentationDataset
from glesam.data.check.files import FolderFiles, mask_style, scan_folder
from glesam.data.files import ids_of, read_image, read_mask_file
from glesam.errors import DataError

T = TypeVar("T")

Severity = Literal["problem", "note"]


class FaultKind(NamedTuple):
    """One kind of finding: whether it is wrong or only worth knowing, and the cure in a few words."""

    severity: Severity
    meaning: str


KINDS: dict[str, FaultKind] = {
    "all masks empty": FaultKind("problem", "no object in any mask: were they written as black, or with wrong values?"),
    "unreadable image": FaultKind("problem", "replace or remove it"),
    "unreadable mask": FaultKind("problem", "replace it"),
    "size mismatch": FaultKind("problem", "image and mask must have the same size"),
    "image without mask": FaultKind("problem", "add the mask or remove the image"),
    "mask without image": FaultKind("problem", "add the image or remove the mask"),
    "mask not PNG": FaultKind("problem", "lossy formats change ids: save masks as PNG"),
    "same name twice": FaultKind("problem", "one file for each name: rename or remove one"),
    "near-duplicate names": FaultKind("problem", "copies? names that differ in case clash on some systems"),
    "empty mask": FaultKind("problem", "no object: draw it or remove the image"),
    "soft-edged mask": FaultKind("problem", "grey borders would be read as objects: threshold it to 0/255"),
    "unreadable sample": FaultKind("problem", "see the message"),
    "void border": FaultKind("note", "255 is taken for VOC's void border and left out; --keep-void makes it an object"),
    "annotation left out": FaultKind("note", "see the message"),
    "tiny object": FaultKind("note", "smaller than one cell of SAM's 64x64 embedding: hardly learnable"),
    "0/1 mask": FaultKind("note", "handled: 1 is the object"),
    "0/255 mask": FaultKind("note", "handled: 255 is the object"),
}

# SAM's image embedding has 64x64 cells (Kirillov et al., ICCV 2023): below one cell an object leaves hardly a trace.
TINY_SHARE = 1 / 64**2


@dataclass(frozen=True)
class Finding:
    """One thing found: its kind (a key of `KINDS`), the sample or file, and details."""

    kind: str
    name: str
    detail: str = ""

    @property
    def severity(self) -> Severity:
        """Whether this is wrong or only worth knowing."""
        return KINDS[self.kind].severity


@dataclass
class CheckReport:
    """All findings of a set, and its sample, object and pixel counts."""

    samples: int = 0
    objects: int = 0
    findings: list[Finding] = field(default_factory=list)

    @property
    def problems(self) -> list[Finding]:
        """The findings that are wrong."""
        return [finding for finding in self.findings if finding.severity == "problem"]

    def by_kind(self) -> dict[str, list[Finding]]:
        """Findings by kind, in the order of `KINDS`."""
        groups: dict[str, list[Finding]] = {kind: [] for kind in KINDS}
        for finding in self.findings:
            groups[finding.kind].append(finding)
        return {kind: found for kind, found in groups.items() if found}


def check_folder(root: str | Path, advance: Callable[[], None] | None = None, keep_void: bool = False) -> CheckReport:
    """Check a plain set, `images/` + `masks/`, file by file; never stops at the first thing found.

    Raises:
        DataError: one of the two folders is missing, or there is nothing in them.
    """
    files = scan_folder(Path(root))
    report = CheckReport(samples=len(files.images))
    report.findings += _partners(files)
    for name in sorted(set(files.images) & set(files.masks)):
        _check_pair(report, name, files.images[name], files.masks[name], keep_void)
        if advance is not None:
            advance()
    _conclude(report)
    return report


def check_dataset(dataset: SegmentationDataset, advance: Callable[[], None] | None = None) -> CheckReport:
    """Check a set of any other layout sample by sample, as its reader gives it."""
    report = CheckReport(samples=len(dataset))
    report.findings += _near_duplicates(dataset.names)
    for index, name in enumerate(dataset.names):
        with warnings.catch_warnings(record=True) as said:
            warnings.simplefilter("always")
            try:
                _check_objects(report, name, dataset[index].mask)
            except DataError as error:
                report.findings.append(Finding("unreadable sample", name, str(error)))
        left_out = [note.message for note in said if issubclass(note.category, DataWarning)]
        report.findings += [Finding("annotation left out", name, str(note)) for note in left_out]
        if advance is not None:
            advance()
    _conclude(report)
    return report


def _partners(files: FolderFiles) -> Iterator[Finding]:
    """What the names alone show."""
    images, masks = set(files.images), set(files.masks)
    folded = {name.casefold(): name for name in masks - images}
    for name in sorted(images - masks):
        near = folded.get(name.casefold())
        yield Finding("image without mask", files.images[name].name, f"is it {files.masks[near].name}?" if near else "")
    for name in sorted(masks - images):
        yield Finding("mask without image", files.masks[name].name)
    for path in files.not_png:
        yield Finding("mask not PNG", path.name)
    for kept, other in files.doubles:
        yield Finding("same name twice", kept.name, f"and {other.name}")
    yield from _near_duplicates(sorted(images))


def _near_duplicates(names: list[str]) -> Iterator[Finding]:
    """Names that are equal but for case, separators, or a mark of a copy such as ` (1)`."""
    groups: dict[str, list[str]] = defaultdict(list)
    for name in names:
        bare = re.sub(r"[\s_-]*(\(\d+\)|copy)$", "", name.casefold())
        groups[re.sub(r"[\s_-]+", "_", bare)].append(name)
    for group in groups.values():
        if len(group) > 1:
            yield Finding("near-duplicate names", group[0], "and " + ", ".join(group[1:]))


def _check_pair(report: CheckReport, name: str, image_path: Path, mask_path: Path, keep_void: bool) -> None:
    size = _try(report, "unreadable image", image_path, _size)  # image and mask may be large: one is held at a time
    raw = _try(report, "unreadable mask", mask_path, read_mask_file)
    if raw is None:
        return
    height, width = raw.values.shape[:2]
    if size is not None and size != (height, width):
        sizes = f"image {size[1]}x{size[0]}, mask {width}x{height}"
        report.findings.append(Finding("size mismatch", name, sizes))
    if raw.void and not keep_void:
        report.findings.append(Finding("void border", name))
    style, mask = mask_style(raw.values), ids_of(raw, keep_void)
    if style is not None:
        report.findings.append(Finding(style, name))
    if style == "soft-edged mask":
        mask = (mask > 128).astype(np.int32)
    _check_objects(report, name, mask)


def _size(path: Path) -> tuple[int, int]:
    """Height and width of an image that can be read."""
    height, width, _ = read_image(path).shape
    return height, width


def _try(report: CheckReport, kind: str, path: Path, read: Callable[[Path], T]) -> T | None:
    """Read a file; what cannot be read becomes a finding."""
    try:
        return read(path)
    except (DataError, OSError):
        report.findings.append(Finding(kind, path.name))
        return None


def _check_objects(report: CheckReport, name: str, mask: npt.NDArray[np.int32]) -> None:
    """Count the objects of a mask; empty and tiny ones are findings."""
    ids, areas = value_counts(mask)
    ids, areas = ids[ids > 0], areas[ids > 0]
    report.objects += len(ids)
    if len(ids) == 0:
        report.findings.append(Finding("empty mask", name))
    small = [f"id {i}: {n} px" for i, n in zip(ids, areas, strict=True) if n < TINY_SHARE * mask.size]
    if small:
        report.findings.append(Finding("tiny object", name, ", ".join(small[:3]) + (" ..." if len(small) > 3 else "")))


def _conclude(report: CheckReport) -> None:
    """Report on the whole set what no single sample shows."""
    empty = sum(finding.kind == "empty mask" for finding in report.findings)
    if empty and report.objects == 0:
        report.findings.append(Finding("all masks empty", f"{empty} masks", "no mask holds an object"))
