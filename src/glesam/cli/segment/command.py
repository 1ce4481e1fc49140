"""`glesam segment`: photos in, masks out."""

from __future__ import annotations

from dataclasses import replace

from glesam.cli.common import Enhance
from glesam.cli.segment.choice import ModelChoice, Quality, Refine
from glesam.cli.segment.derived import (
    CheckPrompts,
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
)
from glesam.cli.segment.forms import (
    BoxesFlag,
    CropFlag,
    CutoutFlag,
    FolderLayout,
    Form,
    LabelsFor,
    LayoutChoice,
    Simplify,
)
from glesam.cli.segment.options import (
    Boxes,
    Device,
    EnhanceMode,
    EnhancerFolder,
    EverythingFlag,
    EverythingLike,
    FrameNumber,
    HeadMode,
    HeadName,
    Inputs,
    JsonFlag,
    MaxFrames,
    Model,
    MultimaskFlag,
    NpzFlag,
    Output,
    OverlayFlag,
    OverwriteFlag,
    Points,
    PointsPerSide,
    PolygonsFlag,
    PromptsFile,
    QualityMode,
    RecursiveFlag,
    RefineMode,
    RestoreCache,
    RestoreName,
    Tile,
    Workers,
)
from glesam.cli.segment.reading import Bands, ValueRange, read_options
from glesam.cli.segment.wanted import Wanted
from glesam.cli.segment.words import LabelFlag, Text, TextModelFolder, asked_words


def segment(
    inputs: Inputs,
    point: Points = None,
    box: Boxes = None,
    prompts: PromptsFile = None,
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
    everything: EverythingFlag = False,
    everything_like: EverythingLike = None,
    points_per_side: PointsPerSide = None,
    tile: Tile = None,
    value_range: ValueRange = None,
    bands: Bands = None,
    multimask: MultimaskFlag = False,
    model: Model = "compact",
    device: Device = "auto",
    enhance: EnhanceMode = Enhance.auto,
    refine: RefineMode = Refine.auto,
    quality: QualityMode = Quality.standard,
    enhancer: EnhancerFolder = None,
    restore: RestoreName = None,
    restore_cache: RestoreCache = None,
    head: HeadName = None,
    head_mode: HeadMode = None,
    output: Output = None,
    overlay: OverlayFlag = False,
    json: JsonFlag = False,
    polygons: PolygonsFlag = False,
    cutout: CutoutFlag = False,
    crop: CropFlag = False,
    simplify: Simplify = None,
    boxes: BoxesFlag = False,
    labels: LabelsFor = None,
    layout: LayoutChoice = FolderLayout.flat,
    npz: NpzFlag = False,
    recursive: RecursiveFlag = False,
    overwrite: OverwriteFlag = False,
    workers: Workers = 1,
    frame: FrameNumber = 0,
    max_frames: MaxFrames = None,
) -> None:
    """Segment photos: each object named by a prompt becomes a mask.

    Writes a PNG with the number of the object at each pixel (0 outside), at the photo's size, and on request other
    formats beside it. To stdout goes one format only: the PNG, or the one asked for.

    Of many photos with -o FOLDER also results.csv and contact-sheet.jpg. Under torchrun each job takes its share.

    Exit status: 0 done, 1 a photo failed (named; the others are done), 2 wrong use.
    """
    from glesam.cli.segment.clip import ClipOptions, asks_for_video, fits_clip, segment_clip
    from glesam.cli.segment.everything import everything_settings
    from glesam.cli.segment.run import ImageOptions, segment_images

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
    wanted = replace(wanted, reading=read_options(value_range, bands))
    flags = {"overlay": overlay, "json": json, "polygons": polygons, "npz": npz, "classes": label}
    flags |= {"cutout": cutout, "boxes": boxes} | {tool.value: True for tool in labels or ()}
    formats = [name for name, asked in flags.items() if asked]
    form = Form.parse(formats, crop, simplify, layout, () if named is None else named.words)
    if asks_for_video(inputs):
        fits_clip(wanted, form)
        clip = ClipOptions(model_choice, multimask, output, formats, overwrite, frame, max_frames)
        segment_clip(inputs[0], wanted, clip)
    else:
        options = ImageOptions(model_choice, multimask, output, formats, form, recursive, overwrite, workers)
        segment_images(inputs, wanted, options)


def _checked(restore: str | None) -> str | None:
    """A restorer's name, once it is known to be one: before any model is loaded."""
    if restore is not None:
        from glesam.restore.registry import check_restorer

        check_restorer(restore)
    return restore
