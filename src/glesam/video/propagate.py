"""Carrying masks through a clip with any promptable model: the previous mask is the next prompt.

For each object and frame: (1) a template of the object's last place is searched nearby, which gives its motion; (2) the
moved mask becomes a box, slightly grown, a point at the maximum of its distance transform, and a low-resolution mask
input; (3) the model segments; (4) the answer is believed if the predicted IoU, the change of area and the colours fit.
If not, the object is lost: its mask is empty until a search of the whole frame, for its last full view at several
sizes and for its colours, gives a prompt whose answer is believed.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from typing import Any, ClassVar, NamedTuple

import cv2
import numpy as np
import torch

from glesam.common.arrays import Bool, Float
from glesam.common.boxes import pixel_box
from glesam.errors import PromptError
from glesam.images.pixels import RGB
from glesam.masks.masks import Masks
from glesam.models.base import ImageGeometry
from glesam.predict.predictor import Predictor
from glesam.prompts.prompts import Prompts
from glesam.video import appearance
from glesam.video.steady import SteadyVerdict
from glesam.video.tracker import Tracker


@dataclass(frozen=True)
class Settings:
    """What to believe; `benchmarks/video.py --sweep` measures these on a clip of known truth.

    Attributes:
        grow: share of its size by which the moved box is grown on each side.
        reach: how far an object may move from frame to frame, in its own sizes.
        least_score: smallest predicted IoU.
        area_change: largest factor between the areas of two frames.
        least_similarity: smallest histogram intersection with the first view.
        least_match: smallest correlation at which a search of the whole frame gives a place to look at.
        scales: sizes of the object, relative to its last full view, that such a search tries.
        other_match: smallest correlation at sizes that differ by more than a quarter: parts look like a smaller whole.
        scale_cost: by how much a match must be better for each doubling or halving of the size.
        shape_change: largest change of width over height of an object that comes back at another size.
        use_point: prompt with a point besides the box.
        use_mask: prompt with the moved logits too.
    """

    grow: float = 0.08
    reach: float = 0.6
    least_score: float = 0.5
    area_change: float = 2.0
    least_similarity: float = 0.5
    least_match: float = 0.5
    scales: tuple[float, ...] = (0.4, 0.5, 0.63, 0.8, 1.0, 1.25, 1.5, 1.8, 2.2, 2.6)
    other_match: float = 0.7
    scale_cost: float = 0.1
    shape_change: float = 1.3
    use_point: bool = True
    use_mask: bool = True


@dataclass
class Target:
    """What is remembered of one object; sizes and places in pixels of the frame.

    Attributes:
        logits: `(h, w)` float32 of the last believed mask.
        mask: `(H, W)` bool, that mask.
        box: `(4,)` float32, its box.
        colours: histogram of the first view.
        template: shrunken pixels inside the last box.
        view: shrunken pixels inside the box of the last full view, for finding it again.
        view_area: area of the mask in that view.
        lost: frames since it was last seen; 0 while it is.
    """

    logits: Float
    mask: Bool
    box: Float
    colours: Float
    template: RGB
    view: RGB
    view_area: int
    lost: int = 0


class MaskPropagation(Tracker):
    """Carries objects by the previous mask, with any model of the family; see the module for how.

    Args:
        predictor: encodes each frame once; its enhancing mode holds for every frame. With "auto" the gate's verdict
            is smoothed over the frames.
        multimask: on the first frame, predict three candidates and keep the best.
        settings: what to believe.
    """

    kind: ClassVar[str] = "masks"

    def __init__(self, predictor: Predictor, multimask: bool = False, settings: Settings | None = None) -> None:
        self.predictor, self.settings = predictor, settings or Settings()
        self._multimask = multimask
        self._targets: list[Target] = []
        self._steady = SteadyVerdict()

    def start(self, frame: RGB, prompts: Prompts) -> Masks:
        """See `Tracker.start`."""
        self._steady.forget()
        with self._smoothed():
            self.predictor.set_image(frame)
            masks = self.predictor.predict(prompts, multimask=self._multimask)
        small = appearance.shrink(frame, appearance.search_scale(masks.size))
        self._targets = _targets(frame, small, masks)
        return masks

    def step(self, frame: RGB) -> Masks:
        """See `Tracker.step`."""
        with self._smoothed():
            return self._followed(frame)

    def _followed(self, frame: RGB) -> Masks:
        """As `step`, where the predictor's verdicts are smoothed already."""
        if not self._targets:
            raise PromptError("expected prompts on an earlier frame, got none; call start(frame, prompts) first")
        scale = appearance.search_scale((frame.shape[0], frame.shape[1]))
        small = appearance.shrink(frame, scale)
        self.predictor.set_image(frame)
        seen = [index for index, target in enumerate(self._targets) if not target.lost]
        asked = {index: self._follow(self._targets[index], small, scale) for index in seen}
        found = self._ask(asked, self.settings.use_mask)
        absent = [index for index, target in enumerate(self._targets) if target.lost]
        for search in (self._search_view, self._search_colours):
            # The second way is asked for those that the first did not bring back.
            absent = [index for index in absent if not self._is_answered(frame, index, found)]
            places = {i: place for i in absent if (place := search(self._targets[i], small, scale))}
            found |= self._ask(places, False)
        return self._judge(frame, small, scale, found)

    def correct(self, frame: RGB, prompts: Prompts, objects: Sequence[int]) -> Masks:
        """See `Tracker.correct`; how an object looked before its correction is forgotten."""
        with self._smoothed():
            followed = self._followed(frame)
            given = self.predictor.predict(prompts, multimask=self._multimask)
        small = appearance.shrink(frame, appearance.search_scale(followed.size))
        masks, scores, logits = followed.masks.copy(), followed.scores.copy(), followed.logits.copy()
        for row, (index, target) in enumerate(zip(objects, _targets(frame, small, given), strict=True)):
            self._targets[index] = target
            masks[index], scores[index], logits[index] = given.masks[row], given.scores[row], given.logits[row]
        return Masks(masks, scores, logits, info=followed.info)

    def state(self) -> dict[str, Any]:
        """See `Tracker.state`."""
        return {"targets": [_plain(target) for target in self._targets], "steady": self._steady.state()}

    def restore(self, state: dict[str, Any]) -> None:
        """See `Tracker.restore`."""
        self._targets = [_target(values) for values in state["targets"]]
        self._steady.forget()
        if "steady" in state:  # checkpoints of earlier versions hold none
            self._steady.restore(state["steady"])

    @contextmanager
    def _smoothed(self) -> Iterator[None]:
        """Verdicts are smoothed in the block; the predictor's other images, and other trackers', stay apart."""
        if not isinstance(self.predictor, Predictor):  # what stands for one, such as an oracle, has no gate
            yield
            return
        embedder = self.predictor.session.embedder
        before, embedder.steady = embedder.steady, self._steady
        try:
            yield
        finally:
            embedder.steady = before

    def _follow(self, target: Target, small: RGB, scale: float) -> _Guess:
        """Where an object that was seen in the last frame is now."""
        box = target.box * scale
        width, height = box[2] - box[0], box[3] - box[1]
        reach = max(8.0, self.settings.reach * float(max(width, height)))
        window = box + np.array([-reach, -reach, reach, reach], np.float32)
        match, (x, y) = appearance.find(small, target.template, window)
        # A template that fits nowhere says nothing of motion: stay.
        still = match < self.settings.least_match
        corner = np.maximum(np.floor(box[:2]), 0)
        shift = (0.0, 0.0) if still else ((x - float(corner[0])) / scale, (y - float(corner[1])) / scale)
        return _moved(target, shift, self.predictor.session.encoded.geometry)

    def _search_view(self, target: Target, small: RGB, scale: float) -> _Guess | None:
        """Where in the whole frame the last full view of a lost object fits, at the best of several sizes."""
        best, guess = self.settings.least_match, None
        for factor in self.settings.scales:
            size = (round(target.view.shape[1] * factor), round(target.view.shape[0] * factor))
            if min(size) < appearance.LEAST_TEMPLATE:
                continue
            method = cv2.INTER_AREA if factor < 1 else cv2.INTER_LINEAR
            view = np.asarray(cv2.resize(target.view, size, interpolation=method), np.uint8)
            match, (x, y) = appearance.find(small, view)
            if not _is_near_one(factor) and match < self.settings.other_match:
                continue
            match -= self.settings.scale_cost * abs(math.log2(factor))
            if match > best:
                box = np.array([x, y, x + size[0], y + size[1]], np.float32) / scale
                best, guess = match, _Guess(box, ((box[0] + box[2]) / 2, (box[1] + box[3]) / 2), None, factor)
        return guess

    def _search_colours(self, target: Target, small: RGB, scale: float) -> _Guess | None:
        """Where in the whole frame the colours of a lost object gather."""
        width, height = target.view.shape[1], target.view.shape[0]
        if min(width, height) < appearance.LEAST_TEMPLATE:
            return None
        x, y = appearance.likely_place(small, target.colours, (width, height))
        box = np.array([x - width / 2, y - height / 2, x + width / 2, y + height / 2], np.float32) / scale
        return _Guess(box, (x / scale, y / scale), None)

    def _is_answered(self, frame: RGB, index: int, found: dict[int, _Answer]) -> bool:
        """Whether an object has an answer that is believed."""
        return index in found and self._is_believed(frame, self._targets[index], found[index])

    def _ask(self, guesses: dict[int, _Guess], with_mask: bool) -> dict[int, _Answer]:
        """Segment at the places guessed."""
        if not guesses:
            return {}
        height, width = self.predictor.image_size
        boxes = [_grown(guess.box, self.settings.grow, width, height) for guess in guesses.values()]
        points = (
            [[_inside(guess.point, width, height)] for guess in guesses.values()] if self.settings.use_point else None
        )
        # Places that were searched for have no logits, and are asked without.
        moved = [guess.logits for guess in guesses.values() if with_mask and guess.logits is not None]
        logits = np.stack(moved) if len(moved) == len(guesses) else None
        masks = self.predictor.predict(Prompts(points, None, boxes, logits), obey=False)
        return {
            index: _Answer(masks.masks[row], float(masks.scores[row]), masks.logits[row], guess.factor)
            for row, (index, guess) in enumerate(guesses.items())
        }

    def _judge(self, frame: RGB, small: RGB, scale: float, found: dict[int, _Answer]) -> Masks:
        """Believe an answer or count the object as lost."""
        count, side = len(self._targets), self._targets[0].logits.shape
        masks = np.zeros((count, *frame.shape[:2]), bool)
        scores, logits = np.zeros(count, np.float32), np.full((count, *side), -1, np.float32)
        for index, target in enumerate(self._targets):
            answer = found.get(index)
            if answer is None or not self._is_believed(frame, target, answer):
                target.lost += 1
                continue
            masks[index], scores[index], logits[index] = answer.mask, answer.score, answer.logits
            _remember(target, answer.mask, answer.logits, small, scale)
        info = {"model": self.predictor.name, "tracker": self.kind}
        return Masks(masks, scores, logits, info=info)

    def _is_believed(self, frame: RGB, target: Target, answer: _Answer) -> bool:
        """Whether a mask can be the object: certain, of the area that its size lets expect, of its colours."""
        mask, area = answer.mask, int(np.count_nonzero(answer.mask))
        if answer.score < self.settings.least_score or area == 0:
            return False
        known = target.view_area if target.lost else int(np.count_nonzero(target.mask))
        former = max(1.0, known * answer.factor**2)
        if target.lost and not _is_near_one(answer.factor) and not self._keeps_shape(target, mask):
            return False
        if not 1 / self.settings.area_change <= area / former <= self.settings.area_change:
            return False
        return (
            appearance.similarity(appearance.histogram(frame, mask), target.colours) >= self.settings.least_similarity
        )

    def _keeps_shape(self, target: Target, mask: Bool) -> bool:
        """Whether a mask is as wide for its height as the last full view: what comes out from behind a thing is not."""
        x0, y0, x1, y1 = pixel_box(mask) or (0, 0, 0, 0)
        height, width = target.view.shape[:2]
        change: float = (x1 - x0) * height / max(1, (y1 - y0) * width)
        return 1 / self.settings.shape_change <= change <= self.settings.shape_change


