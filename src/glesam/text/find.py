"""From word maps to objects: pseudo-prompts, the mask decoder's candidates, and a choice among them by the map.

The decoder's predicted IoU knows nothing of words, so a candidate is worth what the map has inside it more than in a
ring around it. Choosing among a decoder's masks by an activation map: Chen et al., "Segment Anything Model Enhanced
Pseudo Labels" (2305.05803).
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
import torch

from glesam.common.arrays import Bool, Float
from glesam.models.base import ImageGeometry, MaskOutput, PromptTensors
from glesam.text.base import WordMap
from glesam.text.pseudo_prompts import pseudo_prompts

Decode = Callable[[PromptTensors], MaskOutput]
"""Answers prompts `(1, N)` in the model's frame with three candidates each."""

_PIECE = 0.1
"""Share of a larger object's area up to which what borders on it may be a piece of it."""

_SPECK = 0.03
"""Share of the area of the largest region of a map that another one needs to be boxed, and of that of the best object
that further ones need: of a kind, things that much smaller are more often slips."""


@dataclass(frozen=True)
class FindOptions:
    """How objects are chosen.

    Attributes:
        peaks: point prompts of a word at most.
        together: point prompts in one connected region of the map at most; further ones mostly give the same mask.
        level: share of the map's maximum above which peaks are looked for.
        box_level: share above which connected regions give box prompts.
        boxes: box prompts of a word at most.
        ring: width of the ring around a candidate, as a share of the square root of its area.
        trust: weight of the predicted IoU beside the map.
        least: share of the best object's worth that further objects of the word need.
        apart: largest IoU of two objects of a word.
        between: largest IoU of objects of different words; of two above it the surer one stays.
        most: objects of a word at most.
        seed: of the k-means.
    """

    peaks: int = 5
    together: int = 1
    level: float = 0.6
    box_level: float = 0.5
    boxes: int = 3
    ring: float = 0.15
    trust: float = 0.2
    least: float = 0.6
    apart: float = 0.3
    between: float = 0.7
    most: int = 20
    seed: int = 0


@dataclass(frozen=True, eq=False)
class FoundObject:
    """An object of a word.

    Attributes:
        word: the word.
        score: from 0 to 1: how sure it is that the word is there, times how well the map fits the mask.
        logits: `(h, w)` low-resolution logits, for `ImageGeometry.restore`.
        prompt: `(4,)` what gave it, in pixels of the image: a box, or a point as a box without extent.
        candidate: which of the prompt's candidates it is.
        fine: `(2h, 2w)` logits of models that give them, else None.
    """

    word: str
    score: float
    logits: Float
    prompt: Float
    candidate: int
    fine: Float | None = None


