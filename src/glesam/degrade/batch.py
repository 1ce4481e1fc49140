"""Degrades many images with many processes; what is there already is kept, what is broken is named.

The result depends on each image's name, the seed and the degradation only: neither on the order of files nor on the
number of workers, nor on a stop half-way.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

import cv2

from glesam.common.documents import read_json
from glesam.common.files import is_outdated, write_bytes, write_text
from glesam.common.locks import sole
from glesam.common.pool import cores, outcomes, writing
from glesam.common.seeds import UNNAMED, degradation_seed
from glesam.degrade.variants import Variant
from glesam.errors import ConfigError, DataError, GlesamError
from glesam.images.lossless import ENCODERS, encode_lossless
from glesam.images.sources import ImageSource

RUN_FILE = "degrade.options"
"""JSON of a batch's options and results in its folder; the name ends as none of an image or of a record does."""


_RESULTS = "results"
"""Its key for the results' paths below the folder: only files that a batch made are ever taken for another's."""


@dataclass(frozen=True)
class BatchOptions:
    """How a batch is done.

    Attributes:
        seed: with the image's name, the source of all chance.
        image_format: a key of `ENCODERS`.
        overwrite: make again what is there already.
        record: write a `.json` with every draw beside each image.
        workers: number of processes; all cores when None.
    """

    seed: int = 0
    image_format: str = "png"
    overwrite: bool = False
    record: bool = False
    workers: int | None = None

    def __post_init__(self) -> None:
        if self.image_format not in ENCODERS:
            raise ConfigError(f"expected a format out of {', '.join(ENCODERS)}, got {self.image_format!r}; choose one")


@dataclass(frozen=True)
class Task:
    """One clean image and where its degraded ones go."""

    source: ImageSource
    outputs: tuple[tuple[Variant, Path], ...]
    options: BatchOptions

    @property
    def label(self) -> str:
        """What messages call the clean image: its path, which unlike its name no other source shares."""
        return str(self.source.path) if self.source.path is not None else self.source.name


@dataclass(frozen=True)
class Outcome:
    """What became of one clean image; `label` is its task's, `outdated` whether it changed since what was kept."""

    label: str
    written: int = 0
    kept: int = 0
    error: str | None = None
    outdated: bool = False


@dataclass
class BatchReport:
    """What a batch did: numbers of degraded images written and kept, and the images that failed, with reasons.

    `outdated` are the images that changed since their degraded ones, which were kept, had been made.
    """

    written: int = 0
    kept: int = 0
    failed: dict[str, str] = field(default_factory=dict)
    outdated: list[str] = field(default_factory=list)


def plan(sources: Sequence[ImageSource], variants: Sequence[Variant], out: Path, options: BatchOptions) -> list[Task]:
    """Tasks of a batch: one variant goes straight into `out`, several into a folder each, named by the variant.

    Raises:
        ConfigError: a result would overwrite a source.
    """
    folders = {variant: out if len(variants) == 1 else out / variant.name for variant in variants}
    tasks = []
    for source in sources:
        paths = tuple((v, folders[v] / f"{source.stem.lstrip('/')}.{options.image_format}") for v in variants)
        tasks.append(Task(source, paths, options))
    originals = {os.path.realpath(s.path) for s in sources if s.path is not None}
    for path in (path for task in tasks for _, path in task.outputs):
        if os.path.realpath(path) in originals:
            raise ConfigError(f"expected an output folder apart from the sources, {path} is one; choose another -o")
    return tasks


def degrade_all(tasks: Sequence[Task], out: Path, advance: Callable[[Outcome], None] | None = None) -> BatchReport:
    """Do all tasks of one plan.

    Args:
        tasks: as `plan` gave them.
        out: the folder that was planned for.
        advance: called with the outcome of each clean image when it is done.

    Returns:
        What was written, kept, and what failed.

    Raises:
        DataError: the folder cannot be written, the disk is full, or a worker was killed.
        ConfigError: the folder holds images made with other options, or another run works there.
    """
    report = BatchReport()
    if not tasks:
        return report
    with writing(out), sole(out):
        _claim(out, tasks)
        for outcome in _outcomes(tasks):
            report.written += outcome.written
            report.kept += outcome.kept
            if outcome.error is not None:
                report.failed[outcome.label] = outcome.error
            if outcome.outdated:
                report.outdated.append(outcome.label)
            if advance is not None:
                advance(outcome)
        for task in tasks:
            if task.label not in report.failed and not all(path.is_file() for _, path in task.outputs):
                report.failed[task.label] = f"expected its results in {out}, they were removed; run it again"
    return report


