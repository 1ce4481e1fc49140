"""`glesam segment`: photos in, masks out."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glesam.cli.common import Enhance, progress, warn
from glesam.cli.segment.choice import ModelChoice, Quality, Refine
from glesam.cli.segment.derived import (
    CheckPrompts,
    DerivedWish,
    FeatureCacheFolder,
    HeatMap,
    Like,
    LikeMask,
    Likeness,
    StartMask,
    SubjectFlag,
    Unlike,
    derived_fits,
    derived_wish,
    speak_doubts,
)
from glesam.cli.segment.forms import (
    BoxesFlag,
    CropFlag,
    CutoutFlag,
    Form,
    LabelsFor,
    Layout,
    LayoutChoice,
    Simplify,
)
from glesam.cli.segment.outputs import OWN_OUTPUTS, Job, names_one_file, plan, write
from glesam.cli.segment.tally import Tally
from glesam.cli.segment.words import LabelFlag, NamedWish, Text, TextModelFolder, asked_words
from glesam.common.messages import hint
from glesam.errors import ConfigError, GlesamError, PromptError

if TYPE_CHECKING:
    from glesam.cli.segment.folder import Book
    from glesam.folders.ranks import Place
    from glesam.images.pixels import RGB
    from glesam.images.sources import ImageSource
    from glesam.masks.masks import Masks
    from glesam.predict.predictor import Predictor
    from glesam.prompts.prompts import Prompts


def segment(
    inputs: Annotated[
        list[str],
        typer.Argument(
            help="Photos, folders, patterns such as 'photos/*.jpg', - for stdin; or one clip, or camera:0.",
            metavar="INPUT...",
        ),
    ],
    point: Annotated[
        list[str] | None,
        typer.Option(
            help="x,y on the object, or x,y,0 beside it, in pixels. Repeatable: all points are ONE object.",
            metavar="X,Y[,0|1]",
        ),
    ] = None,
    box: Annotated[
        list[str] | None,
        typer.Option(
            help="x0,y0,x1,y1 around an object, in pixels. Repeatable: each box is an object of its own, also beside "
            "points; to join points and a box use --prompts.",
            metavar="X0,Y0,X1,Y1",
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            help='JSON file with several objects for each photo: {"cat.jpg": [{"points": [[320, 240]], "labels": [1], '
            '"box": [10, 20, 300, 400]}]}; names as in the folder given.',
            metavar="FILE",
        ),
    ] = None,
    like: Like = None,
    like_mask: LikeMask = None,
    unlike: Unlike = None,
    likeness: Likeness = None,
    feature_cache: FeatureCacheFolder = None,
    start_mask: StartMask = None,
    heat_map: HeatMap = None,
    subject: SubjectFlag = False,
    check_prompts: CheckPrompts = False,
    text: Text = None,
    text_model: TextModelFolder = None,
    label: LabelFlag = False,
    everything: Annotated[
        bool,
        typer.Option("--everything", help="Segment all there is, without prompts; JSON has segment-anything's keys."),
    ] = False,
    everything_like: Annotated[
        str | None,
        typer.Option(help="With --everything: as this generator does it: segment-anything.", metavar="NAME"),
    ] = None,
    points_per_side: Annotated[
        int | None, typer.Option(help="With --everything: clicks in each row and column of the grid.", metavar="N")
    ] = None,
    tile: Annotated[
        int | None,
        typer.Option(
            help="Big photos: look at tiles of so many pixels with --everything, at windows around the prompts without "
            "it; try 1024.",
            metavar="PIXELS",
        ),
    ] = None,
    multimask: Annotated[
        bool, typer.Option("--multimask", help="Predict three candidates and keep the best; --npz holds all three.")
    ] = False,
    model: Annotated[
        str, typer.Option(help="Name (see 'glesam models'), folder of a saved model, hub id, or .pth/.pt file.")
    ] = "compact",
    device: Annotated[str, typer.Option(help="cpu, cuda, mps, or auto for the fastest there is.")] = "auto",
    enhance: Annotated[
        Enhance, typer.Option(help="Enhance degraded photos: always, never, or as the model sees fit.")
    ] = Enhance.auto,
    refine: Annotated[
        Refine,
        typer.Option(
            help="Masks with the photo's own edges, without crumbs, on which clicks hold; off: the decoder's."
        ),
    ] = Refine.auto,
    quality: Annotated[
        Quality, typer.Option(help="high looks several times, and from near at small objects; fast at a smaller copy.")
    ] = Quality.standard,
    enhancer: Annotated[
        Path | None,
        typer.Option(help="Folder of an enhancer made for the model, see 'glesam train bundle'.", metavar="FOLDER"),
    ] = None,
    restore: Annotated[
        str | None,
        typer.Option(
            help="Restore images before the model sees them: median, nlm, deblock, gamma, clahe, unet:FOLDER, "
            "swin2sr:FOLDER, torchscript:FILE, onnx:FILE, folder:FOLDER; see docs/restore.md.",
            metavar="NAME[:ARGUMENT]",
        ),
    ] = None,
    restore_cache: Annotated[
        Path | None, typer.Option(help="Folder that keeps restored images for later runs.", metavar="FOLDER")
    ] = None,
    head: Annotated[
        str | None,
        typer.Option(
            help="Another mask head: hq (sharper masks), robust (degraded photos), folder of a trained head, or an "
            "authors' file; see docs/heads.md.",
            metavar="NAME|PATH",
        ),
    ] = None,
    head_mode: Annotated[
        str | None, typer.Option(help="hq heads: sum (with the model's own masks) or hq alone.", metavar="MODE")
    ] = None,
    output: Annotated[
        str | None,
        typer.Option(
            "--output",
            "-o",
            help="File (.png, .json, .geojson, .npz), folder, or - for stdout. Without it: beside the photo as "
            "photo.mask.png; one photo in one format goes to stdout if that is redirected.",
        ),
    ] = None,
    overlay: Annotated[bool, typer.Option("--overlay", help="Also write the photo with its masks drawn in.")] = False,
    json: Annotated[bool, typer.Option("--json", help="Also write COCO JSON: RLE, boxes, scores.")] = False,
    polygons: Annotated[bool, typer.Option("--polygons", help="Also write outlines as GeoJSON, in pixels.")] = False,
    cutout: CutoutFlag = False,
    crop: CropFlag = False,
    simplify: Simplify = None,
    boxes: BoxesFlag = False,
    labels: LabelsFor = None,
    layout: LayoutChoice = Layout.flat,
    npz: Annotated[bool, typer.Option("--npz", help="Also write all arrays, with low-resolution logits.")] = False,
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Go into sub-folders.")] = False,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there already.")] = False,
    workers: Annotated[
        int, typer.Option(min=1, help="Processes that work at once on many photos; each holds a model of its own.")
    ] = 1,
    frame: Annotated[int, typer.Option(min=0, help="Clips: the frame, from 0, that the prompts are on.")] = 0,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Clips and cameras: end after so many frames with results.")
    ] = None,
) -> None:
    """Segment photos: each object named by a prompt becomes a mask.

    Writes a PNG with the number of the object at each pixel (0 outside), at the photo's size, and on request other
    formats beside it. To stdout goes one format only: the PNG, or the one asked for.

    Of many photos with -o FOLDER also results.csv and contact-sheet.jpg. Under torchrun each job takes its share.

    Exit status: 0 done, 1 a photo failed (named; the others are done), 2 wrong use.
    """
    from glesam.cli.segment.clip import ClipOptions, asks_for_video, segment_clip
    from glesam.cli.segment.everything import everything_settings
    from glesam.cli.segment.folder import book_of
    from glesam.folders.ranks import from_environment

    model_choice = ModelChoice(
        model,
        device,
        enhance.value,
        enhancer,
        _checked(restore),
        restore_cache,
        refine.value,
        head,
        head_mode,
        quality.value,
    )
    clicked = bool(point or box or prompts)
    derived = derived_wish(like, like_mask, unlike, likeness, feature_cache, start_mask, heat_map, subject)
    derived_fits(derived, clicked or everything, tile, check_prompts and not clicked)
    named = asked_words(text, text_model, label, clicked or derived is not None, everything, tile)
    settings = everything_settings(everything, clicked, points_per_side, tile, everything_like)
    without = settings is not None or derived is not None or named is not None
    wanted = Wanted(None) if without else Wanted.parse(point or [], box or [], prompts)
    wanted = replace(wanted, everything=settings, tile=tile, derived=derived, named=named, check=check_prompts)
    flags = {"overlay": overlay, "json": json, "polygons": polygons, "npz": npz, "classes": label}
    flags |= {"cutout": cutout, "boxes": boxes} | {tool.value: True for tool in labels or ()}
    formats = [name for name, asked in flags.items() if asked]
    form = Form.parse(formats, crop, simplify, layout, () if named is None else named.words)
    if asks_for_video(inputs):
        if form.dataset:
            raise ConfigError("expected images for --layout dataset, got a clip; leave --layout out")
        if everything or tile is not None or derived is not None or check_prompts:
            raise ConfigError("expected images, got a clip, which takes clicks and boxes alone; give these on a frame")
        segment_clip(
            inputs[0], wanted, ClipOptions(model_choice, multimask, output, formats, overwrite, frame, max_frames)
        )
        return
    sources, tally = _find(inputs, recursive)
    jobs = plan(sources, formats, output, names_one_file(inputs), form) if sources else []
    place = from_environment()
    book = book_of(jobs, output, names_one_file(inputs), place)
    with nullcontext() if book is None else book.open(tally):
        pending = _pending(place.share(jobs), overwrite, tally)
        make = functools.partial(_worker, place, wanted, model_choice, multimask, book)
        _segment_all(pending, make, workers, tally)
    tally.report(output)


def _checked(restore: str | None) -> str | None:
    """A restorer's name, once it is known to be one: before any model is loaded."""
    if restore is not None:
        from glesam.restore.registry import check_restorer

        check_restorer(restore)
    return restore


