"""Answers to prompts on one encoded image: by the base model, by its restoration, or by several looks at the image.

Averaging over mirrored and resized copies is the field's usual test-time augmentation; see `glesam.predict.quality`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import NamedTuple, cast

import cv2
import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from glesam.common.stopping import check
from glesam.enhance.pipeline import LevelRule, Restoration, shrink
from glesam.images.pixels import RGB
from glesam.masks.runs import Box
from glesam.models.base import Embedding, MaskOutput, PromptTensors
from glesam.predict.embedder import Embedder
from glesam.predict.embeddings import Encoded, blended, woven
from glesam.predict.quality import (
    COARSE,
    SMALL_BOXED,
    SMALL_CLICKED,
    is_fed_back,
    mean_output,
    mirrored_output,
    mirrored_prompts,
    moved_into,
    zoom_window,
)
from glesam.prompts.prompts import Prompts
from glesam.views.enlarge import boxes_inside


def decode(
    embedder: Embedder,
    encoded: Encoded,
    embedding: Embedding,
    prompts: PromptTensors,
    multimask: bool,
    fine: bool = True,
) -> MaskOutput:
    """Decode with the base model; a restored embedding as its restoration's rules say.

    With `enhance="auto"` a `LevelRule` may leave small boxes out, and let the base model's answer count in part. The
    answer may be a second one, with the first as its mask prompt; see `is_fed_back`.

    Args:
        embedder: gave the embedding.
        encoded: the image.
        embedding: its raw or its restored one.
        prompts: `(1, N)` in the model's frame.
        multimask: three candidates each.
        fine: masks at stride 2 too, where the model gives any, and a second answer; everything mode cuts its many masks
            without.
    """
    check()
    if fine and is_fed_back(embedder.model, embedder.quality, prompts, multimask):
        first = _decode_once(embedder, encoded, embedding, prompts, multimask, fine=False)
        prompts = _given_back(prompts, first)
    return _decode_once(embedder, encoded, embedding, prompts, multimask, fine)


def _decode_once(
    embedder: Embedder,
    encoded: Encoded,
    embedding: Embedding,
    prompts: PromptTensors,
    multimask: bool,
    fine: bool,
) -> MaskOutput:
    """As `decode`, without a second answer."""
    model = embedder.model
    raw = encoded.raw if fine else model.without_fine(encoded.raw)
    if embedding is encoded.raw and encoded.side is None:
        return model.decode(raw, prompts, multimask)
    embedding = embedding if fine else model.without_fine(embedding)
    if encoded.side is not None:
        return Restoration().decode(model, embedding, prompts, multimask)
    if embedder.restoration is None:
        return model.decode(embedding, prompts, multimask)
    rule = embedder.restoration.rule(encoded.level) if embedder.enhance == "auto" else LevelRule()
    small = encoded.small_boxes(prompts, rule.least_box)
    if small.all():
        return model.decode(raw, prompts, multimask)
    if not small.any():
        return _restored(embedder, rule, encoded, raw, embedding, prompts, multimask)
    plain = model.decode(raw, prompts.map(lambda t: t[:, small]), multimask)
    large = prompts.map(lambda t: t[:, ~small])
    return woven(plain, _restored(embedder, rule, encoded, raw, embedding, large, multimask), small)


def _restored(
    embedder: Embedder,
    rule: LevelRule,
    encoded: Encoded,
    raw: Embedding,
    embedding: Embedding,
    prompts: PromptTensors,
    multimask: bool,
) -> MaskOutput:
    """The answer on the restored embedding, in which the base model's counts as the rule says.

    Clicks have no box; what the base model finds at them tells whether their object is a small one.
    """
    restoration = cast(Restoration, embedder.restoration)
    answer = restoration.decode(embedder.model, embedding, prompts, multimask)
    # Candidates of two decoders need not come in one order, so that only single masks are averaged.
    if multimask or not rule.base_share:
        return answer
    plain = embedder.model.decode(raw, prompts, multimask)
    share = torch.full((prompts.shape[1],), rule.base_share)
    if prompts.boxes is None:
        share[encoded.small_masks(plain.low_res_logits[0, :, 0], rule.least_box)] = 1.0
    return blended(plain, answer, share)


@torch.inference_mode()
def decode_as_judged(
    embedder: Embedder, encoded: Encoded, prompts: PromptTensors, multimask: bool, fine: bool = True
) -> MaskOutput:
    """As `decode`, on the embedding that prompts of this kind are to be answered on."""
    embedding = embedder.embedding(encoded, prompts.boxes is not None)
    return decode(embedder, encoded, embedding, prompts, multimask, fine)


@torch.inference_mode()
def decode_well(
    embedder: Embedder, encoded: Encoded, embedding: Embedding, prompts: PromptTensors, multimask: bool
) -> MaskOutput:
    """As `decode`; with high quality the mean over the image, its mirror image and, unless restored, a smaller copy.

    That mean is then given back as a mask prompt, and the two are averaged; see `is_fed_back`.
    """
    output = decode(embedder, encoded, embedding, prompts, multimask)
    if embedder.quality != "high" or encoded.image is None:
        return output
    mirror = encoded.looks.get("mirror") or embedder.encode_part(encoded.image[:, ::-1])
    mirror.verdict = encoded.verdict
    encoded.looks["mirror"] = mirror
    turned = decode_as_judged(embedder, mirror, mirrored_prompts(prompts, encoded.geometry), multimask)
    outputs = [output, mirrored_output(turned, encoded.geometry)]
    if embedding is not encoded.raw or not embedder.model.side_step:
        return mean_output(outputs)
    mean = mean_output([*outputs, _coarse_answer(embedder, encoded, prompts, multimask)])
    if not is_fed_back(embedder.model, embedder.quality, prompts, multimask):
        return mean
    return mean_output([mean, decode(embedder, encoded, embedding, _given_back(prompts, mean), multimask)])


def decode_nearer(
    embedder: Embedder,
    encoded: Encoded,
    prompts: Prompts,
    indices: npt.NDArray[np.int64],
    output: MaskOutput,
    multimask: bool,
) -> dict[int, tuple[Box, Tensor]]:
    """Logits of crops around small objects, with high quality or as a `LevelRule` says; see `MaskAssembly.put`.

    Args:
        embedder: encodes the crops.
        encoded: the image.
        prompts: of all objects, in pixels of the image.
        indices: the objects that were decoded.
        output: their answers.
        multimask: three candidates each.
    """
    found: dict[int, tuple[Box, Tensor]] = {}
    near = _nearness(embedder, encoded, multimask)
    if near is None or encoded.image is None:
        return found
    for place, index in enumerate(indices.tolist()):
        low = output.low_res_logits[0, place, int(output.iou[0, place].argmax())]
        corners = encoded.geometry.to_original(boxes_inside(low[None], encoded.geometry).view(2, 2))
        x0, y0, x1, y1 = corners.flatten().tolist()
        prompt = prompts.select([index])
        window = zoom_window(prompt, (x0, y0, x1, y1) if x1 else None, encoded.geometry.original_size, near.shares)
        if window is not None:
            part = _nearer_part(embedder, encoded.image, encoded, window, near.side)
            tensors = moved_into(prompt, window).to_tensors(part.geometry, embedder.model.device)
            answer = decode_as_judged(embedder, part, tensors, multimask)
            found[index] = window, part.geometry.restore(answer.finest[0, 0][:, None])[:, 0]
    return found


def _nearer_part(embedder: Embedder, image: RGB, encoded: Encoded, window: Box, side: int | None) -> Encoded:
    """Encode what lies in a window; its geometry is in pixels of the image, whatever size was kept of it."""
    x0, y0, x1, y1 = window
    part = embedder.encode_part(_crop(image, encoded.geometry.original_size, window), side)
    part.geometry = replace(part.geometry, original_size=(y1 - y0, x1 - x0))
    part.verdict = encoded.verdict
    return part


def _crop(image: RGB, size: tuple[int, int], window: Box) -> RGB:
    """What lies in a window of an image of `(H, W)` pixels, of which `image` may be a smaller copy: exactly the window.

    Whole pixels of the copy would lie up to three pixels of a large image off it.
    """
    x0, y0, x1, y1 = window
    if image.shape[:2] == size:
        return image[y0:y1, x0:x1]
    down, across = image.shape[0] / size[0], image.shape[1] / size[1]
    rows, columns = max(1, round((y1 - y0) * down)), max(1, round((x1 - x0) * across))
    dy, dx = (y1 - y0) * down / rows, (x1 - x0) * across / columns
    # Centres of the crop's pixels, in pixels of the copy.
    matrix = np.array([[dx, 0, x0 * across + dx / 2 - 0.5], [0, dy, y0 * down + dy / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    found = cv2.warpAffine(image, matrix, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(found, np.uint8)


class _Nearness(NamedTuple):
    """Which objects are looked at again, see `zoom_window`, and at which input side; None is the model's own."""

    shares: tuple[float, float]
    side: int | None


