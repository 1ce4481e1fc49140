"""What `glesam segment` adds for a folder: `results.csv`, a contact sheet, and sharing the work with other jobs."""

from __future__ import annotations

import functools
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from glesam.cli.segment.outputs import STDOUT, Job
from glesam.common.files import sweep
from glesam.common.locks import LOCK, sole
from glesam.common.pool import writing
from glesam.errors import DataError
from glesam.folders.parts import ResultsJournal
from glesam.folders.ranks import Meeting, Place
from glesam.folders.table import ObjectRow

if TYPE_CHECKING:
    from glesam.cli.segment.tally import Tally
    from glesam.images.reading import ReadOptions
    from glesam.masks.masks import Masks


class Book:
    """Keeps the books of one folder of results.

    Args:
        folder: folder of the results.
        jobs: all images, of all jobs that share the folder.
        place: which of these jobs this is.
        reading: how images are read; None for the usual way.
    """

    def __init__(self, folder: Path, jobs: Sequence[Job], place: Place, reading: ReadOptions | None = None) -> None:
        self.folder, self.place, self._reading = folder, place, reading
        names = Counter(job.source.name for job in jobs)
        self._jobs = {_key(job, names): job for job in jobs}
        self._names = {job.source.stem: name for name, job in self._jobs.items()}
        self._meeting = Meeting(folder, place, list(self._jobs))
        self._journal = ResultsJournal(folder, place.rank)

    def note(self, job: Job, masks: Masks, seconds: float) -> None:
        """Note an image's rows; to be called when its outputs are about to appear."""
        from glesam.folders.table import rows_of

        name = self._names[job.source.stem]
        self._journal.add(name, rows_of(masks, name, seconds))

    def note_left_out(self, job: Job) -> None:
        """Note that an image has no rows any more; those of outputs that this run keeps stay."""
        name = self._names[job.source.stem]
        if not any(path is not None and path.exists() for path in self._jobs[name].files.values()):
            self._journal.add(name, [])

    @property
    def passes_on(self) -> bool:
        """Whether another job tells of what failed here, and has the status for it.

        torchrun and accelerate end all jobs when the first one ends with another status than 0.
        """
        return self.place.rank > 0

    @contextmanager
    def open(self, tally: Tally) -> Iterator[None]:
        """Do this job's share in the block; then, as the first of the jobs, wait for the others and sum up.

        Raises:
            ConfigError: another run works in the folder.
            DataError: the folder cannot be written.
        """
        with writing(self.folder), sole(self.folder, lock_name(self.place.rank)):
            sweep(self.folder)  # also where nothing is left to write
            self._journal = ResultsJournal(self.folder, self.place.rank)
            with self._meeting.attend(tally.failed) if self.place.world > 1 else nullcontext():
                yield
            if self.place.rank == 0:
                absent = self._meeting.wait_for_others()
                tally.take(self._meeting.failed_elsewhere())
                if absent:
                    tally.fail("other jobs", _absent(absent, self.place.world))
                self._sum_up(tally, complete=not absent)

    def _sum_up(self, tally: Tally, complete: bool) -> None:
        """Write the table, and the sheet if there is anything new to see; `complete` if all jobs have ended."""
        from glesam.folders.sheet import SHEET, Entry, draw_sheet
        from glesam.images.reading import ReadOptions

        finished = {name: job for name, job in self._jobs.items() if not job.missing(False)}
        if complete:  # what failed in a job that was killed is not known here
            self._tell_removed(finished, tally)
        self._journal.merge(finished, functools.partial(self._recover, tally))
        if tally.done or self.place.world > 1 or not (self.folder / SHEET).exists():
            reading = self._reading or ReadOptions()
            entries = [Entry(name, job.source.path, job.files.get("png"), reading) for name, job in finished.items()]
            draw_sheet(self.folder / SHEET, entries, tally.failed)

    def _tell_removed(self, finished: Collection[str], tally: Tally) -> None:
        """Name images that were done, and whose results somebody removed since."""
        failed = set(tally.failed)
        for name, job in self._jobs.items():
            # Data sets leave images out in which nothing was found.
            if name not in finished and job.source.name not in failed and not job.form.dataset:
                cure = DataError(f"expected the results of {name} in {self.folder}, they were removed; run it again")
                tally.fail(name, cure)

    def _recover(self, tally: Tally, name: str) -> list[ObjectRow]:
        """Rows from the outputs of an image that was finished without a note."""
        from glesam.folders.recover import rows_from_outputs

        try:
            return rows_from_outputs(name, self._jobs[name].files)
        except DataError as error:
            tally.fail(name, error)
            return []


def book_of(
    jobs: Sequence[Job], output: str | None, outright: bool, place: Place, reading: ReadOptions | None = None
) -> Book | None:
    """The book of a folder job, or None: one image named outright, or results without a folder of their own."""
    if outright or output in (None, STDOUT) or not jobs:
        return None
    folder = Path(str(output)).expanduser()
    return Book(folder, jobs, place, reading) if folder.is_dir() else None


def device_of(device: str, place: Place, model: str) -> str:
    """Each of several jobs on a machine has its own GPU, but with an exported model, which runs on the CPU.

    Args:
        device: as the user gave it; one job's "auto" stays, since only the loader knows what the model can use.
        place: which of the jobs this is.
        model: as `Predictor.from_pretrained` takes it.
    """
    from glesam.models.exported.model import runtime_of
    from glesam.models.registry import local_weights
    from glesam.predict.modes import pick_device

    if place.world == 1:
        return device
    if device == "auto" and runtime_of(local_weights(model)) is not None:
        return "cpu"
    found = pick_device(device)
    return f"cuda:{place.local_rank}" if found == "cuda" else found


def _key(job: Job, names: Counter[str]) -> str:
    """What the table calls an image: its name, or its whole path where names meet."""
    clash = names[job.source.name] > 1 and job.source.path is not None
    return str(job.source.path) if clash else job.source.name


def _absent(ranks: Sequence[int], world: int) -> DataError:
    """The error for jobs that did not end."""
    listed = ", ".join(map(str, ranks))
    return DataError(
        f"expected all {world} jobs to end, rank {listed} gave no sign for a while; start the same command again, what "
        "is finished is skipped"
    )


def lock_name(rank: int) -> str:
    """The file by which two jobs of the same number notice each other; the jobs of one run differ in it."""
    return LOCK if rank == 0 else f"{LOCK}.{rank}"
