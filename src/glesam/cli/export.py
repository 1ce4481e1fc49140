"""`glesam export`: a model as ONNX or OpenVINO graphs, compared with torch."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from glesam.cli.common import console
from glesam.cli.segment.options import HeadMode, HeadName
from glesam.cli.verb_options import VerbOptions, takes

if TYPE_CHECKING:
    from glesam.export.check import GraphComparison


class Format(StrEnum):
    """What to export to."""

    onnx = "onnx"
    openvino = "openvino"


class ExportOptions(VerbOptions):
    """Options of `glesam export`."""

    output: Annotated[Path, typer.Option("--output", "-o", help="Folder to make.", metavar="FOLDER")]
    model: Annotated[str, typer.Option(help="Name (see 'glesam models') or folder of a saved model.")] = "compact"
    format: Annotated[Format, typer.Option(help="What to export to.")] = Format.onnx
    image: Annotated[
        list[str] | None,
        typer.Option(
            "--image",
            "--photo",
            help="Images, folders or patterns to compare with torch on; repeatable. Give some of your own; without "
            "any, two drawn images serve.",
            metavar="INPUT",
        ),
    ] = None
    enhancer: Annotated[
        Path | None,
        typer.Option(help="Enhancer made for this model, a folder or gle; exported with it.", metavar="FOLDER|NAME"),
    ] = None
    head: HeadName = None
    head_mode: HeadMode = None
    int8: Annotated[
        bool, typer.Option("--int8", help="OpenVINO: weights of 8 bits, a quarter of the size (extra int8).")
    ] = False
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace an exported folder.")] = False


@takes(ExportOptions)
def export(options: ExportOptions) -> None:
    """Export encoder, decoder and, where a compact model has one, enhancer, and compare them with torch.

    Takes the compact model, SAM, MobileSAM and SAM 2, the last three with or without an hq head.

    An export whose masks differ from torch's (IoU below 0.995 on any prompt, with --int8 below a mean of 0.95) is
    refused, and leaves nothing behind.
    Run it with Predictor.from_pretrained(FOLDER) or glesam segment --model FOLDER.
    """
    from glesam.export.folder import export as export_folder
    from glesam.images.sources import iterate
    from glesam.predict.predictor import Predictor

    images = (source.read() for source in iterate(options.image)) if options.image else iter(())
    predictor = Predictor.from_pretrained(
        options.model, enhancer=options.enhancer, head=options.head, head_mode=options.head_mode
    )
    _print(export_folder(predictor, options.output, options.format.value, images, options.overwrite, options.int8))
    console.print(f"wrote {options.output}", markup=False, highlight=False, soft_wrap=True)


def _print(comparison: GraphComparison) -> None:
    from rich.table import Table

    table = Table("part", "largest difference from torch", box=None)
    for part, error in comparison.errors.items():
        table.add_row(part, f"{error:.2e}")
    console.print(table)
    table = Table("masks", "number", "least IoU with torch's", "mean", box=None)
    for name, ious in comparison.ious.items():
        table.add_row(name, str(len(ious)), f"{min(ious):.5f}", f"{sum(ious) / len(ious):.5f}")
    console.print(table)
    console.print(f"compared on {comparison.images} images; least IoU {comparison.lowest:.5f}", highlight=False)