@dataclass(frozen=True)
class Wanted:
    """The objects asked for: the same in every picture, or by the picture's name.

    Attributes:
        everywhere: prompts for all pictures, or None.
        file: where `by_name` comes from, or None.
        by_name: prompts of a prompts file.
        everything: settings of everything mode, which needs no prompts; else None.
        tile: side of tiles or windows for big pictures, or None.
        derived: examples, a start mask, a heat map or the subject; else None.
        check: say which clicks look wrong.
        named: words to find, or labels for everything; else None.
    """

    everywhere: Prompts | None
    file: Path | None = None
    by_name: dict[str, Prompts] = field(default_factory=dict)
    everything: dict[str, Any] | None = None
    tile: int | None = None
    derived: DerivedWish | None = None
    check: bool = False
    named: NamedWish | None = None

    @classmethod
    def parse(cls, points: Sequence[str], boxes: Sequence[str], file: Path | None) -> Wanted:
        """Read the options; nothing is guessed when there are none.

        Raises:
            PromptError: no prompt, both kinds, or one that cannot be read.
        """
        from glesam.prompts.file import read_prompts_file
        from glesam.prompts.prompts import Prompts, parse_box, parse_point

        if file is not None:
            if points or boxes:
                raise PromptError("expected --prompts or --point and --box, got both; put all into the prompts file")
            return cls(None, file, read_prompts_file(file))
        if not points and not boxes:
            raise PromptError(
                "expected --point, --box, --prompts, --text, --like, --subject or --everything, got none; say what to "
                "segment, as --point 320,240"
            )
        clicks = [parse_point(text) for text in points]
        frames = [parse_box(text) for text in boxes]
        if not clicks:
            return cls(Prompts(boxes=frames))
        # The points are the first object, without a box; each box is one more, without points.
        coords, labels = [[(x, y) for x, y, _ in clicks]], [[label for _, _, label in clicks]]
        empty: list[list[int]] = [[] for _ in frames]
        return cls(Prompts([*coords, *empty], [*labels, *empty], [None, *frames] if frames else None))

    def of(self, source: ImageSource) -> Prompts:
        """Prompts of one picture.

        Raises:
            PromptError: the prompts file does not know the picture; names what comes nearest.
        """
        if self.everywhere is not None:
            return self.everywhere
        place = "" if source.path is None else source.path.absolute().as_posix()
        # A file named outright is called by its name alone; the prompts file may hold more of its path.
        longer = [key for key in self.by_name if key.endswith("/" + source.name) and f"/{place}".endswith("/" + key)]
        key = source.name if source.name in self.by_name else max(longer, key=len, default="")
        if key:
            return self.by_name[key]
        cure = hint(source.name, self.by_name, "add it there, or leave the image out")
        raise PromptError(f"expected prompts for {source.name} in {self.file}, found none; {cure}")

    def question(self, source: ImageSource, multimask: bool) -> Callable[[Predictor], Masks]:
        """What to ask a predictor that has the picture.

        Raises:
            PromptError: as `of`.
        """
        if self.named is not None:
            return self.named.question(self.everything)
        if self.everything is not None:
            settings = self.everything
            return lambda predictor: predictor.generate(**settings)
        if self.derived is not None:
            derived = self.derived
            return lambda predictor: derived.ask(predictor, source)
        prompts = self.of(source)

        def ask(predictor: Predictor) -> Masks:
            if self.check:
                speak_doubts(predictor, prompts, source.name)
            return predictor.predict(prompts, multimask=multimask, tile=self.tile)

        return ask