@dataclass(frozen=True)
class _Guess:
    """Where an object may be: its box, a point on it, logits moved there, and its size relative to the last one."""

    box: Float
    point: tuple[float, float]
    logits: Float | None
    factor: float = 1.0


class _Answer(NamedTuple):
    """What the model says of a guess: `(H, W)` mask, predicted IoU, `(h, w)` logits; and the guess's size."""

    mask: Bool
    score: float
    logits: Float
    factor: float


def _targets(frame: RGB, small: RGB, masks: Masks) -> list[Target]:
    """What is remembered of objects that somebody has pointed at on a frame."""
    found = []
    scale = appearance.search_scale(masks.size)
    for index, (mask, box, area) in enumerate(zip(masks.masks, masks.boxes, masks.areas.tolist(), strict=True)):
        seen = appearance.crop(small, box * scale)
        colours = appearance.histogram(frame, mask)
        found.append(Target(masks.logits[index], mask, box, colours, seen, seen, area, int(area == 0)))
    return found


def _is_near_one(factor: float) -> bool:
    """Whether a size is that of the last view, but for what an object grows or shrinks while it is hidden."""
    return _NEAR <= factor <= 1 / _NEAR


_NEAR = 0.79


def _moved(target: Target, shift: tuple[float, float], geometry: ImageGeometry) -> _Guess:
    """The last mask, moved by pixels of the frame; its logits lie over the model's square, of padding in part."""
    x, y = _deepest(target)
    h, w = target.logits.shape
    dx, dy = (geometry.to_input(torch.tensor(shift)) / geometry.image_size).tolist()
    low = np.array([[1, 0, dx * w], [0, 1, dy * h]], np.float32)
    far = float(target.logits.min())
    logits = cv2.warpAffine(target.logits, low, (w, h), borderMode=cv2.BORDER_CONSTANT, borderValue=far)
    box = target.box + np.array([*shift, *shift], np.float32)
    return _Guess(box, (x + shift[0], y + shift[1]), np.asarray(logits, np.float32))


