"""Arguments and options of `glesam segment` that its other files do not bring."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from pydantic import Field

from glesam.cli.common import Enhance
from glesam.cli.segment.choice import Quality, Refine

Inputs = Annotated[
    list[str],
    typer.Argument(
        help="Images, folders, patterns such as 'photos/*.jpg', - for stdin; or one clip, or camera:0.",
        metavar="INPUT...",
    ),
]
PointTexts = Annotated[
    list[str] | None,
    typer.Option(
        help="x,y on the object, or x,y,0 beside it, in pixels. Repeatable: all points are ONE object.",
        metavar="X,Y[,0|1]",
    ),
]
BoxTexts = Annotated[
    list[str] | None,
    typer.Option(
        help="x0,y0,x1,y1 around an object, in pixels. Repeatable: each box is an object of its own, also beside "
        "points; to join points and a box use --prompts.",
        metavar="X0,Y0,X1,Y1",
    ),
]
PromptsFile = Annotated[
    Path | None,
    typer.Option(
        help='JSON file with several objects for each image: {"cat.jpg": [{"points": [[320, 240]], "labels": [1], '
        '"box": [10, 20, 300, 400]}]}; names as in the folder given.',
        metavar="FILE",
    ),
]
EverythingFlag = Annotated[
    bool,
    typer.Option("--everything", help="Segment all there is, without prompts; JSON has segment-anything's keys."),
]
EverythingLike = Annotated[
    str | None,
    typer.Option(help="With --everything: as this generator does it: segment-anything.", metavar="NAME"),
]
PointsPerSide = Annotated[
    int | None, typer.Option(help="With --everything: clicks in each row and column of the grid.", metavar="N")
]
TileSide = Annotated[
    int | None,
    typer.Option(
        help="Big images: look at tiles of so many pixels with --everything, at windows around the prompts without "
        "it; try 1024.",
        metavar="PIXELS",
    ),
]
MultimaskFlag = Annotated[
    bool,
    typer.Option(
        "--multimask", help="With clicks and boxes: predict three candidates and keep the best; --npz holds all three."
    ),
]
ModelName = Annotated[
    str, typer.Option(help="Name (see 'glesam models'), folder of a saved model, hub id, or .pth/.pt file.")
]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto for the fastest there is.")]
EnhanceChoice = Annotated[
    Enhance, typer.Option(help="Enhance degraded images: always, never, or as the model sees fit.")
]
RefineMode = Annotated[
    Refine,
    typer.Option(help="Masks with the image's own edges, without crumbs, on which clicks hold; off: the decoder's."),
]
QualityMode = Annotated[
    Quality,
    typer.Option(
        help="high looks several times, and from near at small objects (not with --text, --tile, --everything); fast "
        "at a smaller copy."
    ),
]
EnhancerFolder = Annotated[
    Path | None,
    typer.Option(
        help="Folder of an enhancer made for the model, see 'glesam train bundle'; compact for a tuned compact; gle "
        "for one set up as the GleSAM paper says.",
        metavar="FOLDER|NAME",
    ),
]
RestoreName = Annotated[
    str | None,
    typer.Option(
        help="Restore images before the model sees them: median, nlm, deblock, gamma, clahe, unet:FOLDER, "
        "swin2sr:FOLDER, torchscript:FILE, onnx:FILE, folder:FOLDER; see docs/restore.md.",
        metavar="NAME[:ARGUMENT]",
    ),
]
RestoreCache = Annotated[
    Path | None, typer.Option(help="Folder that keeps restored images for later runs.", metavar="FOLDER")
]
HeadName = Annotated[
    str | None,
    typer.Option(
        help="Another mask head: hq (sharper masks), robust (degraded images), folder of a trained head, or an "
        "authors' file; see docs/heads.md.",
        metavar="NAME|PATH",
    ),
]
HeadMode = Annotated[
    str | None, typer.Option(help="hq heads: sum (with the model's own masks) or hq alone.", metavar="MODE")
]
Output = Annotated[
    str | None,
    typer.Option(
        "--output",
        "-o",
        help="File (.png, .json, .geojson, .npz), folder, or - for stdout. Without it: beside the image as "
        "photo.mask.png; one image in one format goes to stdout if that is redirected.",
    ),
]
OverlayFlag = Annotated[bool, typer.Option("--overlay", help="Also write the image with its masks drawn in.")]
JsonFlag = Annotated[
    bool, typer.Option("--json", help="Also write COCO JSON: RLE, boxes, scores."), Field(alias="json")
]
PolygonsFlag = Annotated[bool, typer.Option("--polygons", help="Also write outlines as GeoJSON, in pixels.")]
NpzFlag = Annotated[bool, typer.Option("--npz", help="Also write all arrays, with low-resolution logits.")]
RecursiveFlag = Annotated[bool, typer.Option("--recursive", "-r", help="Go into sub-folders.")]
OverwriteFlag = Annotated[bool, typer.Option("--overwrite", help="Replace outputs that are there already.")]
Workers = Annotated[
    int, typer.Option(min=1, help="Processes that work at once on many images; each holds a model of its own.")
]
FrameNumber = Annotated[int, typer.Option(min=0, help="Clips: the frame, from 0, that the prompts are on.")]
Correct = Annotated[
    Path | None,
    typer.Option(
        help='Clips: JSON of corrections by frame, as {"30": [{"object": 1, "box": [...]}]}; they hold from there on.',
        metavar="FILE",
    ),
]
MaxFrames = Annotated[int | None, typer.Option(min=1, help="Clips and cameras: end after so many frames with results.")]