def do(task: Task) -> Outcome:
    """Degrade one image in all its variants; what is wrong with the image goes into the outcome.

    Raises:
        OSError: a result cannot be written, which no other image would survive either.
    """
    wanted = [(v, p) for v, p in task.outputs if task.options.overwrite or not _is_done(p, task.options)]
    kept, written = len(task.outputs) - len(wanted), 0
    if not wanted:
        return Outcome(task.label, kept=kept, outdated=_is_outdated(task))
    try:
        image = task.source.read()
        for variant, path in wanted:
            seed = degradation_seed(_plain_name(task.source), variant.level, task.options.seed)
            degraded, record = variant.apply(image, seed)
            content = encode_lossless(degraded, task.options.image_format)
            if task.options.record:
                note = {"source": task.source.name, "seed": seed, **record}
                write_text(path.with_suffix(".json"), json.dumps(note, indent=1) + "\n")
            # The image comes last: where it is, all of it is there, and its record too.
            write_bytes(path, content)
            written += 1
    except (GlesamError, cv2.error) as error:
        return Outcome(task.label, written, kept, " ".join(str(error).split()))
    return Outcome(task.label, written, kept)


def _plain_name(source: ImageSource) -> str:
    """Name of an image as data sets call it, without suffix."""
    return UNNAMED if source.path is None else str(PurePosixPath(source.name).with_suffix(""))


def _is_done(path: Path, options: BatchOptions) -> bool:
    """Whether a result of an earlier run can stay; it was written in one step, so that it is whole."""
    return path.is_file() and (not options.record or path.with_suffix(".json").is_file())


def _is_outdated(task: Task) -> bool:
    """Whether the clean image was changed after a degraded one was made of it."""
    source = task.source.path
    return source is not None and any(is_outdated(path, source) for _, path in task.outputs)


def _claim(out: Path, tasks: Sequence[Task]) -> None:
    """Note options and results of a batch in its folder, or see that the options are those of the images there.

    Results of other options that are to be overwritten go first: a run that is stopped then leaves no mixture that a
    later one would take for its own.

    Raises:
        ConfigError: they are not, and a mixture of both would come out.
    """
    results = {path.relative_to(out).as_posix(): path for each in tasks for _, path in each.outputs}
    options, path = _options(tasks[0]), out / RUN_FILE
    noted: set[str] = set()
    if path.is_file():
        earlier, noted = _read_claim(path)
        if earlier != options:
            _check_replaced(out, tasks[0], earlier, sorted(noted - results.keys()))
            for result in results.values():
                result.unlink(missing_ok=True)
            noted = set()
        elif noted >= results.keys():
            return
    # Batches of the same options share a folder: what any of them made is the folder's.
    write_text(path, json.dumps({**options, _RESULTS: sorted(noted | results.keys())}, indent=1) + "\n")


def _options(task: Task) -> dict[str, object]:
    """What results depend on, beside the images themselves."""
    variants = [variant for variant, _ in task.outputs]
    return {
        "recipe": variants[0].recipe,
        "lqseg_recipe": variants[0].lqseg_recipe,
        "seed": task.options.seed,
        "variant": variants[0].name if len(variants) == 1 else None,
    }


def _check_replaced(out: Path, task: Task, earlier: dict[str, object], others: Sequence[str]) -> None:
    """See that a batch of other options than a folder's is to replace all that is there.

    Args:
        out: the folder.
        task: any of the batch.
        earlier: the folder's options.
        others: results noted in the folder that are not this batch's.

    Raises:
        ConfigError: it is not.
    """
    if not task.options.overwrite:
        raise ConfigError(
            f"expected {out} to hold images of the same options {_told(_options(task))}, it was made with "
            f"{_told(earlier)}; choose another folder, or pass --overwrite"
        )
    left = [name for name in others if (out / name).is_file()]
    if left:
        more = f" and {len(left) - 1} more" if len(left) > 1 else ""
        raise ConfigError(
            f"expected --overwrite to replace all images of other options in {out}, got {left[0]}{more} made with "
            f"{_told(earlier)}, which would stay; delete those, or choose another folder"
        )


def _read_claim(path: Path) -> tuple[dict[str, object], set[str]]:
    """Options and results noted in a folder; nothing where the note is not ours."""
    try:
        content = read_json(path)
    except DataError:
        return {}, set()
    if not isinstance(content, dict):
        return {}, set()
    results = content.pop(_RESULTS, ())
    return content, {name for name in results if isinstance(name, str)} if isinstance(results, list) else set()


def _told(options: dict[str, object]) -> str:
    """Options in one line."""
    return "(" + ", ".join(f"{name} {value}" for name, value in options.items() if value not in (None, "")) + ")"


def _outcomes(tasks: Sequence[Task]) -> Iterator[Outcome]:
    """Do the tasks in several processes, unless one is to read this process's standard input."""
    piped = any(task.source.path is None for task in tasks)
    return outcomes(do, tasks, 1 if piped else tasks[0].options.workers or cores())