def _deepest(target: Target) -> tuple[float, float]:
    """The `(x, y)` inside a mask that is farthest from its edge: the maximum of the distance transform."""
    x0, y0, x1, y1 = target.box.astype(int).tolist()
    padded = np.pad(target.mask[y0:y1, x0:x1].astype(np.uint8), 1)
    distance = cv2.distanceTransform(padded, cv2.DIST_L2, 3)
    _, _, _, (x, y) = cv2.minMaxLoc(distance)
    return x0 + x - 0.5, y0 + y - 0.5


def _grown(box: Float, share: float, width: int, height: int) -> list[float]:
    """A box grown on each side, at least 2 pixels wide and high, inside the frame."""
    x0, y0, x1, y1 = box.tolist()
    dx, dy = max(1.0, share * (x1 - x0)), max(1.0, share * (y1 - y0))
    left, top = min(max(0.0, x0 - dx), width - 2.0), min(max(0.0, y0 - dy), height - 2.0)
    return [left, top, min(max(x1 + dx, left + 2), width), min(max(y1 + dy, top + 2), height)]


def _inside(point: tuple[float, float], width: int, height: int) -> list[float]:
    """A point, pulled into the frame."""
    return [min(max(0.0, point[0]), width - 1.0), min(max(0.0, point[1]), height - 1.0)]


def _remember(target: Target, mask: Bool, logits: Float, small: RGB, scale: float) -> None:
    """Take a believed mask for the object's place; a full view of it also for finding it again."""
    target.mask, target.logits, target.lost = mask.copy(), logits.copy(), 0
    target.box = np.array(pixel_box(mask), np.float32)
    target.template = appearance.crop(small, target.box * scale)
    area = int(np.count_nonzero(mask))
    if area >= _FULL_VIEW * target.view_area:
        target.view, target.view_area = target.template, area


_FULL_VIEW = 0.9
"""Share of the last full view's area from which a view counts as full: below it the object may be half hidden."""


def _plain(target: Target) -> dict[str, Any]:
    """An object's memory as tensors and numbers."""
    return {k: torch.from_numpy(v.copy()) if isinstance(v, np.ndarray) else v for k, v in asdict(target).items()}


def _target(values: dict[str, Any]) -> Target:
    """The inverse of `_plain`."""
    names = [field.name for field in fields(Target)]
    return Target(**{k: values[k].numpy() if isinstance(values[k], torch.Tensor) else values[k] for k in names})
