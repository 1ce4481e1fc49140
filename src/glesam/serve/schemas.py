"""Schemas of requests and answers; unknown keys are refused, so that typos are noticed."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from glesam.prompts.file import ObjectPrompt

EnhanceMode = Literal["on", "off", "auto"]
MaskFormat = Literal["rle", "polygons", "png"]
Id = Annotated[str, Field(max_length=64, description="As `POST /v1/embed` gave it.")]
Base64 = Annotated[str, Field(description="An encoded image in base64; no address is ever fetched.")]
EnhanceField = Annotated[
    EnhanceMode | None, Field(description="Whether the enhancer is used; the server's own mode if left out.")
]


RefineField = Annotated[
    Literal["auto", "off"] | None,
    Field(description="Whether masks are refined; the server's own mode if left out."),
]


class ServedPrompt(ObjectPrompt):
    """One object, which may continue an earlier answer."""

    mask_input: Annotated[
        str | None, Field(description="`logits` of an earlier answer for the object, with `logits` asked for.")
    ] = None


class ImageRequest(BaseModel):
    """An image, given by its id or in base64."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Id | None = None
    image: Base64 | None = None


class SegmentRequest(ImageRequest):
    """The objects to segment in an image."""

    objects: Annotated[list[ServedPrompt], Field(min_length=1)]
    multimask: Annotated[bool, Field(description="Give three candidates for each object too.")] = False
    enhance: EnhanceField = None
    refine: RefineField = None
    format: MaskFormat = "rle"
    logits: Annotated[bool, Field(description="Give the low-resolution logits too, for `mask_input`.")] = False


class EverythingRequest(ImageRequest):
    """An image in which every object is to be segmented."""

    enhance: EnhanceField = None
    refine: RefineField = None
    points_per_side: Annotated[
        int | None, Field(ge=1, description="Points of the grid along each side; the library's number if left out.")
    ] = None
    format: MaskFormat = "rle"


class TextRequest(ImageRequest):
    """An image in which objects named by words are to be found."""

    text: Annotated[str, Field(max_length=4096, description="English nouns, as `dog; cup`.")]
    enhance: EnhanceField = None
    refine: RefineField = None
    format: MaskFormat = "rle"


class RunLengths(BaseModel):
    """A mask as COCO RLE, as answers give it."""

    model_config = ConfigDict(extra="forbid", strict=True)

    size: Annotated[list[Annotated[int, Field(ge=1)]], Field(min_length=2, max_length=2, description="Height, width.")]
    counts: Annotated[str, Field(min_length=1)]


class ExampleImage(BaseModel):
    """An embedded image and its objects of the kind that is wanted; all of them, as the rest counts as another kind."""

    model_config = ConfigDict(extra="forbid", strict=True)

    id: Id
    objects: Annotated[list[RunLengths], Field(min_length=1)]


class LikeRequest(ImageRequest):
    """An image in which the objects of others are looked for."""

    examples: Annotated[list[ExampleImage], Field(min_length=1, max_length=8)]
    threshold: Annotated[
        float | None, Field(ge=0, le=1, description="Least likeness; chosen from the examples if left out.")
    ] = None
    enhance: EnhanceField = None
    refine: RefineField = None
    format: MaskFormat = "rle"


class DegradeRequest(ImageRequest):
    """An image to be degraded: by an LQSeg level, or by a kind with its severity."""

    level: Annotated[int, Field(ge=1, le=3)] | None = None
    kind: Annotated[str, Field(max_length=64)] | None = None
    severity: Annotated[int, Field(ge=1, le=5)] | None = None
    seed: Annotated[int, Field(ge=0, lt=2**63)] = 0
    name: Annotated[
        str | None,
        Field(max_length=255, description="File name: with it, the same pixels as `glesam degrade` of that file."),
    ] = None


class ErrorAnswer(BaseModel):
    """The body of every answer other than 2xx."""

    error: Annotated[str, Field(description="What was expected, what came, and the cure, in one line.")]


class HealthAnswer(BaseModel):
    """The server is running."""

    status: Literal["ok"]


class EmbedAnswer(BaseModel):
    """An embedded image."""

    id: Annotated[str, Field(description="Hash of the pixels: the same image has the same id.")]
    width: int
    height: int
    degraded: Annotated[bool | None, Field(description="What the gate says; null where it was not asked.")]
    milliseconds: float


class MaskAnswer(BaseModel):
    """One mask, in one of three forms."""

    score: Annotated[float, Field(description="Predicted IoU.")]
    bbox: Annotated[list[float], Field(description="x, y, width, height in pixels.")]
    area: int
    rle: Annotated[dict[str, Any], Field(description="COCO RLE: size [height, width], counts as text.")] | None = None
    polygons: (
        Annotated[list[list[list[float]]], Field(description="Rings of [x, y]; a hole turns the other way.")] | None
    ) = None
    logits: (
        Annotated[str, Field(description="Low-resolution logits: a square of float16, little-endian, in base64.")]
        | None
    ) = None
    png: Annotated[str, Field(description="8-bit grey PNG of 0 and 255 in base64.")] | None = None


class ObjectAnswer(MaskAnswer):
    """The best mask of one object."""

    candidates: list[MaskAnswer] | None = None


class SegmentAnswer(BaseModel):
    """Masks in the order of the requested objects."""

    width: int
    height: int
    enhanced: bool
    milliseconds: float
    objects: list[ObjectAnswer]


class NamedAnswer(MaskAnswer):
    """An object found by a word; `score` is the confidence that it is one."""

    class_name: str


class TextAnswer(BaseModel):
    """Objects, grouped by word in the order of the request."""

    width: int
    height: int
    enhanced: bool
    milliseconds: float
    words: Annotated[dict[str, float], Field(description="Confidence that the image shows each word, 0 to 1.")]
    objects: list[NamedAnswer]


class LikeAnswer(BaseModel):
    """What looks like the examples, most alike first; `score` is the likeness, 0 to 1."""

    width: int
    height: int
    enhanced: bool
    milliseconds: float
    threshold: float
    objects: list[ObjectAnswer]


class EverythingAnswer(BaseModel):
    """All objects, with the keys of segment-anything, and one of `segmentation` (RLE), `polygons` and `png`."""

    width: int
    height: int
    enhanced: bool
    milliseconds: float
    objects: list[dict[str, Any]]


class DegradationsAnswer(BaseModel):
    """What `POST /v1/degrade` takes."""

    levels: list[int]
    kinds: list[str]


class ModelsAnswer(BaseModel):
    """The model, and the limits of a request."""

    models: list[dict[str, Any]]
    default: str
    enhancer: bool
    gate: bool
    enhance: EnhanceMode
    restore: str | None
    head: Annotated[str | None, Field(description="Kind of the mask head, such as hq; null for the model's own masks.")]
    made_by: Annotated[str, Field(description="Differs where weights or settings do that give other masks.")]
    limits: dict[str, float]
