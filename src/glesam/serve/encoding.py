"""From requests to what the library takes, and from masks to JSON."""

from __future__ import annotations

import base64
import binascii
import io
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glesam.errors import ImageError, PromptError
from glesam.masks.polygons import trace
from glesam.masks.rle import encode as encode_rle
from glesam.prompts.prompts import Prompts
from glesam.serve.refusals import RefusalError

if TYPE_CHECKING:
    from glesam.images.pixels import RGB
    from glesam.masks.masks import Masks
    from glesam.prompts.file import ObjectPrompt
    from glesam.serve.settings import ServerSettings


def encoded_bytes(data: bytes | str, settings: ServerSettings) -> bytes:
    """The encoded bytes of an image, given as they are or in base64.

    Raises:
        ImageError: it is not base64.
        RefusalError: 413, more than `max_bytes`.
    """
    content = _unpack(data) if isinstance(data, str) else data
    if len(content) > settings.max_bytes:
        raise RefusalError(
            413,
            f"expected an image of at most {settings.max_bytes} bytes, got {len(content)}; shrink it, or start the "
            "server with more --max-megabytes",
        )
    return content


def decode_image(data: bytes, settings: ServerSettings) -> tuple[str, RGB]:
    """Decode an image within the limits.

    Args:
        data: encoded bytes.
        settings: `max_pixels`.

    Returns:
        Content hash, `(H, W, 3)` uint8 RGB.

    Raises:
        ImageError: it is no image, or has too many pixels.
    """
    from glesam.images.reading import content_hash, read

    try:
        pixels = read(data, settings.max_pixels, name="the image sent")
    except ImageError as error:
        # The library's argument is an option of the server.
        cure = "start the server with more --max-megapixels"
        raise ImageError(str(error).replace("raise max_pixels", cure)) from None
    return content_hash(pixels), pixels


def _unpack(text: str) -> bytes:
    """Base64 to bytes."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise ImageError(
            "expected image in base64 without prefix or line ends, got something else; encode the file's bytes"
        ) from None


def prompts_of(objects: Sequence[ObjectPrompt], settings: ServerSettings) -> Prompts:
    """Join the objects of a request; an error names the one at fault.

    Raises:
        PromptError: too many objects or points, or ones that do not fit together.
    """
    if len(objects) > settings.max_objects:
        raise PromptError(
            f"expected at most {settings.max_objects} objects, got {len(objects)}; send the others in another request"
        )
    for index, each in enumerate(objects):
        _check(each, settings.max_points, index)
    points = [each.points for each in objects]
    boxes = [each.box for each in objects]
    before = _logits_of([getattr(each, "mask_input", None) for each in objects])
    if not any(points):
        return Prompts(boxes=boxes, mask_input=before)
    return Prompts(points, [each.labels for each in objects], boxes if any(boxes) else None, before)


def _check(entry: ObjectPrompt, most: int, index: int) -> None:
    """Check one object by itself."""
    count = len(entry.points or ())
    if count > most:
        raise PromptError(f"object {index}: expected at most {most} points, got {count}; leave some out")
    points, labels = [None if each is None else [each] for each in (entry.points, entry.labels)]
    try:
        Prompts(points, labels, entry.box)
    except PromptError as error:
        raise PromptError(f"object {index}: {error}") from None


def logits_text(logits: npt.NDArray[np.float32]) -> str:
    """`(s, s)` logits as float16, little-endian, row by row, in base64."""
    return base64.b64encode(logits.astype("<f2").tobytes()).decode("ascii")


def _logits_of(texts: Sequence[str | None]) -> npt.NDArray[np.float32] | None:
    """Logits `(N, s, s)` that `logits_text` wrote; None where there are none.

    Raises:
        PromptError: some objects have logits and others have none, or a text is something else.
    """
    given = [text for text in texts if text is not None]
    if not given:
        return None
    if len(given) < len(texts):
        raise PromptError("expected mask_input for all objects of a request or for none; ask for the others separately")
    try:
        maps = [np.frombuffer(base64.b64decode(text, validate=True), "<f2").astype(np.float32) for text in given]
        side = math.isqrt(maps[0].size)
        return np.stack([each.reshape(side, side) for each in maps])
    except (binascii.Error, ValueError):
        raise PromptError(
            "expected mask_input to be the logits of an earlier answer, got something else; pass it on as it came"
        ) from None


def answer_objects(masks: Masks, form: str, logits: bool = False) -> list[dict[str, Any]]:
    """Each object of a prediction as JSON values.

    Args:
        masks: of N objects.
        form: "rle", "polygons" or "png".
        logits: whether low-resolution logits go with each mask.
    """
    objects = _masks(masks.masks, masks.scores, form, masks.logits if logits else None)
    if masks.candidates is not None and masks.candidate_scores is not None:
        low = masks.candidate_logits if logits else None
        rows = zip(objects, masks.candidates, masks.candidate_scores, strict=True)
        for index, (each, inside, scores) in enumerate(rows):
            each["candidates"] = _masks(inside, scores, form, None if low is None else low[index])
    return objects


def answer_everything(masks: Masks, form: str) -> list[dict[str, Any]]:
    """Each object of everything mode as JSON values: the library's COCO annotations, with another form where wished.

    Args:
        masks: as `Predictor.generate` gives them.
        form: "rle" leaves `segmentation`; "polygons" and "png" take its place under their own name.
    """
    objects = masks.to_coco()
    if form != "rle":
        for index, each in enumerate(objects):
            del each["segmentation"]
            each[form] = mask_json(masks.mask(index), form)
    return objects


def _masks(
    inside: npt.NDArray[np.bool_],
    scores: npt.NDArray[np.float32],
    form: str,
    logits: npt.NDArray[np.float32] | None = None,
) -> list[dict[str, Any]]:
    """`(N, H, W)` masks with `(N,)` scores and perhaps `(N, h, w)` logits."""
    from glesam.masks.masks import Masks

    masks = Masks(inside, scores)
    rows = zip(inside, scores, masks.boxes.tolist(), masks.areas.tolist(), strict=True)
    told = [
        {
            "score": float(str(score)),
            "bbox": [x0, y0, x1 - x0, y1 - y0],
            "area": area,
            form: mask_json(mask, form),
        }
        for mask, score, (x0, y0, x1, y1), area in rows
    ]
    if logits is not None:
        for each, low in zip(told, logits, strict=True):
            each["logits"] = logits_text(low)
    return told


def mask_json(mask: npt.NDArray[np.bool_], form: str) -> Any:
    """One `(H, W)` mask as COCO RLE, as rings of points, or as a PNG of 0 and 255 in base64."""
    if form == "rle":
        return encode_rle(mask)
    if form == "polygons":
        return [ring.tolist() for ring in trace(mask)]
    return base64.b64encode(png(mask.astype(np.uint8) * 255)).decode("ascii")


def png(pixels: npt.NDArray[np.uint8]) -> bytes:
    """`(H, W)` or `(H, W, 3)` uint8 as PNG; quick rather than small, as it goes to a machine nearby."""
    from PIL import Image

    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, "PNG", compress_level=1)
    return stream.getvalue()
