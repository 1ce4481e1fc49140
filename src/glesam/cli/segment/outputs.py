"""Where `glesam segment` writes: which files belong to an image, what is there already, and standard output."""

from __future__ import annotations

import errno
import io
import os
import stat
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

from glesam.cli.segment.forms import Form
from glesam.errors import ConfigError, ImageError

if TYPE_CHECKING:
    from PIL import Image

    from glesam.images.pixels import RGB
    from glesam.images.sources import ImageSource
    from glesam.masks.masks import Masks

ENDINGS = {
    "png": ".mask.png",
    "overlay": ".overlay.png",
    "json": ".mask.json",
    "polygons": ".mask.geojson",
    "npz": ".mask.npz",
    "classes": ".classes.png",
    "amodal": ".amodal.png",
    "cutout": ".cutout.png",
    "boxes": ".boxes.json",
    "labelme": ".json",
    "yolo": ".txt",
}
"""Format to what its file's name ends in. Plain `.json` only for LabelMe, which keeps its own beside an image so."""

OWN_OUTPUTS = (*(f"*{end}" for end in ENDINGS.values() if end.count(".") > 1), "contact-sheet.jpg", "results.csv")
"""What a folder or a pattern must not take for an image in the next run."""

STDOUT = "-"
_FILE_FORMATS = {".png": "png", ".json": "json", ".geojson": "polygons", ".npz": "npz"}
_TEXT_FORMATS = ("json", "polygons", "boxes", "labelme", "yolo")


@dataclass(frozen=True)
class Job:
    """An image and its files.

    Attributes:
        source: the image.
        files: format to file; one format without a file, None, goes to standard output. `image` is the image itself.
        form: the form of the outputs.
    """

    source: ImageSource
    files: dict[str, Path | None]
    form: Form = field(default_factory=Form)

    def missing(self, overwrite: bool) -> dict[str, Path | None]:
        """The files that are still to be written."""
        # Not Path.exists, which raises for a name that is too long; writing it reports that.
        return {k: v for k, v in self.files.items() if overwrite or v is None or not os.path.exists(v)}


def names_one_file(inputs: Sequence[str]) -> bool:
    """Whether one file, or stdin, was named outright: what a folder or pattern holds must not decide on stdout."""
    return len(inputs) == 1 and (inputs[0] == STDOUT or Path(inputs[0]).expanduser().is_file())


def plan(
    sources: Sequence[ImageSource], formats: Sequence[str], output: str | None, outright: bool, form: Form | None = None
) -> list[Job]:
    """Decide where each image's results go.

    Args:
        sources: the images.
        formats: keys of `ENDINGS` besides the mask PNG.
        output: file, folder, `-` for standard output, or None: beside the image, but to standard output if the
            image comes from stdin, or if standard output is redirected and one format will do.
        outright: one file or stdin was named; only then None may mean standard output.
        form: the form of the outputs.

    Raises:
        ConfigError: `output` does not suit the number of images or formats, its folder cannot be made, or a result
            would replace an image.
    """
    form = form or Form()
    planned = _dataset(sources, formats, output) if form.dataset else _plan(sources, formats, output, outright)
    jobs = [replace(job, form=form) for job in planned]
    images = {os.path.realpath(source.path) for source in sources if source.path is not None}
    for path in (path for job in jobs for path in job.files.values() if path is not None):
        if os.path.realpath(path) in images:
            raise ConfigError(f"expected results apart from the images, got {path} for both; choose another -o")
    return jobs


def _plan(sources: Sequence[ImageSource], formats: Sequence[str], output: str | None, outright: bool) -> list[Job]:
    """Tell standard output, files beside the images, one file and a folder apart."""
    from_stdin = any(source.path is None for source in sources)
    # Several formats cannot share standard output; for them it is a log, in which the user did not ask for bytes.
    fits_stdout = output is None and outright and (from_stdin or (len(formats) <= 1 and is_redirected()))
    if output == STDOUT or fits_stdout:
        return [_to_stdout(sources, formats)]
    if output is None:
        if from_stdin:
            raise ConfigError("expected -o FOLDER when stdin is one of several images, got none; name a folder")
        return [_job(s, base, formats) for s, base in zip(sources, _bases_beside(sources), strict=True)]
    target = Path(output).expanduser()
    if _means_file(output, target):
        return [_to_file(sources, formats, target)]
    _make(target)
    return [_job(source, target / source.stem, formats) for source in sources]