def _find(inputs: Sequence[str], recursive: bool) -> tuple[list[ImageSource], Tally]:
    """All pictures of the inputs that exist; the others are named and counted as failed."""
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
    """What is still to be done; a picture whose files are all there is skipped, and said to be."""
    pending = [replace(job, files=job.missing(overwrite)) for job in jobs]
    skipped = [job for job, rest in zip(jobs, pending, strict=True) if not rest.files]
    if skipped:
        example = next(iter(skipped[0].files.values()))
        warn(f"glesam: {len(skipped)} skipped, whose outputs exist, such as {example}; --overwrite replaces them")
    tally.skipped += len(skipped)
    return [job for job in pending if job.files]


def _segment_all(jobs: Sequence[Job], make: Callable[[], Callable[[Job], str]], workers: int, tally: Tally) -> None:
    """Segment picture by picture, in several processes if asked; one that fails does not stop the others."""
    if not jobs:
        return
    from glesam.common.pool import run

    # Only this process has the stdin that a picture may come from.
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
    from glesam.cli.segment.folder import device_of
    from glesam.predict.predictor import Predictor

    predictor = Predictor.from_pretrained(
        model.name,
        device_of(model.device, place),
        model.enhance,
        enhancer=model.enhancer,
        restore=model.restore,
        restore_cache=model.restore_cache,
        refine=model.refine,
        head=model.head,
        head_mode=model.head_mode,
        quality=model.quality,
    )
    return functools.partial(_segment_one, predictor=predictor, wanted=wanted, multimask=multimask, book=book)


