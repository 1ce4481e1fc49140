"""`glesam segment`: images in, masks out."""

from __future__ import annotations

from collections.abc import Sequence
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
    AmodalFlag,
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
    BoxTexts,
    Correct,
    Device,
    EnhanceChoice,
    EnhancerFolder,
    EverythingFlag,
    EverythingLike,
    FrameNumber,
    HeadMode,
    HeadName,
    Inputs,
    JsonFlag,
    MaxFrames,
    ModelName,
    MultimaskFlag,
    NpzFlag,
    Output,
    OverlayFlag,
    OverwriteFlag,
    PointsPerSide,
    PointTexts,
    PolygonsFlag,
    PromptsFile,
    QualityMode,
    RecursiveFlag,
    RefineMode,
    RestoreCache,
    RestoreName,
    TileSide,
    Workers,
)
from glesam.cli.segment.reading import Bands, ValueRange, read_options
from glesam.cli.segment.wanted import Wanted
from glesam.cli.segment.words import LabelBy, LabelFlag, Text, TextModelFolder, asked_words
from glesam.cli.verb_options import VerbOptions, takes
from glesam.errors import ConfigError


class SegmentOptions(VerbOptions):
    """Inputs and options of `glesam segment`."""

    inputs: Inputs
    point: PointTexts = None
    box: BoxTexts = None
    prompts: PromptsFile = None
    like: Like = None
    like_mask: LikeMask = None
    unlike: Unlike = None
    likeness: Likeness = None
    feature_cache: FeatureCacheFolder = None
    start_mask: StartMask = None
    heat_map: HeatMap = None
    subject: SubjectFlag = False
    check_prompts: CheckPrompts = False
    text: Text = None
    text_model: TextModelFolder = None
    label: LabelFlag = False
    label_by: LabelBy = None
    everything: EverythingFlag = False
    everything_like: EverythingLike = None
    points_per_side: PointsPerSide = None
    tile: TileSide = None
    value_range: ValueRange = None
    bands: Bands = None
    multimask: MultimaskFlag = False
    model: ModelName = "compact"
    device: Device = "auto"
    enhance: EnhanceChoice = Enhance.auto
    refine: RefineMode = Refine.auto
    quality: QualityMode = Quality.standard
    enhancer: EnhancerFolder = None
    restore: RestoreName = None
    restore_cache: RestoreCache = None
    head: HeadName = None
    head_mode: HeadMode = None
    output: Output = None
    overlay: OverlayFlag = False
    json_file: JsonFlag = False
    polygons: PolygonsFlag = False
    cutout: CutoutFlag = False
    amodal: AmodalFlag = False
    crop: CropFlag = False
    simplify: Simplify = None
    boxes: BoxesFlag = False
    labels: LabelsFor = None
    layout: LayoutChoice = FolderLayout.flat
    npz: NpzFlag = False
    recursive: RecursiveFlag = False
    overwrite: OverwriteFlag = False
    workers: Workers = 1
    frame: FrameNumber = 0
    max_frames: MaxFrames = None
    correct: Correct = None

    def model_choice(self) -> ModelChoice:
        """The model, and what happens to images before it; a restorer is known to be one before any model is loaded.

        Raises:
            ConfigError: no such restorer.
        """
        if self.restore is not None:
            from glesam.restore.registry import check_restorer

            check_restorer(self.restore)
        return ModelChoice(
            self.model,
            self.device,
            self.enhance.value,
            self.enhancer,
            self.restore,
            self.restore_cache,
            self.refine.value,
            self.head,
            self.head_mode,
            self.quality.value,
        )

    def wanted(self) -> Wanted:
        """The objects asked for.

        Raises:
            GlesamError: options that do not fit together, or of which one cannot be read.
        """
        from glesam.cli.segment.everything import everything_settings

        clicked = bool(self.point or self.box or self.prompts)
        derived = derived_wish(
            self.like,
            self.like_mask,
            self.unlike,
            self.likeness,
            self.feature_cache,
            self.start_mask,
            self.heat_map,
            self.subject,
        )
        derived_fits(derived, clicked or self.everything, self.tile, self.check_prompts and not clicked)
        prompted = clicked or derived is not None
        reading, words = read_options(self.value_range, self.bands), (self.text, self.text_model)
        named = asked_words(*words, self.label, self.label_by, prompted, self.everything, self.tile, reading)
        settings = everything_settings(self.everything, clicked, self.points_per_side, self.tile, self.everything_like)
        without = settings is not None or derived is not None or named is not None
        if self.multimask and without:
            raise ConfigError("expected --multimask beside clicks and boxes only; leave --multimask out")
        wanted = Wanted(None) if without else Wanted.parse(self.point or [], self.box or [], self.prompts)
        wanted = replace(wanted, everything=settings, tile=self.tile, derived=derived, named=named)
        wanted = replace(wanted, amodal=self.amodal)
        return replace(wanted, check=self.check_prompts, reading=reading)

    @property
    def formats(self) -> list[str]:
        """The outputs asked for besides the mask, of `outputs.ENDINGS`."""
        flags = {"overlay": self.overlay, "json": self.json_file, "polygons": self.polygons, "npz": self.npz}
        flags |= {"classes": self.label, "cutout": self.cutout, "amodal": self.amodal, "boxes": self.boxes}
        flags |= {tool.value: True for tool in self.labels or ()}
        return [name for name, asked in flags.items() if asked]

    def form(self, words: Sequence[str]) -> Form:
        """The form of the outputs, for the words that are looked for.

        Raises:
            ConfigError: options of outputs that do not fit together.
        """
        return Form.parse(self.formats, self.crop, self.simplify, self.layout, words)


@takes(SegmentOptions)
def segment(options: SegmentOptions) -> None:
    """Segment images: each object named by a prompt becomes a mask.

    Writes a PNG with the number of the object at each pixel (0 outside), at the image's size, and on request other
    formats beside it. To stdout goes one format only: the PNG, or the one asked for.

    Of many images with -o FOLDER also results.csv and contact-sheet.jpg. Under torchrun each job takes its share.

    Exit status: 0 done, 1 an image failed (named; the others are done), 2 wrong use.
    """
    from glesam.cli.segment.clip import ClipOptions, asks_for_video, fits_clip, fits_images, segment_clip
    from glesam.cli.segment.run import ImageOptions, segment_images

    model, wanted = options.model_choice(), options.wanted()
    form = options.form(() if wanted.named is None else wanted.named.words)
    inputs, outputs = options.inputs, (options.multimask, options.output, options.formats)
    if asks_for_video(inputs):
        fits_clip(wanted, form)
        clip = ClipOptions(model, *outputs, options.overwrite, options.frame, options.max_frames, options.correct)
        segment_clip(inputs[0], wanted, clip)
    else:
        fits_images(options.frame, options.max_frames, options.correct)
        images = ImageOptions(model, *outputs, form, options.recursive, options.overwrite, options.workers)
        segment_images(inputs, wanted, images)
