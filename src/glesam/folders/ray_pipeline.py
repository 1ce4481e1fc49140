"""The folder job as a Ray Data pipeline, for many machines and for object stores (extra `ray`).

Images are read through any pyarrow file system, segmented by a pool of actors that each hold one predictor, and the
masks are written through a file system again. What is finished is skipped, as in a folder job.
"""

from __future__ import annotations

import posixpath
import tempfile
import time
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from glesam.common.telemetry import decline_telemetry
from glesam.errors import ConfigError, DataError, GlesamError
from glesam.folders.recover import rows_from_outputs
from glesam.folders.table import RESULTS, ObjectRow, from_values, read_csv_text, rows_of, to_csv

FORMATS = {"png": ".mask.png", "json": ".mask.json", "polygons": ".mask.geojson", "npz": ".mask.npz"}
"""Format to the ending of its file's name, as the command line writes them."""
_READERS = 16


@dataclass(frozen=True)
class PipelineJob:
    """What every actor knows.

    Attributes:
        out: folder or prefix of the results on `out_filesystem`.
        prompts: arguments of `glesam.Prompts` for all images, such as `{"boxes": [[10, 20, 300, 400]]}`, or by the
            image's name, `{"cat.jpg": {"points": [[320, 240]]}}`.
        model: as `Predictor.from_pretrained` takes it.
        device: "cpu", "cuda", "mps" or "auto".
        enhance: "on", "off" or "auto".
        formats: keys of `FORMATS`.
        out_filesystem: pyarrow file system, or None for the local one.
    """

    out: str
    prompts: dict[str, Any]
    model: str = "compact"
    device: str = "cpu"
    enhance: str = "auto"
    formats: tuple[str, ...] = ("png",)
    out_filesystem: Any = None

    def __post_init__(self) -> None:
        unknown = [name for name in self.formats if name not in FORMATS]
        if unknown or not self.formats:
            raise ConfigError(f"expected formats of {', '.join(FORMATS)}, got {self.formats}; name some of these")

    def prompts_of(self, name: str) -> dict[str, Any]:
        """Arguments of `Prompts` for one image.

        Raises:
            ConfigError: there are none for it.
        """
        if self.prompts.keys() <= {"points", "labels", "boxes"}:
            return self.prompts
        if name not in self.prompts:
            raise ConfigError(f"expected prompts for {name}, found none; add them, or leave the image out")
        return dict(self.prompts[name])

    def targets(self, name: str) -> dict[str, str]:
        """Format to path of each result of an image; the whole name is kept, so that no two images meet."""
        return {kind: posixpath.join(self.out, name + FORMATS[kind]) for kind in self.formats}

    def filesystem(self) -> Any:
        """The file system of the results."""
        from pyarrow import fs

        return self.out_filesystem or fs.LocalFileSystem()


@dataclass(frozen=True)
class PipelineReport:
    """What became of the images.

    Attributes:
        rows: one for each object of each image, as in `results.csv`.
        skipped: number of images that were finished before.
        failed: name to reason.
    """

    rows: list[ObjectRow]
    skipped: int
    failed: dict[str, str]


def ray_pipeline(
    paths: Sequence[str], job: PipelineJob, *, filesystem: Any = None, actors: int = 1, gpus_per_actor: float = 0
) -> PipelineReport:
    """Segment images with Ray Data, write their masks, and `results.csv` at the end.

    Ray is started on this machine unless `ray.init` was called before, without its usage reports.

    Args:
        paths: images, local or on `filesystem`; their names are the file names, which must differ.
        job: what is asked, and where results go.
        filesystem: pyarrow file system of the images; local when None.
        actors: predictors that work at once.
        gpus_per_actor: share of a GPU that each needs.

    Raises:
        ConfigError: no image, two of one name, fewer than one actor, or no Ray.
    """
    decline_telemetry()
    try:
        import ray
    except ImportError as error:
        raise ConfigError("expected Ray for this pipeline, it is not installed; pip install 'glesam[ray]'") from error
    names = {posixpath.basename(path): path for path in paths}
    if actors < 1 or not paths or len(names) < len(paths):
        raise ConfigError(
            f"expected images of different names and at least 1 actor, got {len(paths)} images of {len(names)} "
            f"names and {actors} actors; split the job by folders"
        )
    former = _rows_before(job, names)
    pending = [path for name, path in names.items() if name not in former]
    results: list[dict[str, Any]] = []
    if pending:
        data = ray.data.read_binary_files(pending, filesystem=filesystem, include_paths=True)
        pool = ray.data.ActorPoolStrategy(size=min(actors, len(pending)))
        done = data.flat_map(
            _Actor, fn_constructor_args=(job,), compute=pool, num_cpus=1, num_gpus=gpus_per_actor or None
        )
        results = done.take_all()
    return _sum_up(job, list(names), former, results, len(paths) - len(pending))


