"""An export is compared with its torch model on images before anybody relies on it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from glesam.common.arrays import Bool
from glesam.enhance.pipeline import Restoration
from glesam.errors import ModelError
from glesam.images.pixels import RGB
from glesam.images.reading import ImageInput, read
from glesam.masks.masks import Masks
from glesam.models.base import Embedding
from glesam.predict.predictor import Predictor
from glesam.prompts.prompts import Prompts

IOU_BAR = 0.995
"""Least IoU of any mask with the torch model's, at the image's size."""

INT8_BAR = 0.95
"""Mean IoU of all masks with those of the torch model, where weights have 8 bits: single ones, such as the third
candidate of an unclear prompt, may differ."""


@dataclass
class GraphComparison:
    """How an exported model differs from torch.

    Attributes:
        errors: part (`latent`, `skip4`, `enhanced`, `logits`, ...) to the largest absolute difference over all images.
        ious: IoU of every mask with torch's, by what the prompts were.
        images: how many were compared.
    """

    errors: dict[str, float] = field(default_factory=dict)
    ious: dict[str, list[float]] = field(default_factory=dict)
    images: int = 0

    @property
    def lowest(self) -> float:
        """Least IoU of all masks."""
        return min(iou for values in self.ious.values() for iou in values)

    @property
    def mean(self) -> float:
        """Mean IoU of all masks."""
        return float(np.mean([iou for values in self.ious.values() for iou in values]))

    def note(self, part: str, ours: Tensor, reference: Tensor) -> None:
        """Take one more difference into account."""
        error = float((ours.float() - reference.float()).abs().max())
        # numpy's maximum keeps NaN, Python's passes over it.
        self.errors[part] = float(np.maximum(error, self.errors.get(part, 0.0)))

    def require(self, int8: bool = False) -> None:
        """Accept or refuse.

        Args:
            int8: weights have 8 bits: the mean IoU is judged, not the least.

        Raises:
            ModelError: the IoU is below the bar, or a difference is no number.
        """
        kind, bar, value = ("mean IoU", INT8_BAR, self.mean) if int8 else ("IoU", IOU_BAR, self.lowest)
        broken = [part for part, error in self.errors.items() if not np.isfinite(error)]
        if broken or value < bar:
            got = f"numbers that are not finite in {broken[0]}" if broken else f"{value:.4f}"
            raise ModelError(
                f"expected exported masks with {kind} of at least {bar} to torch's on every image, got {got}; do not "
                "use this export, and try the other format or another version of the runtime"
            )


def compare(reference: Predictor, exported: Predictor, images: Iterable[ImageInput]) -> GraphComparison:
    """Run a torch model and its export side by side.

    Args:
        reference: the torch model.
        exported: the exported one.
        images: in any form that `Predictor.set_image` takes.

    Raises:
        ImageError: an image cannot be read.
    """
    result = GraphComparison()
    modes = ("off",) if Restoration.of(reference.enhancer, reference.gate) is None else ("off", "on")
    for given in images:
        image = read(given)
        result.images += 1
        with torch.inference_mode():
            _compare_parts(result, reference, exported, image)
        for mode in modes:
            reference.enhance = exported.enhance = mode
            for name, prompts in check_prompts(image.shape[0], image.shape[1]).items():
                _compare_masks(result, f"{name}, enhance {mode}", _pair(reference, exported, image, prompts))
    return result


def check_prompts(height: int, width: int) -> dict[str, Prompts]:
    """Prompts of every kind on an image of `(H, W)` pixels: few and many points, boxes, both."""
    xs, ys = np.array([0.3, 0.7]) * width, np.array([0.35, 0.65]) * height
    grid = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    half = np.array([width, height]) / 4
    boxes = np.concatenate([grid - half, grid + half], axis=1).clip(0, [width, height, width, height]).tolist()
    middle = [[width / 2, height / 2]]
    return {
        "1 point": Prompts(points=middle),
        "3 points": Prompts(points=[*middle, *grid[[1, 0]].tolist()], labels=[1, 1, 0]),
        "9 points on one": Prompts(points=[*middle, *grid.tolist(), *(grid + half / 4).tolist()]),
        "boxes": Prompts(boxes=boxes),
        "points in boxes": Prompts(points=grid[:, None].tolist(), boxes=boxes),
    }


def _compare_parts(result: GraphComparison, reference: Predictor, exported: Predictor, image: RGB) -> None:
    """Compare what leaves the encoder and each part of the restoration, on the same inputs."""
    pixels, _ = reference.model.preprocess(image)
    own, other = reference.model.encode(pixels), exported.model.encode(pixels)
    names = ("latent", "skip4", "skip8")
    for name, ours, theirs in zip(names, _maps(other), _maps(own), strict=False):
        result.note(name, ours, theirs)
    torch_parts = Restoration.of(reference.enhancer, reference.gate)
    parts = Restoration.of(exported.enhancer, exported.gate)
    if torch_parts is None or parts is None:
        return
    if torch_parts.enhancer is not None and parts.enhancer is not None:
        result.note("enhanced", parts.enhancer(own.latent), torch_parts.enhancer(own.latent))
    verdicts = [p.judge(own, pixels) for p in (parts, torch_parts)]
    levels, gains = [v.level for v in verdicts], [v.gains for v in verdicts]
    if None not in levels:
        result.note("level", *(torch.tensor(level) for level in levels))
    if None not in gains:
        result.note("gains", *(torch.tensor(gain) for gain in gains))
    restored = [p.restore(m.model, own, levels[1], pixels) for p, m in ((parts, exported), (torch_parts, reference))]
    for name, ours, theirs in zip(names, *(_maps(r) for r in restored), strict=False):
        result.note(f"restored {name}", ours, theirs)


def _maps(embedding: Embedding) -> Sequence[Tensor]:
    """Latent and skips."""
    return (embedding.latent, *embedding.skips)


def _pair(reference: Predictor, exported: Predictor, image: RGB, prompts: Prompts) -> list[tuple[Masks, Masks]]:
    """Predictions of both: of one mask, of candidates, and of the same prompts again with the first mask as input."""
    pairs = []
    for predictor in (reference, exported):
        predictor.set_image(image)
    first = reference.predict(prompts), exported.predict(prompts)
    pairs.append(first)
    if prompts.boxes is not None:
        again = Prompts(boxes=prompts.boxes, mask_input=first[0].logits)
        for wish, multimask in ((prompts, True), (again, False)):
            pairs.append((reference.predict(wish, multimask=multimask), exported.predict(wish, multimask=multimask)))
    return pairs


def _compare_masks(result: GraphComparison, name: str, pairs: list[tuple[Masks, Masks]]) -> None:
    """Compare masks and scores; of candidates all three."""
    for own, other in pairs:
        result.note("logits", torch.from_numpy(other.logits), torch.from_numpy(own.logits))
        result.note("scores", torch.from_numpy(other.scores), torch.from_numpy(own.scores))
        stacks = [m.masks if m.candidates is None else m.candidates.reshape(-1, *m.size) for m in (own, other)]
        result.ious.setdefault(name, []).extend(_iou(a, b) for a, b in zip(*stacks, strict=True))


def _iou(a: Bool, b: Bool) -> float:
    """IoU of two masks; 1 if both are empty."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0
