"""What `glesam segment` does with a clip or a camera."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from glesam.cli.common import FAILED, progress, warn
from glesam.errors import ConfigError

if TYPE_CHECKING:
    from glesam.cli.segment.choice import ModelChoice
    from glesam.cli.segment.forms import Form
    from glesam.cli.segment.wanted import Wanted
    from glesam.video.frames import VideoSource
    from glesam.video.run import ClipOutputs, ClipReport

_FORMATS = ("overlay", "json")
_GUESSED_SHARE = 0.02
"""Share of the frames by which a header's number, made from length and rate, may be off."""
_FILE_SUFFIXES = (".png", ".json", ".jsonl", ".geojson", ".npz", ".mp4", ".avi", ".mkv", ".mov", ".jpg")


@dataclass(frozen=True)
class ClipOptions:
    """Options of the command that concern clips.

    Attributes:
        model: the model, and what happens to frames before it.
        multimask: three candidates on the prompts' frame.
        output: folder, or None for the clip's own.
        formats: what was asked for, of `outputs.ENDINGS`.
        overwrite: start over.
        frame: number of the prompts' frame.
        max_frames: frames to do, or None.
        correct: file of corrections, or None.
    """

    model: ModelChoice
    multimask: bool
    output: str | None
    formats: Sequence[str]
    overwrite: bool
    frame: int
    max_frames: int | None
    correct: Path | None = None


def asks_for_video(inputs: Sequence[str]) -> bool:
    """Whether the inputs are a clip or a camera.

    Raises:
        ConfigError: a clip among other inputs.
    """
    from glesam.video.frames import is_video

    clips = [item for item in inputs if is_video(item)]
    if clips and len(inputs) > 1:
        raise ConfigError(f"expected one clip or camera a call, got {len(inputs)} inputs; call once for {clips[0]}")
    return bool(clips)


def fits_clip(wanted: Wanted, form: Form) -> None:
    """Refuse what clips do not take.

    Raises:
        ConfigError: a data set, or anything but clicks and boxes.
    """
    if form.dataset:
        raise ConfigError("expected images for --layout dataset, got a clip; leave --layout out")
    asked = (wanted.everything, wanted.tile, wanted.derived, wanted.named, wanted.reading)
    if wanted.check or any(each is not None for each in asked):
        raise ConfigError("expected images, got a clip, which takes clicks and boxes alone; give these on a frame")


def fits_images(frame: int, max_frames: int | None, correct: Path | None) -> None:
    """Refuse for images what only clips take.

    Raises:
        ConfigError: an option of clips.
    """
    asked = {"--frame": frame != 0, "--max-frames": max_frames is not None, "--correct": correct is not None}
    given = [name for name, is_given in asked.items() if is_given]
    if given:
        raise ConfigError(f"expected a clip or a camera beside {given[0]}, got images; leave {' and '.join(given)} out")


def segment_clip(item: str, wanted: Wanted, options: ClipOptions) -> None:
    """Carry the prompts' objects through a clip, and say in one line what came of it.

    Raises:
        ConfigError: a format that clips do not have, or an output that is no folder.
        GlesamError: see `glesam.video.run.segment_video`.
    """
    from glesam.images.sources import ImageSource
    from glesam.prompts.corrections import read_corrections_file
    from glesam.video.frames import open_video
    from glesam.video.journal import is_complete
    from glesam.video.load import load_tracker
    from glesam.video.run import ClipTask, segment_video

    source = open_video(item)
    corrections = {} if options.correct is None else read_corrections_file(options.correct)
    outputs = _outputs(source, options)
    redo = options.overwrite
    if is_complete(outputs.journal) and not redo and not source.is_camera:
        _check_same(outputs, source)
        if not (lacking := outputs.lacking()):
            warn(f"glesam: skipped, {outputs.journal} is complete; --overwrite starts over")
            return
        warn(f"glesam: {outputs.journal} is complete, but {lacking[0]} is not of that run; the clip is done again")
        redo = True
    path = None if source.is_camera else Path(str(source.place))
    prompts = wanted.of(ImageSource(source.name, source.name, path))
    model = options.model
    tracker = load_tracker(model.name, model.device, model.enhance, options.multimask, **model.further)
    info = _info(options, tracker.kind)
    task = ClipTask(source, prompts, options.frame, options.max_frames, info, corrections)
    _tell_kept(outputs)
    total = options.max_frames or (None if source.count is None else max(1, source.count - options.frame))
    with progress(total, "segment") as advance:
        report = segment_video(task, tracker, outputs, overwrite=redo, on_frame=lambda _: advance(), on_resume=advance)
    _tell(source.name, report, outputs.journal.parent)
    if late := sorted(number for number in corrections if number >= options.frame + report.frames):
        warn(f"glesam: {source.name}: corrections of frames {late} were not reached")
    _check_length(source, options, report.frames)


