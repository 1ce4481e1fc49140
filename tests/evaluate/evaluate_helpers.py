"""Made-up data and a fake predictor that follows the contract: set_image, predict, masks and scores."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from glesam.evaluate.measure.model_specs import ModelSpec
from glesam.evaluate.measure.records import Row


@dataclass
class FakeMasks:
    masks: np.ndarray
    scores: np.ndarray
    logits: np.ndarray = field(default_factory=lambda: np.zeros((0, 2, 2), np.float32))


@dataclass
class FakePredictor:
    """Segments what has the colour at the first point, or what is brighter than the ground inside a box."""

    tolerance: float = 60.0
    encoded: int = 0
    asked: list[dict[str, Any]] = field(default_factory=list)
    image: np.ndarray | None = None

    def set_image(self, image: np.ndarray, name: str | None = None) -> None:
        self.image = image.astype(float)
        self.encoded += 1

    def predict(self, *, points: Any = None, labels: Any = None, boxes: Any = None) -> FakeMasks:
        assert self.image is not None
        self.asked.append({"points": points, "labels": labels, "boxes": boxes})
        masks = [self._by_point(group) for group in points] if boxes is None else [self._in_box(box) for box in boxes]
        return FakeMasks(np.stack(masks), np.full(len(masks), 0.5, np.float32))

    def _by_point(self, group: np.ndarray) -> np.ndarray:
        assert self.image is not None
        x, y = (int(value) for value in group[0])
        return np.abs(self.image - self.image[y, x]).max(axis=2) <= self.tolerance

    def _in_box(self, box: np.ndarray) -> np.ndarray:
        assert self.image is not None
        x0, y0, x1, y1 = (round(float(value)) for value in box)
        mask = np.zeros(self.image.shape[:2], bool)
        mask[y0:y1, x0:x1] = True
        return mask & (self.image.max(axis=2) > self.tolerance)


class FakeLoader:
    """Gives a fake predictor per model and remembers them; `name` of a model with a number sets the tolerance."""

    def __init__(self) -> None:
        self.loaded: dict[str, FakePredictor] = {}

    def __call__(self, spec: ModelSpec) -> FakePredictor:
        digits = "".join(c for c in spec.name if c.isdigit())
        self.loaded[str(spec)] = FakePredictor(float(digits or 60))
        return self.loaded[str(spec)]


def make_folder(root: Path, count: int = 4, size: tuple[int, int] = (60, 80), seed: int = 0) -> Path:
    """`images/` and `masks/` with a disc (id 1) and a rectangle (id 3) on a dark noisy ground."""
    rng = np.random.default_rng(seed)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for index in range(count):
        mask = np.zeros(size, np.uint8)
        cv2.circle(mask, (20 + index, 25), 12, 1, -1)
        cv2.rectangle(mask, (50, 30), (70, 44 + index % 5), 3, -1)
        image = rng.integers(0, 30, (*size, 3)).astype(np.uint8)
        image[mask == 1] = (200, 60, 60)
        image[mask == 3] = (60, 200, 90)
        cv2.imwrite(str(root / "images" / f"p{index:02d}.png"), image[..., ::-1])
        cv2.imwrite(str(root / "masks" / f"p{index:02d}.png"), mask)
    return root


def make_row(**changes: Any) -> Row:
    """A row with some values changed."""
    values: dict[str, Any] = {
        "model": "a",
        "set": "s",
        "level": "clear",
        "prompt": "points:3",
        "image": "p",
        "object_id": 1,
        "area_share": 0.1,
        "area": 480,
        "iou": 0.5,
        "dice": 0.6,
        "pixel_accuracy": 0.9,
        "boundary_iou": 0.4,
        "score": 0.7,
        "sharpness": 100.0,
        "encode_seconds": 0.1,
        "decode_seconds": 0.01,
    }
    return Row(**{**values, **changes})


def random_rows(
    models: tuple[str, ...] = ("a", "b"),
    levels: tuple[str, ...] = ("clear", "lq1"),
    prompts: tuple[str, ...] = ("points:1", "points:3"),
    pictures: int = 12,
    sets: tuple[str, ...] = ("ecssd",),
) -> list[Row]:
    """Rows with IoU drawn from a fixed seed."""
    rng = np.random.default_rng(5)
    return [
        make_row(
            model=m,
            set=s,
            level=level,
            prompt=p,
            image=f"i{i}",
            object_id=o,
            iou=(value := float(rng.uniform(0.3, 0.9))),
            dice=2 * value / (1 + value),
            sharpness=float(10 ** rng.uniform(0, 3)),
        )
        for m in models
        for s in sets
        for level in levels
        for p in prompts
        for i in range(pictures)
        for o in (1, 2)
    ]