def _segment_one(job: Job, predictor: Predictor, wanted: Wanted, multimask: bool, book: Book | None) -> str:
    """Read, segment, write; say it in one line."""
    start = time.perf_counter()
    from glesam.cli.segment.everything import spoken_warnings

    ask, image = wanted.question(job.source, multimask), _read(job.source)
    predictor.set_image(image, job.source.name)
    with spoken_warnings():
        masks = ask(predictor)
    if job.form.dataset and not masks.areas.any():
        warn(f"glesam: {job.source.name}: nothing found, left out of the data set")
        return f"{job.source.name}: no files"
    seconds = time.perf_counter() - start
    write(job, masks, image, None if book is None else lambda: book.note(job, masks, seconds))
    names = [f"{name} " for name in masks.class_names] or [""] * len(masks)
    shown = [f"{name}{score:.2f}" for name, score in zip(names, masks.scores[:5], strict=False)]
    scores = ", ".join(shown) + (", ..." if len(masks) > 5 else "")
    scores = scores or "none"
    targets = ", ".join("stdout" if path is None else str(path) for path in job.files.values())
    return f"{job.source.name}: {len(masks)} {'mask' if len(masks) == 1 else 'masks'} (score {scores}) -> {targets}"


def _read(source: ImageSource) -> RGB:
    """Read a picture; what its reader warns of becomes a line on stderr."""
    from glesam.cli.segment.everything import spoken_warnings

    with spoken_warnings():
        return source.read()


@contextmanager
def _counted(tally: Tally, name: str) -> Iterator[None]:
    """Let a failure of one picture be counted instead of ending the run."""
    try:
        yield
    except GlesamError as error:
        tally.fail(name, error)