class _Actor:
    """One predictor in a process of its own."""

    def __init__(self, job: PipelineJob) -> None:
        from glesam.predict.predictor import Predictor

        self._job = job
        self._predictor = Predictor.from_pretrained(job.model, job.device, job.enhance)

    def __call__(self, record: dict[str, Any]) -> list[dict[str, Any]]:
        """Segment one image: a record for each object, or one with the reason of a failure."""
        from glesam.prompts.prompts import Prompts

        name, start = posixpath.basename(record["path"]), time.perf_counter()
        try:
            self._predictor.set_image(record["bytes"], name)
            masks = self._predictor.predict(Prompts(**self._job.prompts_of(name)))
        except GlesamError as error:
            return [_record(name, None, " ".join(str(error).split()))]
        rows = rows_of(masks, name, time.perf_counter() - start)
        for kind, target in self._job.targets(name).items():
            _write(self._job.filesystem(), target, masks.encode(posixpath.splitext(FORMATS[kind])[1]))
        return [_record(name, row, "") for row in rows]


def _record(name: str, row: ObjectRow | None, error: str) -> dict[str, Any]:
    """A row as Ray carries it: the same keys in every record."""
    values = asdict(row or ObjectRow(name, 0, 0.0, 0, 0, 0, 0, 0, 0.0, False))
    return values | {"error": error}


def _write(filesystem: Any, target: str, content: bytes) -> None:
    """Write in one step: object stores show an object when it is whole, other file systems rename it."""
    from pyarrow import fs

    if not isinstance(filesystem, fs.LocalFileSystem):
        with filesystem.open_output_stream(target) as stream:
            stream.write(content)
        return
    from glesam.common.files import write_bytes

    write_bytes(target, content)


def _finished(job: PipelineJob, names: Iterable[str]) -> set[str]:
    """The images whose results are all there.

    The folder is listed once: a store answers that a thousand names at a time, and a question for each image is what
    would take hours.
    """
    from pyarrow import fs

    listing = job.filesystem().get_file_info(fs.FileSelector(job.out, allow_not_found=True))
    there = {info.base_name for info in listing if info.type == fs.FileType.File}
    return {name for name in names if all(name + FORMATS[kind] in there for kind in job.formats)}


def _rows_before(job: PipelineJob, names: Mapping[str, str]) -> dict[str, list[ObjectRow]]:
    """Rows of the images that are finished: of the former table, or of results that a stopped run left without one."""
    rows, done = _former_rows(job), _finished(job, names)
    rows |= _recovered(job, sorted(done - rows.keys()))
    return {name: each for name, each in rows.items() if name in done or name not in names}


def _former_rows(job: PipelineJob) -> dict[str, list[ObjectRow]]:
    """Rows of the former table by image; none where there is no table."""
    from pyarrow import fs

    filesystem, table = job.filesystem(), posixpath.join(job.out, RESULTS)
    rows: dict[str, list[ObjectRow]] = {}
    if filesystem.get_file_info(table).type == fs.FileType.File:
        with filesystem.open_input_stream(table) as stream:
            for row in read_csv_text(stream.read().decode("utf-8"), table):
                rows.setdefault(row.file, []).append(row)
    return rows


def _recovered(job: PipelineJob, names: Sequence[str]) -> dict[str, list[ObjectRow]]:
    """Rows of images from their results; images without a result that tells them are left out, to be done again."""
    kind = next((kind for kind in ("json", "npz", "png") if kind in job.formats), None)
    if kind is None or not names:
        return {}
    filesystem, ending = job.filesystem(), posixpath.splitext(FORMATS[kind])[1]

    def read(number: int, name: str) -> list[ObjectRow] | None:
        copy = Path(folder) / f"{number}{ending}"
        with filesystem.open_input_stream(job.targets(name)[kind]) as stream:
            copy.write_bytes(stream.read())
        try:
            return rows_from_outputs(name, {kind: copy})
        except DataError:
            return None  # made anew
        finally:
            copy.unlink()

    # Many at once: a store answers each question in milliseconds, and there may be a million.
    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(_READERS) as pool:
        found = pool.map(read, range(len(names)), names)
        return {name: rows for name, rows in zip(names, found, strict=True) if rows is not None}


def _sum_up(
    job: PipelineJob,
    names: list[str],
    former: Mapping[str, list[ObjectRow]],
    results: list[dict[str, Any]],
    skipped: int,
) -> PipelineReport:
    """Join new rows with those of before, and write the table."""
    rows = dict(former)
    fresh: dict[str, list[ObjectRow]] = {}
    failed: dict[str, str] = {}
    for record in results:
        error = record.pop("error")
        if error:
            failed[record["file"]] = error
        else:
            fresh.setdefault(record["file"], []).append(from_values(record))
    rows |= {name: sorted(each, key=lambda row: row.object) for name, each in fresh.items()}
    ordered = [row for name in dict.fromkeys([*sorted(names), *rows]) for row in rows.get(name, [])]
    content = to_csv(ordered).encode("utf-8", "surrogateescape")
    _write(job.filesystem(), posixpath.join(job.out, RESULTS), content)
    return PipelineReport(ordered, skipped, failed)