def is_redirected() -> bool:
    """Whether standard output goes to a file or a pipe; a terminal and /dev/null are neither."""
    try:
        mode = os.fstat(sys.stdout.fileno()).st_mode
    except (OSError, ValueError):  # closed, or replaced by an object without a descriptor
        return False
    return stat.S_ISREG(mode) or stat.S_ISFIFO(mode)


def write(job: Job, masks: Masks, image: RGB, note: Callable[[], None] | None = None) -> None:
    """Write an image's results: all or, on a full disk or a kill, none that is new beside one that is old.

    Args:
        job: the image and its files.
        masks: what was found.
        image: `(H, W, 3)` uint8 RGB.
        note: called when all are on the disk and what they replace is gone, just before they get their names.

    Raises:
        ImageError: a file cannot be written.
        DataError: a format cannot hold these masks.
    """
    from glesam.common.files import replace_together

    contents = {kind: _content(kind, masks, image, job) for kind in job.files}
    files = {path: contents[kind] for kind, path in job.files.items() if path is not None}
    for kind in (kind for kind, path in job.files.items() if path is None):
        sys.stdout.buffer.write(contents[kind])
        sys.stdout.buffer.flush()
    try:
        replace_together(files, note)
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        cure = "free some space, and run it again" if full else "choose another place with -o"
        raise ImageError(
            f"expected to write {next(iter(files))}, got {error.strerror or str(error)!r}; {cure}"
        ) from error


def _content(kind: str, masks: Masks, image: RGB, job: Job) -> bytes:
    """The bytes of one format."""
    from glesam.masks import formats

    if kind == "overlay":
        return _as_png(masks.overlay(image))
    if kind == "amodal":
        return masks.whole.encode(".png")
    if kind == "cutout":
        return _as_png(masks.cutout(image, None, soft=True, crop=job.form.crop))
    if kind == "classes":
        from glesam.everything.labels import class_map_png

        return class_map_png(masks)
    if kind == "image":
        return _image_file(job.source, image)
    if kind == "boxes":
        return formats.boxes(masks)
    if kind == "polygons":
        return formats.geojson(masks, job.form.tolerance)
    if kind in ("labelme", "yolo"):
        return _labels(kind, masks, job)
    return masks.encode(Path(ENDINGS[kind]).suffix)


def _labels(kind: str, masks: Masks, job: Job) -> bytes:
    """Labels for another program; LabelMe finds the image by its path from the labels on."""
    from glesam.masks import labelling

    if kind == "yolo":
        return labelling.yolo(masks, job.form.classes, job.form.tolerance)
    target, source = job.files[kind], job.files.get("image") or job.source.path
    path = job.source.name if source is None else str(source)
    if target is not None and source is not None:
        path = Path(os.path.relpath(source, target.parent)).as_posix()
    return labelling.labelme(masks, path, job.form.tolerance)


def _as_png(image: Image.Image) -> bytes:
    stream = io.BytesIO()
    image.save(stream, "PNG")
    return stream.getvalue()


def _image_file(source: ImageSource, image: RGB) -> bytes:
    """The image's own file; as PNG if it came from stdin, or if its name does not say that it is an image."""
    from PIL import Image

    if source.path is not None and _is_named_as_image(source):
        return source.path.read_bytes()
    return _as_png(Image.fromarray(image))


def _is_named_as_image(source: ImageSource) -> bool:
    """Whether a folder's reader would take the file for an image."""
    from glesam.images.sources import SUFFIXES

    return source.path is not None and source.path.suffix.lower() in SUFFIXES


def _to_stdout(sources: Sequence[ImageSource], formats: Sequence[str]) -> Job:
    """One image, one format: the mask PNG, or the format asked for."""
    wanted = list(formats) or ["png"]
    if len(sources) > 1:
        raise ConfigError(f"expected one image for standard output, got {len(sources)}; give -o FOLDER instead")
    if len(wanted) > 1:
        raise ConfigError(
            f"expected one format for standard output, got {', '.join(wanted)}; ask for one, or give -o FOLDER"
        )
    if sys.stdout.isatty() and wanted[0] not in _TEXT_FORMATS:
        raise ConfigError(
            f"expected standard output to go to a file or a program, got a terminal for {wanted[0]}; give -o FILE"
        )
    return Job(sources[0], {wanted[0]: None})