def _nearness(embedder: Embedder, encoded: Encoded, multimask: bool) -> _Nearness | None:
    """What is to be looked at again in an image; None for nothing."""
    if embedder.quality == "high":
        return _Nearness((SMALL_CLICKED, SMALL_BOXED), None)
    # Candidates of two looks need not come in one order.
    rule = None if multimask else embedder.near_rule(encoded)
    return None if rule is None else _Nearness((rule.near_clicked, rule.near_boxed), rule.near_size)


def _given_back(prompts: PromptTensors, answer: MaskOutput) -> PromptTensors:
    """The same prompts with the single masks that answered them."""
    return replace(prompts, mask_input=answer.low_res_logits[:, :, 0])


def _coarse_answer(embedder: Embedder, encoded: Encoded, prompts: PromptTensors, multimask: bool) -> MaskOutput:
    """The base model's answer on a smaller copy of an image; a second one, as in `decode`."""
    model, embedding = embedder.model, _coarse(embedder, encoded)
    if is_fed_back(model, embedder.quality, prompts, multimask):
        first = Restoration().decode(model, model.without_fine(embedding), prompts, multimask)
        prompts = _given_back(prompts, first)
    return Restoration().decode(model, embedding, prompts, multimask)


def _coarse(embedder: Embedder, encoded: Encoded) -> Embedding:
    """The embedding of a smaller copy of an image, encoded once."""
    if "coarse" not in encoded.looks and encoded.image is not None:
        model = embedder.model
        pixels, _ = model.prepare(encoded.image)
        encoded.looks["coarse"] = model.encode(shrink(pixels, round(COARSE * model.image_size), model.side_step))
    coarse: Embedding = encoded.looks["coarse"]
    return coarse
