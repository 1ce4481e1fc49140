"""What `glesam segment` adds for the form of its outputs: cut-outs, outlines, boxes alone, a data set's layout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Annotated

import typer

from glesam.errors import ConfigError

CutoutFlag = Annotated[
    bool,
    typer.Option(
        "--cutout", help="Also write the objects on a transparent ground, with soft edges; -o FILE.png is then that."
    ),
]
AmodalFlag = Annotated[
    bool,
    typer.Option(
        "--amodal",
        help="Also guess what of the objects other things hide: NAME.amodal.png has whole objects, an overlay and JSON "
        "both.",
    ),
]
CropFlag = Annotated[bool, typer.Option("--crop", help="With --cutout: the part of the image that holds the objects.")]
BoxesFlag = Annotated[
    bool, typer.Option("--boxes", help="Write boxes and scores in place of masks: COCO JSON without segmentation.")
]


class Tool(StrEnum):
    """Another program that labels are written for."""

    labelme = "labelme"
    yolo = "yolo"


LabelsFor = Annotated[
    list[Tool] | None,
    typer.Option(
        "--labels", help="Also write labels for LabelMe (NAME.json) or YOLO-seg (NAME.txt). Repeatable.", metavar="TOOL"
    ),
]
Simplify = Annotated[
    float | None,
    typer.Option(min=0, help="With --polygons or --labels: how far outlines may leave masks; 1 without.", metavar="PX"),
]


class FolderLayout(StrEnum):
    """How a folder of results is laid out."""

    flat = "flat"
    dataset = "dataset"


LayoutChoice = Annotated[
    FolderLayout,
    typer.Option(help="dataset: images/ and masks/ in -o FOLDER, as 'glesam data check' and 'glesam train' take them."),
]


@dataclass(frozen=True)
class Form:
    """The form of outputs.

    Attributes:
        crop: cut-outs are cut to their objects.
        tolerance: of outlines, in pixels; see `Masks.to_polygons`.
        dataset: images and masks are laid out as a data set.
        classes: names in the order of their numbers, for formats with numbers alone.
    """

    crop: bool = False
    tolerance: float = 1.0
    dataset: bool = False
    classes: tuple[str, ...] = ()

    @classmethod
    def parse(
        cls, formats: Sequence[str], crop: bool, simplify: float | None, layout: FolderLayout, words: Sequence[str] = ()
    ) -> Form:
        """The form from the options.

        Raises:
            ConfigError: an option without the one that it belongs to.
        """
        dataset = layout is FolderLayout.dataset
        if crop and "cutout" not in formats:
            raise ConfigError("expected --cutout beside --crop, got none; add it, or leave --crop out")
        if simplify is not None and not {"polygons", *Tool} & set(formats):
            raise ConfigError("expected --polygons or --labels beside --simplify, got none; leave --simplify out")
        if dataset and "boxes" in formats:
            raise ConfigError("expected masks for --layout dataset, got --boxes; leave one of them out")
        if Tool.yolo in formats and "classes" in formats:
            raise ConfigError(
                "expected --text beside --labels yolo, got --label, whose names have no order for numbers; give the "
                "words, or leave --label out"
            )
        return cls(crop, 1.0 if simplify is None else simplify, dataset, tuple(words))
