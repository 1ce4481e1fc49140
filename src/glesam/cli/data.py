"""`glesam data`: build a degraded set, verify it, and check one's own set."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from glesam.cli.common import FAILED, console, progress, warn
from glesam.cli.verb_options import VerbOptions, takes
from glesam.common.messages import shown

if TYPE_CHECKING:
    from glesam.data.base import SegmentationDataset
    from glesam.data.build.options import BuildConfig
    from glesam.data.build.sample import SampleOutcome
    from glesam.data.check.check import CheckReport

app = typer.Typer(
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

DataFolder = Annotated[Path, typer.Argument(help="Data set: its folder, or the json of COCO or LVIS.")]
LayoutOption = Annotated[
    str | None,
    typer.Option(
        help="folder, coco, lvis, thinobject, msra10k, ecssd, duts, bdd100k, bdd100k-semantic, acdc, hqseg44k, lqseg; "
        "recognised by default."
    ),
]
SplitOption = Annotated[
    str | None,
    typer.Option(help="Part of the set, such as val2017 (COCO), test (ThinObject-5K), TE (DUTS), val (BDD-100K)."),
]

VoidOption = Annotated[
    bool,
    typer.Option("--keep-void", help="Plain folders: 255 in palette masks is an object, not VOC's void."),
]


@app.callback()
def _quiet() -> None:
    """Look at data sets, and build degraded ones."""
    import os

    # Undecodable files are reported by glesam in one line; set before it is loaded, and passed on to the workers.
    os.environ.setdefault("OPENCV_LOG_LEVEL", "SILENT")


class BuildOptions(VerbOptions):
    """Source and options of `glesam data build`."""

    source: DataFolder
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the built set; a stopped run is resumed there.")
    ]
    levels: Annotated[str, typer.Option(help="Levels to make, of 1 (light), 2 and 3 (heavy).")] = "1,2,3"
    recipe: Annotated[str, typer.Option(help="test: the paper's recipe for test sets; train: that of training.")] = (
        "test"
    )
    seed: Annotated[int, typer.Option(help="With name and level of an image, the source of all chance.")] = 0
    objects: Annotated[
        str, typer.Option("--object", help="all: instance ids; largest or random: one object an image (0/255).")
    ] = "all"
    min_share: Annotated[
        float, typer.Option(help="Leave out objects that cover less of the image than this share.")
    ] = 0.0
    image_format: Annotated[
        str,
        typer.Option("--format", help="png or webp, both lossless: a lossy file would degrade the level once more."),
    ] = "png"
    limit: Annotated[int | None, typer.Option(help="Build the first so many images by name only.")] = None
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores when not given.")] = None
    layout: LayoutOption = None
    split: SplitOption = None
    keep_void: VoidOption = False

    def build_config(self) -> BuildConfig:
        """How the set is built.

        Raises:
            ConfigError: an option that cannot be read.
        """
        from glesam.data.build.options import BuildConfig

        options: dict[str, Any] = {"recipe": self.recipe, "objects": self.objects, "image_format": self.image_format}
        return BuildConfig(_levels(self.levels), seed=self.seed, min_share=self.min_share, limit=self.limit, **options)


@app.command()
@takes(BuildOptions)
def build(options: BuildOptions) -> None:
    """Build an LQSeg set: clear/, lq1/, lq2/, lq3/, masks/ and manifest.json with seeds and hashes of every file."""
    from glesam.data.build.builder import build as build_set
    from glesam.data.readers.registry import open_dataset

    config = options.build_config()
    dataset = open_dataset(options.source, options.layout, split=options.split, keep_void=options.keep_void)
    with progress(len(dataset.names[: options.limit]), "build") as advance:

        def step(outcome: SampleOutcome) -> None:
            if outcome.error is not None:
                warn(f"glesam: error: {outcome.name}: {outcome.error}")
            advance()

        report = build_set(dataset, options.output, config, options.workers, step)
    left_out = f", {len(report.without_object)} without object left out" if report.without_object else ""
    warn(f"{report.built} images built, {report.kept} kept{left_out}, {len(report.failed)} failed: {report.manifest}")
    if report.failed:
        raise typer.Exit(FAILED)


class VerifyOptions(VerbOptions):
    """Folder and options of `glesam data verify`."""

    folder: Annotated[Path, typer.Argument(help="Folder of a built set.")]
    pixels: Annotated[
        bool, typer.Option("--pixels", help="Compare decoded pixels only: for a set built on another machine.")
    ] = False
    manifest: Annotated[
        Path | None,
        typer.Option(help="Manifest to compare with, such as another machine's; the folder's own by default."),
    ] = None


@app.command()
@takes(VerifyOptions)
def verify(options: VerifyOptions) -> None:
    """Compare every file of a built set with its manifest; list what is missing, changed or extra."""
    from glesam.data.build.manifest import Manifest
    from glesam.data.build.verify import verify as verify_set

    total = sum(len(sample.files) for sample in Manifest.load(options.manifest or options.folder).samples.values())
    with progress(total, "verify") as advance:
        report = verify_set(options.folder, options.pixels, options.manifest, advance)
    for problem in report.problems:
        typer.echo(shown(f"{problem.kind:8} {problem.path}  ({problem.detail})"))
    warn(f"{report.checked} files compared, {len(report.problems)} problems")
    if report.problems:
        raise typer.Exit(FAILED)


class SetOptions(VerbOptions):
    """A data set, and how it is read."""

    folder: DataFolder
    layout: LayoutOption = None
    split: SplitOption = None
    keep_void: VoidOption = False


class CheckOptions(SetOptions):
    """Data set and options of `glesam data check`."""

    contact_sheet: Annotated[
        Path | None,
        typer.Option(help="Write an image of samples with their masks drawn over them, faulty ones first."),
    ] = None


@app.command()
@takes(CheckOptions)
def check(options: CheckOptions) -> None:
    """Show what is wrong with a data set: sizes, empty masks, unreadable files, missing partners, doubtful names."""
    from glesam.draw.sheet import check_suffix, wrapped, write_contact_sheet

    sheet = options.contact_sheet
    if sheet is not None:
        check_suffix(sheet)
    report, tiles = _checked(options)
    _print_report(options.folder, report)
    if sheet is not None:
        write_contact_sheet(sheet, wrapped(tiles()))
        warn(f"contact sheet: {sheet}")
    if report.problems:
        raise typer.Exit(FAILED)


def _checked(options: CheckOptions) -> tuple[CheckReport, Any]:
    """Report of a set, and the function that gives the tiles of its contact sheet."""
    from glesam.data.check.check import check_dataset, check_folder
    from glesam.data.check.files import scan_folder
    from glesam.data.check.tiles import dataset_tiles, folder_tiles
    from glesam.data.readers.registry import open_dataset, recognise

    folder, keep_void = options.folder, options.keep_void
    key = options.layout or (recognise(folder).key if folder.exists() else None)
    if key == "folder":
        # Not through the reader, which stops at the first fault: the check is to name them all.
        with progress(len(scan_folder(folder).images), "check") as advance:
            plain = check_folder(folder, advance, keep_void)
        return plain, lambda: folder_tiles(folder, plain)
    dataset: SegmentationDataset = open_dataset(folder, key, split=options.split, keep_void=keep_void)
    with progress(len(dataset), "check") as advance:
        report = check_dataset(dataset, advance)
    return report, lambda: dataset_tiles(dataset, report)


class OffsetOptions(SetOptions):
    """Data set and options of `glesam data offset`."""

    images: Annotated[int, typer.Option(min=5, help="Images to look at, spread over the set.")] = 120


@app.command()
@takes(OffsetOptions)
def offset(options: OffsetOptions) -> None:
    """Measure how far masks lie right of and below their images, by the images' edges; see `offsets` of training."""
    from glesam.data.offset import mask_offset
    from glesam.data.readers.registry import open_dataset
    from glesam.errors import DataError

    dataset = open_dataset(options.folder, options.layout, split=options.split, keep_void=options.keep_void)
    found = mask_offset(dataset, options.images)
    if found is None:
        raise DataError(
            f"expected images in {options.folder} whose edges lie near those of their masks, got too few to measure; "
            "give a larger set, or more --images"
        )
    places = f"x {found.x:+.2f} (standard error {found.error_x:.2f}), y {found.y:+.2f} ({found.error_y:.2f})"
    typer.echo(f"{shown(dataset.name)}: {places} pixels, by {found.images} images")


def _print_report(folder: Path, report: CheckReport) -> None:
    """Print the summary table, then every problem by name."""
    from rich.markup import escape
    from rich.table import Table

    from glesam.data.check.check import KINDS

    title = f"{shown(folder)}: {report.samples} images, {report.objects} objects, {len(report.problems)} problems"
    if not report.findings:
        console.print(escape(title), highlight=False, soft_wrap=True)
        return
    table = Table("finding", "number", "meaning", "first", title=escape(title))
    for kind, found in report.by_kind().items():
        style = "red" if KINDS[kind].severity == "problem" else "dim"
        table.add_row(kind, str(len(found)), KINDS[kind].meaning, escape(shown(found[0].name)), style=style)
    console.print(table)
    for finding in report.problems:
        detail = f" ({finding.detail})" if finding.detail else ""
        typer.echo(shown(f"{finding.kind}: {finding.name}{detail}"))


def _levels(text: str) -> tuple[int, ...]:
    """Parse `1,2,3`, or `lq1,lq3`.

    Raises:
        ConfigError: a part is no level; the message gives the nearest.
    """
    from glesam.degrade.lqseg.pipeline import parse_level

    return tuple(parse_level(part) for part in text.split(","))