def _to_file(sources: Sequence[ImageSource], formats: Sequence[str], target: Path) -> Job:
    """The file named holds the format of its suffix; others lie beside it."""
    if len(sources) > 1:
        raise ConfigError(f"expected -o as a folder for {len(sources)} images, got the file {target}; name a folder")
    named = _format_of(target, formats)
    _make(target.parent)
    others = {k: target.with_suffix(ENDINGS[k]) for k in formats if k != named}
    twice = next((kind for kind, path in others.items() if path == target), None)
    if twice is not None:
        raise ConfigError(
            f"expected another file for {twice}, got {target}, which holds the {named}; name it otherwise, or a folder"
        )
    return Job(sources[0], {named: target, **others})


def _format_of(target: Path, formats: Sequence[str]) -> str:
    """What a file named outright holds: by its suffix; what shares a suffix with it was asked for by name."""
    named = _FILE_FORMATS[target.suffix.lower()]
    if named in formats:
        return named
    asked = {"png": ("cutout",), "json": ("boxes", "labelme")}.get(named, ())
    return next((kind for kind in asked if kind in formats), named)


def _job(source: ImageSource, base: Path, formats: Sequence[str]) -> Job:
    """All formats of one image under a common name; boxes come in place of the mask."""
    kinds = formats if "boxes" in formats else ("png", *formats)
    return Job(source, {k: base.with_name(base.name + ENDINGS[k]) for k in kinds})


def _dataset(sources: Sequence[ImageSource], formats: Sequence[str], output: str | None) -> list[Job]:
    """Images and masks in folders of these names under the output folder, which has no sub-folders; the rest above."""
    if output is None or output == STDOUT or _means_file(output, Path(output).expanduser()):
        raise ConfigError(f"expected -o FOLDER for --layout dataset, got {output or 'none'}; name a folder")
    target = Path(output).expanduser()
    for part in ("images", "masks", *(["labels"] if "yolo" in formats else [])):
        _make(target / part)
    return [_dataset_job(source, stem, target, formats) for source, stem in zip(sources, _flat(sources), strict=True)]


def _dataset_job(source: ImageSource, stem: str, target: Path, formats: Sequence[str]) -> Job:
    """Files of one image; one that lies in its place already stays."""
    suffix = source.path.suffix if source.path is not None and _is_named_as_image(source) else ".png"
    image = target / "images" / f"{stem}{suffix}"
    files: dict[str, Path | None] = {"png": target / "masks" / f"{stem}.png"}
    if source.path is None or os.path.realpath(source.path) != os.path.realpath(image):
        files["image"] = image
    # Where the tools look: LabelMe beside the image, Ultralytics in labels/ for images/.
    places = {"labelme": target / "images", "yolo": target / "labels"}
    return Job(source, files | {k: places.get(k, target) / f"{stem}{ENDINGS[k]}" for k in formats})


def _flat(sources: Sequence[ImageSource]) -> list[str]:
    """Names without folders.

    Raises:
        ConfigError: two become the same.
    """
    stems = [source.stem.replace("/", "_").lstrip(".") or "image" for source in sources]
    counts = Counter(stem.casefold() for stem in stems)
    clash = next((s.name for s, stem in zip(sources, stems, strict=True) if counts[stem.casefold()] > 1), None)
    if clash is not None:
        raise ConfigError(
            f"expected names that differ without folders for --layout dataset, {clash} does not; rename it"
        )
    return stems


def _bases_beside(sources: Sequence[ImageSource]) -> list[Path]:
    """The images' own paths without suffix, or with it where two images of a folder differ in the suffix only."""
    paths = [source.path for source in sources if source.path is not None]
    stems = [path.with_suffix("") for path in paths]
    counts = Counter(str(stem).casefold() for stem in stems)
    return [p if counts[str(s).casefold()] > 1 else s for p, s in zip(paths, stems, strict=True)]


def _means_file(output: str, target: Path) -> bool:
    """Whether `-o` names a file: by its suffix, unless it is a folder or ends in a slash."""
    from glesam.images.sources import SUFFIXES

    if target.is_dir() or output.endswith(("/", os.sep)):
        return False
    if target.suffix.lower() in _FILE_FORMATS:
        return True
    if target.exists() or target.suffix.lower() in SUFFIXES:
        known = ", ".join(_FILE_FORMATS)
        raise ConfigError(f"expected -o as a folder or a file ending in {known}, got {output}; choose one of these")
    return False


def _make(folder: Path) -> None:
    """Make the output folder before any work is done."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        reason = error.strerror or str(error)
        raise ConfigError(f"expected an output folder, cannot make {folder} ({reason}); choose another -o") from error
    if not os.access(folder, os.W_OK):
        raise ConfigError(f"expected an output folder to write in, {folder} is read-only; choose another -o")
