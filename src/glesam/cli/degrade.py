"""`glesam degrade`: clean images in, low-quality ones out."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glesam.cli.common import FAILED, handle_errors, progress, tell_outdated, warn
from glesam.cli.verb_options import VerbOptions, takes

if TYPE_CHECKING:
    from collections.abc import Sequence

    from glesam.degrade.batch import Outcome, Task
    from glesam.draw.sheet import Tile
    from glesam.images.sources import ImageSource

# Rows of images, and variants in a row; of more variants than that, one image is shown in lines of four.
_SHEET_ROWS, _SHEET_VARIANTS, _WRAP, _SHEET_SIDE = 6, 5, 4, 240


class DegradeOptions(VerbOptions):
    """Inputs and options of `glesam degrade`."""

    inputs: Annotated[list[str], typer.Argument(help="Images, folders, glob patterns, or - for stdin.")]
    output: Annotated[
        Path, typer.Option("--output", "-o", help="Folder of the results; a stopped run is resumed there.")
    ]
    recipe: Annotated[str, typer.Option(help="lqseg, robustseg or real.")] = "lqseg"
    level: Annotated[str | None, typer.Option(help="lqseg: 1 (mild), 2, 3, or all (default); 1,3 for two.")] = None
    lqseg_recipe: Annotated[
        str | None, typer.Option(help="lqseg: test (default), as the published test sets; train, as training pairs.")
    ] = None
    kind: Annotated[
        str | None, typer.Option(help="robustseg, real: a kind such as fog, or all (default); fog,rain for two.")
    ] = None
    severity: Annotated[str | None, typer.Option(help="robustseg, real: 1 (mild) to 5, or all; 3 by default.")] = None
    seed: Annotated[int, typer.Option(help="With the name of an image, the source of all chance.")] = 0
    image_format: Annotated[
        str,
        typer.Option("--format", help="png or webp, both lossless: a lossy file would degrade once more, unrecorded."),
    ] = "png"
    contact_sheet: Annotated[
        Path | None, typer.Option(help="Also write an image (.png, .jpg) of clean and degraded ones side by side.")
    ] = None
    record: Annotated[bool, typer.Option("--record", help="Write every random draw to a .json per image.")] = False
    recursive: Annotated[bool, typer.Option("--recursive", "-r", help="Go into sub-folders too.")] = False
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace what is there already; images of other options, all or none.")
    ] = False
    workers: Annotated[int | None, typer.Option(min=1, help="Processes; all cores when not given.")] = None

    def tasks(self) -> list[Task]:
        """What is to be done to each image.

        Raises:
            GlesamError: an option that cannot be read, or an input that is not there.
        """
        from glesam.degrade.batch import BatchOptions, plan
        from glesam.degrade.variants import parse_variants
        from glesam.images.sources import iterate

        variants = parse_variants(self.recipe, self.lqseg_recipe, self.level, self.kind, self.severity)
        options = BatchOptions(self.seed, self.image_format, self.overwrite, self.record, self.workers)
        if self.contact_sheet is not None:
            from glesam.draw.sheet import check_suffix

            check_suffix(self.contact_sheet)
        _check_apart(self.inputs, self.output, self.recursive, len(variants))
        tasks = plan(iterate(self.inputs, self.recursive), variants, self.output, options)
        if moving := [variant.kind for variant in variants if variant.moves_pixels]:
            names = ", ".join(dict.fromkeys(moving))
            warn(f"note: masks of the clean images will not fit: pixels are moved by {names}")
        return tasks


@handle_errors
@takes(DegradeOptions)
def degrade(options: DegradeOptions) -> None:
    """Degrade images: LQSeg levels, RobustSeg kinds, or real-world kinds.

    One variant goes into the output folder itself, several into a folder each (lq1, fog-3). Same seed and same file
    name, same pixels, whatever the order of the files.
    """
    tasks, sheet = options.tasks(), options.contact_sheet
    failed = _run(tasks, options.output)
    if sheet is not None:
        _write_sheet(sheet, tasks, failed)
    if failed:
        raise typer.Exit(FAILED)


def _run(tasks: Sequence[Task], output: Path) -> set[str]:
    """Do the tasks with a progress bar; give the labels of the tasks that failed."""
    from glesam.degrade.batch import degrade_all

    with progress(len(tasks), "degrade") as advance:

        def step(outcome: Outcome) -> None:
            if outcome.error is not None:
                warn(f"glesam: error: {outcome.label}: {outcome.error}")
            advance()

        report = degrade_all(tasks, output, step)
    tell_outdated(report.outdated)
    kept = f", {report.kept} kept (--overwrite replaces them)" if report.kept else ""
    warn(f"{report.written} images written{kept}, {len(report.failed)} sources failed: {output}")
    return set(report.failed)


def _check_apart(inputs: Sequence[str], output: Path, recursive: bool, variants: int) -> None:
    """Refuse an output folder whose images the next run would take for sources.

    Raises:
        ConfigError: the output lies in an input folder that is searched to its depth, or is one that images go into.
    """
    from glesam.errors import ConfigError

    for item in inputs:
        folder = Path(item).expanduser()
        if not folder.is_dir():
            continue
        if recursive and output.resolve().is_relative_to(folder.resolve()):
            raise ConfigError(f"expected an output folder outside of {item} with --recursive, got {output}; move it")
        if variants == 1 and output.resolve() == folder.resolve():
            raise ConfigError(
                f"expected an output folder apart from {item}, got the same, whose results the next run would degrade; "
                "choose another -o"
            )


def _write_sheet(path: Path, tasks: Sequence[Task], failed: set[str]) -> None:
    """Write the contact sheet: a row per image, or one image in several rows where the variants are many."""
    from glesam.draw.sheet import wrapped, write_contact_sheet

    done = [task for task in tasks if task.label not in failed and task.source.path is not None]
    if not done:
        warn(f"no image to show: {path} is not written")
        return
    if len(done[0].outputs) <= _SHEET_VARIANTS:
        rows = [_tiles(task) for task in done[:_SHEET_ROWS]]
    else:
        rows = wrapped(_tiles(done[0]), _WRAP)
    write_contact_sheet(path, rows, _SHEET_SIDE)
    warn(f"contact sheet: {path}")


def _tiles(task: Task) -> list[Tile]:
    """The clean image and its degraded ones, as they were written, with PSNR in dB where sizes agree."""
    import cv2

    from glesam.draw.sheet import Tile
    from glesam.images.reading import read

    clean = task.source.read()
    tiles = [Tile(_name(task.source), clean)]
    for variant, path in task.outputs:
        image = read(path)
        told = f": {cv2.PSNR(clean, image):.1f} dB" if image.shape == clean.shape else ""
        tiles.append(Tile(f"{variant.caption}{told}", image))
    return tiles


def _name(source: ImageSource) -> str:
    """Caption of a clean image."""
    return f"clean: {source.name}"