def _tell_kept(outputs: ClipOutputs) -> None:
    """Say which results stay beside new ones: they may be of other prompts."""
    asked = outputs.asked().values()
    kept = [path for path in _places(outputs.journal).values() if path not in asked and path.exists()]
    if kept:
        listed = ", ".join(map(str, kept))
        warn(f"glesam: kept as before, perhaps of other prompts: {listed}; delete what is not wanted")


def _tell(name: str, report: ClipReport, folder: Path) -> None:
    """Say in one line what came of a clip, and in one for each object that was not always seen."""
    speed = report.done / max(report.seconds, 1e-9)
    warn(
        f"glesam: {name}: {report.frames} frames, {len(report.lost)} objects, all seen in {report.seen} of "
        f"{report.done}, {speed:.1f} frames a second -> {folder}"
    )
    for number, (sure, lost) in enumerate(zip(report.confidence, report.lost, strict=True), start=1):
        if lost:
            warn(f"glesam: {name}: object {number} was not seen in {lost} frames, elsewhere sure by {sure:.2f}")


def _info(options: ClipOptions, tracker: str) -> dict[str, Any]:
    """What the journal says of how a clip is done."""
    model = options.model
    info: dict[str, Any] = {"model": model.name, "enhance": model.enhance, "tracker": tracker}
    info |= {"multimask": options.multimask, "refine": model.refine, "quality": model.quality}
    parts = {key: getattr(model, key) for key in ("enhancer", "restore", "head", "head_mode")}
    return info | {key: str(value) for key, value in parts.items() if value is not None}


def _check_same(outputs: ClipOutputs, source: VideoSource) -> None:
    """Refuse a complete journal of another clip that had the same name.

    Raises:
        ConfigError: it is of another.
    """
    from glesam.video.journal import file_of

    made_of = file_of(outputs.journal)
    if made_of is not None and made_of != source.fingerprint():
        raise ConfigError(
            f"expected {outputs.journal} to fit this {source.name}, which has changed since; give --overwrite, "
            "or choose another -o"
        )


def _check_length(source: VideoSource, options: ClipOptions, frames: int) -> None:
    """Say so when a clip ends before its header says; of a few formats the number there is a guess.

    Raises:
        typer.Exit: frames are missing: 1.
    """
    if source.count is None or source.is_camera:
        return
    expected = source.count - options.frame
    if options.max_frames is not None:
        expected = min(expected, options.max_frames)
    if expected - frames > max(1, _GUESSED_SHARE * source.count):
        warn(f"glesam: error: {source.name}: expected {expected} frames as its header says, read {frames}; is it cut?")
        raise typer.Exit(FAILED)


def _outputs(source: VideoSource, options: ClipOptions) -> ClipOutputs:
    """Files of a clip: the journal always; PNGs unless another format was asked for."""
    from glesam.video.run import ClipOutputs

    unknown = [name for name in options.formats if name not in _FORMATS]
    if unknown:
        raise ConfigError(f"expected --overlay or --json for a clip, got --{unknown[0]}; leave it out")
    beside = Path() if source.is_camera else Path(str(source.place)).parent
    folder = beside if options.output is None else Path(options.output).expanduser()
    means_file = folder.suffix.lower() in _FILE_SUFFIXES or folder.exists()
    if options.output == "-" or (means_file and not folder.is_dir()):
        raise ConfigError(f"expected -o as a folder for a clip, got {options.output}; name a folder")
    stem = source.name.replace(":", "-") if source.is_camera else Path(source.name).stem
    paths = _places(folder / f"{stem}.mask.jsonl")
    wanted = options.formats or ("masks",)
    named = {name: path if name in wanted else None for name, path in paths.items()}
    return ClipOutputs(folder / f"{stem}.mask.jsonl", named["masks"], named["overlay"], named["json"])


def _places(journal: Path) -> Mapping[str, Path]:
    """Where the formats of a clip lie beside its journal."""
    stem = journal.name.removesuffix(".mask.jsonl")
    endings = {"masks": ".masks", "overlay": ".overlay.mp4", "json": ".mask.json"}
    return {name: journal.with_name(stem + ending) for name, ending in endings.items()}
