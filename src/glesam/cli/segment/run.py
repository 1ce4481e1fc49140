"""The run of `glesam segment`: find images, leave out what is done, segment the others one by one or in processes."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from glesam.cli.common import progress, tell_outdated, warn
from glesam.cli.segment.choice import ModelChoice
from glesam.cli.segment.forms import Form
from glesam.cli.segment.outputs import OWN_OUTPUTS, Job, names_one_file, plan, write
from glesam.cli.segment.reading import facts_of, read_spoken
from glesam.cli.segment.tally import Tally
from glesam.common.files import is_outdated
from glesam.errors import GlesamError

if TYPE_CHECKING:
    from glesam.cli.segment.folder import Book
    from glesam.cli.segment.wanted import Wanted
    from glesam.folders.ranks import Place
    from glesam.images.sources import ImageSource
    from glesam.predict.predictor import Predictor


@dataclass(frozen=True)
class ImageOptions:
    """Options of the command that concern images.

    Attributes:
        model: the model, and what happens to images before it.
        multimask: three candidates for each object.
        output: file, folder, "-" for stdout, or None for beside the images.
        formats: what was asked for, of `outputs.ENDINGS`.
        form: of the outputs.
        recursive: go into sub-folders.
        overwrite: replace outputs that are there.
        workers: processes.
    """

    model: ModelChoice
    multimask: bool
    output: str | None
    formats: Sequence[str]
    form: Form
    recursive: bool
    overwrite: bool
    workers: int


def segment_images(inputs: Sequence[str], wanted: Wanted, options: ImageOptions) -> None:
    """Segment all images of the inputs that are not done, and report; this job's share of them under torchrun.

    Raises:
        GlesamError: an option is at fault.
        typer.Exit: an image failed: 1; where several jobs share a folder, in the first of them alone.
    """
    from glesam.cli.segment.folder import book_of
    from glesam.folders.ranks import from_environment

    sources, tally = _find(inputs, options.recursive)
    outright, output = names_one_file(inputs), options.output
    jobs = plan(sources, options.formats, output, outright, options.form) if sources else []
    place = from_environment()
    book = book_of(jobs, output, outright, place, wanted.reading)
    with nullcontext() if book is None else book.open(tally):
        pending = _pending(place.share(jobs), options.overwrite, tally)
        make = functools.partial(_worker, place, wanted, options.model, options.multimask, book)
        _segment_all(pending, make, options.workers, tally)
    tally.report(output, passed_on=book is not None and book.passes_on)


def _find(inputs: Sequence[str], recursive: bool) -> tuple[list[ImageSource], Tally]:
    """All images of the inputs that exist; the others are named and counted as failed."""
    from glesam.images.sources import iterate, left_out

    tally, found = Tally(), []
    for item in inputs:
        with _counted(tally, item):
            iterate([item], recursive, OWN_OUTPUTS)
            found.append(item)
    other = left_out(found, recursive, OWN_OUTPUTS)
    if other:
        files = "1 file is no image and is" if len(other) == 1 else f"{len(other)} files are no images and are"
        warn(f"glesam: {files} left out, such as {other[0]}")
    return (iterate(found, recursive, OWN_OUTPUTS) if found else []), tally


def _pending(jobs: Sequence[Job], overwrite: bool, tally: Tally) -> list[Job]:
    """What is still to be done; an image whose files are all there is skipped, and said to be."""
    pending = [replace(job, files=job.missing(overwrite)) for job in jobs]
    skipped = [job for job, rest in zip(jobs, pending, strict=True) if not rest.files]
    if skipped:
        example = next(iter(skipped[0].files.values()))
        warn(f"glesam: {len(skipped)} skipped, whose outputs exist, such as {example}; --overwrite replaces them")
        pairs = [(job.source, next(iter(job.files.values()))) for job in skipped]
        tell_outdated([s.name for s, file in pairs if s.path is not None and file and is_outdated(file, s.path)])
    tally.skipped += len(skipped)
    _tell_kept(jobs, pending)
    _tell_renamed(jobs, pending)
    return [job for job in pending if job.files]


def _tell_kept(jobs: Sequence[Job], pending: Sequence[Job]) -> None:
    """Say which results stay beside new ones: they may be of other prompts."""
    kept = [
        path
        for job, rest in zip(jobs, pending, strict=True)
        for kind, path in job.files.items()
        if rest.files and kind not in rest.files
    ]
    if kept:
        files = "1 file was there and is" if len(kept) == 1 else f"{len(kept)} files were there and are"
        warn(f"glesam: {files} kept as before, such as {kept[0]}; --overwrite makes all anew, by these prompts")


def _tell_renamed(jobs: Sequence[Job], pending: Sequence[Job]) -> None:
    """Say which results are not found again: `a.jpg` was alone, and with `a.png` beside it its results keep the suffix.

    Of which of the two they are cannot be told.
    """
    planned = {path for job in jobs for path in job.files.values()}
    found = [(job, path) for job in pending for path in _short_names(job) if path not in planned]
    left = [(job, path) for job, path in found if os.path.exists(path)]
    if left:
        job, path = left[0]
        warn(
            f"glesam: warning: results lie under names that several images share now, such as {path}; those of "
            f"{job.source.name} become {next(iter(job.files.values()))}; rename or delete the former ones"
        )


def _short_names(job: Job) -> list[Path]:
    """What files of an image whose results keep its suffix would be called without it."""
    whole = Path(job.source.name)
    if not job.source.stem.endswith(whole.name):
        return []
    paths = [path for path in job.files.values() if path is not None and path.name.startswith(whole.name)]
    return [path.with_name(whole.stem + path.name.removeprefix(whole.name)) for path in paths]


def _segment_all(jobs: Sequence[Job], make: Callable[[], Callable[[Job], str]], workers: int, tally: Tally) -> None:
    """Segment image by image, in several processes if asked; one that fails does not stop the others."""
    if not jobs:
        return
    from glesam.common.pool import run

    # Only this process has the stdin that an image may come from.
    count = 1 if any(job.source.path is None for job in jobs) else workers
    with progress(len(jobs), "segment") as advance:
        for job, outcome in run(make, jobs, count):
            if isinstance(outcome, GlesamError):
                tally.fail(job.source.name, outcome)
            else:
                tally.done += 1
                if len(jobs) == 1:
                    warn(f"glesam: {outcome}")
            advance()


def _worker(
    place: Place, wanted: Wanted, model: ModelChoice, multimask: bool, book: Book | None
) -> Callable[[Job], str]:
    """Load the model, in the process that will use it."""
    from glesam.cli.segment.everything import spoken_warnings
    from glesam.cli.segment.folder import device_of
    from glesam.predict.predictor import Predictor

    device = device_of(model.device, place, model.name)
    with spoken_warnings():
        predictor = Predictor.from_pretrained(model.name, device, model.enhance, **model.further)
    return functools.partial(_segment_one, predictor=predictor, wanted=wanted, multimask=multimask, book=book)


def _segment_one(job: Job, predictor: Predictor, wanted: Wanted, multimask: bool, book: Book | None) -> str:
    """Read, segment, write; say it in one line."""
    start = time.perf_counter()
    from glesam.cli.segment.everything import spoken_warnings

    ask, found = wanted.question(job.source, multimask), read_spoken(job.source, wanted.reading)
    image = found.pixels
    predictor.set_image(image, job.source.name)
    with spoken_warnings():
        masks = ask(predictor)
    masks.info.update(facts_of(found))
    if job.form.dataset and not masks.areas.any():
        return _leave_out(job, book)
    seconds = time.perf_counter() - start
    write(job, masks, image, None if book is None else lambda: book.note(job, masks, seconds))
    names = [f"{name} " for name in masks.class_names] or [""] * len(masks)
    shown = [f"{name}{score:.2f}" for name, score in zip(names, masks.scores[:5], strict=False)]
    scores = ", ".join(shown) + (", ..." if len(masks) > 5 else "")
    scores = scores or "none"
    targets = ", ".join("stdout" if path is None else str(path) for path in job.files.values())
    return f"{job.source.name}: {len(masks)} {'mask' if len(masks) == 1 else 'masks'} (score {scores}) -> {targets}"


def _leave_out(job: Job, book: Book | None) -> str:
    """Take what a data set had of an image in which nothing is found now, and say it in one line."""
    warn(f"glesam: {job.source.name}: nothing found, left out of the data set")
    for path in job.files.values():
        if path is not None:
            path.unlink(missing_ok=True)
    if book is not None:
        book.note_left_out(job)
    return f"{job.source.name}: no files"


@contextmanager
def _counted(tally: Tally, name: str) -> Iterator[None]:
    """Let a failure of one image be counted instead of ending the run."""
    try:
        yield
    except GlesamError as error:
        tally.fail(name, error)