class ObjectFinder:
    """Finds the objects of words in one image.

    Args:
        geometry: how the image lies in the model's square.
        decode: the mask decoder on the image's embedding.
        device: where the model is.
        chunk: prompts decoded at once.
        options: how objects are chosen.
        finish: decodes the prompts of chosen objects once more, with masks at stride 2; None keeps the first answers.
            Most candidates are dropped, so that these masks for all of them would be for nothing.
    """

    def __init__(
        self,
        geometry: ImageGeometry,
        decode: Decode,
        device: torch.device,
        chunk: int = 8,
        options: FindOptions | None = None,
        finish: Decode | None = None,
    ) -> None:
        self._geometry, self._decode, self._device, self._chunk = geometry, decode, device, chunk
        self._options, self._finish = options or FindOptions(), finish

    def find(self, maps: Sequence[WordMap]) -> list[FoundObject]:
        """Objects of all words that are present, word by word, the best first."""
        found: list[FoundObject] = []
        for word_map in maps:
            if word_map.is_present:
                # Word by word, so that memory does not grow with their number.
                found += self._objects(word_map, self._prompts(word_map.values))
        return self._finished(self._suppressed(found))

    def _prompts(self, values: Float) -> Float:
        """Prompts of a map, `(n, 4)` in pixels of the image: points as boxes without extent, then boxes."""
        fine = _enlarged(values)
        height, width = self._geometry.original_size
        scale = np.array([width / fine.shape[1], height / fine.shape[0]] * 2, np.float32)
        options = self._options
        # With this temperature the softmax falls to `share` of its largest value where the map falls to `level`.
        temperature = max(1e-6, float(fine.max()) * (1 - options.level) / math.log(2))
        points = pseudo_prompts(fine, options.peaks, 0.5, options.seed, temperature).points
        points = points[_first_of_regions(fine >= options.level * fine.max(), points, options.together)]
        boxes = _region_boxes(fine, options.box_level, options.boxes)
        return np.concatenate([np.tile(points, 2), boxes]) * scale

    @torch.inference_mode()
    def _decoded(self, prompts: Float, decode: Decode) -> list[MaskOutput]:
        """Answers to all prompts, chunk by chunk; points come before boxes."""
        is_box = prompts[:, 2] > prompts[:, 0]
        frame = self._geometry.to_input(torch.from_numpy(prompts.reshape(-1, 2, 2))).to(self._device)
        outputs: list[MaskOutput] = []
        for kind in (False, True):
            parts = torch.split(frame[np.flatnonzero(is_box == kind)], self._chunk)
            outputs += [decode(_tensors(part, kind)) for part in parts if len(part)]
        return outputs

    def _objects(self, word_map: WordMap, prompts: Float) -> list[FoundObject]:
        """Choose a word's objects: the best, then others that are apart from it and nearly as good."""
        options, outputs = self._options, self._decoded(prompts, self._decode)
        logits = _flat([output.low_res_logits for output in outputs])
        ious = torch.cat([output.iou.flatten() for output in outputs]).float().cpu().numpy()
        inside = self._in_image(logits) > 0
        values = cv2.resize(word_map.values, inside.shape[:0:-1], interpolation=cv2.INTER_LINEAR)
        contrast = np.array([ring_contrast(values, mask, options.ring) for mask in inside])
        worth = contrast + options.trust * ious
        chosen: list[int] = []
        for index in np.argsort(-worth, kind="stable").tolist():
            best = worth[chosen[0]] if chosen else worth[index]
            if worth[index] < options.least * best or len(chosen) == options.most:
                break
            if contrast[index] <= 0:
                continue  # worth something by its predicted IoU alone; those after it may have contrast
            mask, others = inside[index], [inside[other] for other in chosen]
            if others and mask.sum() < _SPECK * others[0].sum():
                continue
            if all(_apart(mask, each, options.apart) and not _is_piece(mask, each) for each in others):
                chosen.append(index)
        several = outputs[0].iou.shape[2]
        scores = [_score(word_map.presence, worth[i]) for i in chosen]
        found = [
            FoundObject(word_map.word, score, logits[i], prompts[i // several], i % several)
            for i, score in zip(chosen, scores, strict=True)
        ]
        fine = _flat([output.fine for output in outputs if output.fine is not None])
        return [replace(each, fine=fine[i]) for each, i in zip(found, chosen, strict=True)] if len(fine) else found

    def _finished(self, found: list[FoundObject]) -> list[FoundObject]:
        """The same objects with masks as fine as the model gives them."""
        if self._finish is None or not found:
            return found
        prompts = np.stack([each.prompt for each in found])
        # Points come before boxes in the answer.
        order = np.argsort(prompts[:, 2] > prompts[:, 0], kind="stable")
        outputs = self._decoded(prompts[order], self._finish)
        low = torch.cat([output.low_res_logits[0] for output in outputs]).float().cpu().numpy()
        parts = [output.fine[0] for output in outputs if output.fine is not None]
        fine = torch.cat(parts).float().cpu().numpy() if parts else None
        finished = list(found)
        for row, index in enumerate(order.tolist()):
            each = found[index]
            finer = None if fine is None else fine[row, each.candidate]
            finished[index] = replace(each, logits=low[row, each.candidate], fine=finer)
        return finished

    def _suppressed(self, found: list[FoundObject]) -> list[FoundObject]:
        """Drop what lies on a surer object of another word."""
        inside = [self._in_image(each.logits[None])[0] > 0 for each in found]
        kept: list[int] = []
        for index in np.argsort([-each.score for each in found], kind="stable").tolist():
            rivals = [i for i in kept if found[i].word != found[index].word]
            if all(_iou(inside[index], inside[i]) <= self._options.between for i in rivals):
                kept.append(index)
        return [found[i] for i in sorted(kept)]

    def _in_image(self, logits: Float) -> Float:
        """The part of `(n, h, w)` low-resolution logits that holds the image and no padding."""
        rows, columns = (
            max(1, round(self._geometry.input_size[axis] * logits.shape[1 + axis] / self._geometry.image_size))
            for axis in (0, 1)
        )
        return logits[:, :rows, :columns]


def ring_contrast(values: Float, mask: Bool, ring: float) -> float:
    """Mean of a map inside a mask minus its mean in a ring around it; -1 for an empty mask.

    Args:
        values: `(h, w)`.
        mask: `(h, w)` bool.
        ring: width of the ring as a share of the square root of the mask's area, at least 2 cells. Where a mask leaves
            no ring, the map's smallest value stands for it.
    """
    area = int(mask.sum())
    if not area:
        return -1.0
    width = max(2, round(ring * math.sqrt(area)))
    grown = cv2.dilate(mask.astype(np.uint8), np.ones((2 * width + 1, 2 * width + 1), np.uint8)) > 0
    around = grown & ~mask
    outside = values[around].mean() if around.any() else values.min()
    return float(values[mask].mean() - outside)


def _enlarged(values: Float, factor: int = 4) -> Float:
    """A map on a finer grid (bilinear), so that its peaks do not lie in the middle of coarse cells."""
    size = (values.shape[1] * factor, values.shape[0] * factor)
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)


def _region_boxes(values: Float, level: float, most: int) -> Float:
    """Boxes `(n, 4)` in cells around the connected regions with the highest peaks above a share of the maximum.

    Regions of less than `_SPECK` of the largest one's area are slips of the map: in a box the decoder finds something
    that stands out, whatever it is.
    """
    above = (values >= level * values.max()).astype(np.uint8)
    count, owner, stats, _ = cv2.connectedComponentsWithStats(above)
    areas = stats[1:, cv2.CC_STAT_AREA]
    large = [i for i in range(1, count) if areas[i - 1] >= _SPECK * areas.max()]
    peaks = [float(values[owner == i].max()) for i in large]
    order = np.array(large)[np.argsort([-peak for peak in peaks], kind="stable")[:most]]
    corners = stats[order][:, :4].astype(np.float32)
    return np.concatenate([corners[:, :2], corners[:, :2] + corners[:, 2:]], axis=1)


def _first_of_regions(inside: Bool, points: Float, most: int) -> list[int]:
    """Indices of points `(n, 2)` in cells without those after the first few in the same connected region `(h, w)`."""
    owner = cv2.connectedComponents(inside.astype(np.uint8))[1]
    kept: list[int] = []
    taken: Counter[int] = Counter()
    for index, (x, y) in enumerate(points.astype(int).tolist()):
        region = int(owner[y, x])
        taken[region] += 1
        if taken[region] <= most:
            kept.append(index)
    return kept


def _flat(logits: Sequence[torch.Tensor]) -> Float:
    """Candidates `(1, N, C, h, w)` of several chunks as one `(n, h, w)` array; empty without any."""
    if not logits:
        return np.zeros((0, 0, 0), np.float32)
    return np.asarray(torch.cat([each.flatten(0, 2) for each in logits]).float().cpu().numpy(), np.float32)


def _tensors(corners: torch.Tensor, is_box: bool) -> PromptTensors:
    """Prompts of `(n, 2, 2)` corners in the model's frame: boxes, or points at their first corner."""
    if is_box:
        return PromptTensors(boxes=corners.flatten(1)[None])
    return PromptTensors(
        corners[None, :, :1], torch.ones((1, len(corners), 1), dtype=torch.int64, device=corners.device)
    )


def _iou(first: Bool, second: Bool) -> float:
    union = int((first | second).sum())
    return int((first & second).sum()) / union if union else 0.0


def _apart(first: Bool, second: Bool, most: float) -> bool:
    """Whether two masks are different objects: little IoU, and neither mostly inside the other."""
    shared = int((first & second).sum())
    return _iou(first, second) <= most and shared <= 0.5 * min(int(first.sum()), int(second.sum()))


def _is_piece(mask: Bool, whole: Bool) -> bool:
    """Whether a mask is a piece left out of a far larger one: a badge on a suit is no second person.

    It is if the share of the cells next to it that belong to the larger one and the share of its own that do come to
    at least one half.
    """
    if int(mask.sum()) > _PIECE * int(whole.sum()):
        return False
    around = (cv2.dilate(mask.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0) & ~mask
    beside, shared = ((part & whole).sum() / max(1, part.sum()) for part in (around, mask))
    return bool(beside + shared >= 0.5)


def _score(presence: float, worth: float) -> float:
    """How sure an object is, 0 to 1."""
    return float(presence * np.clip(worth, 0, 1))
