"""Clips of known truth from photographs: an object cut out of one image moves, turns and changes its size over another.

What real clips with masks would show and these cannot: objects that bend by themselves, new sides of them, shadows.
What they do show: an object and a ground as cameras see them, changes of size, blur of motion, a part hidden.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np

from glesam.common.arrays import Bool, Float64
from glesam.common.boxes import pixel_box
from glesam.common.seeds import generator
from glesam.data.base import Sample, SegmentationDataset, object_ids
from glesam.images.pixels import RGB

WIDTH, HEIGHT = 480, 320
LARGEST = 0.5
"""Longer side of the object at size 1, as a share of the frame's height."""

SHUTTER = (0.0, 0.15, 0.3)
"""Moments between two frames of which an image is the mean: what moves is blurred."""


@dataclass(frozen=True)
class Move:
    """How an object moves; all of it goes on evenly from the first frame to the last, but for `beat`.

    Attributes:
        sizes: of the object at the first and at the last frame.
        turn: degrees from the first to the last frame.
        rounds: of its way around the frame.
        beat: share by which the size swells and shrinks besides, three times.
        pillar: whether a pillar in the middle hides what passes behind it.
        shake: pixels by which the camera trembles (standard deviation).
    """

    sizes: tuple[float, float] = (1.0, 1.0)
    turn: float = 0.0
    rounds: float = 0.5
    beat: float = 0.0
    pillar: bool = False
    shake: float = 0.0


MOVES = {
    "across": Move(turn=10),
    "away": Move((1.3, 0.35), turn=10),
    "near": Move((0.45, 1.7), turn=-15),
    "turning": Move(turn=120),
    "hidden": Move((0.8, 1.2), pillar=True),
    "shaken": Move((0.6, 1.4), turn=20, rounds=1.0, beat=0.3, shake=6),
}


@dataclass(frozen=True)
class MovedClip:
    """Frames that are computed from their number.

    Attributes:
        image: `(h, w, 3)` uint8 RGB that the object is cut out of.
        mask: `(h, w)` bool, the object; not empty.
        ground: `(h', w', 3)` uint8 RGB behind it, of any size.
        move: how the object moves.
        frames: length of the clip.
        seed: of its way and of the camera's trembling.
    """

    image: RGB
    mask: Bool
    ground: RGB
    move: Move
    frames: int = 40
    seed: int = 0

    def frame(self, index: int) -> tuple[RGB, Bool]:
        """One frame and its truth: `(H, W, 3)` uint8 RGB, and `(H, W)` bool, the object's pixels that are seen."""
        layers = [self._layer(index + open_for) for open_for in SHUTTER]
        colour, alpha = (np.mean(parts, axis=0) for parts in zip(*layers, strict=True))
        ground = self._ground(index)
        image, truth = ground * (1 - alpha[..., None]) + colour, np.asarray(alpha > 0.5)
        if self.move.pillar:
            left, right = WIDTH * 2 // 5, WIDTH * 3 // 5
            image[:, left:right] = ground[:, left:right][::-1] * 0.6 + 40
            truth[:, left:right] = False
        noise = generator("moved clip", self.seed, index).normal(0, 2, image.shape)
        return np.clip(np.rint(image + noise), 0, 255).astype(np.uint8), truth

    def __iter__(self) -> Iterator[tuple[RGB, Bool]]:
        return (self.frame(index) for index in range(self.frames))

    def place(self, index: float) -> Float64:
        """`(2, 3)`: pixels of the image to pixels of the frame."""
        share = index / max(1, self.frames - 1)
        first, last = self.move.sizes
        size = first * (last / first) ** share * (1 + self.move.beat * np.sin(6 * np.pi * share))
        x0, y0, x1, y1 = pixel_box(self.mask) or (0, 0, 1, 1)
        turn, way = np.deg2rad(self.move.turn * share), generator("moved clip", self.seed)
        scale = size * LARGEST * HEIGHT / max(x1 - x0, y1 - y0)
        matrix = scale * np.array([[np.cos(turn), -np.sin(turn)], [np.sin(turn), np.cos(turn)]])
        angle = np.pi * (way.choice([0, 1]) + 2 * self.move.rounds * share)
        middle = np.array([WIDTH * (0.5 + 0.3 * np.cos(angle)), HEIGHT * (0.5 + 0.15 * np.sin(angle))])
        middle += generator("shake", self.seed, int(index)).normal(0, 1, 2) * self.move.shake
        return np.concatenate([matrix, (middle - matrix @ [(x0 + x1) / 2, (y0 + y1) / 2])[:, None]], 1)

    def _layer(self, index: float) -> tuple[Float64, Float64]:
        """The object alone at a moment: `(H, W, 3)` colours times opacity, and `(H, W)` opacity."""
        place = self.place(index)
        scale = float(np.hypot(*place[:, 0]))
        # What is made smaller is smoothed before, or its grain would flicker; the edge is soft by a pixel.
        sigma = max(0.5, 0.4 / scale)
        alpha = cv2.GaussianBlur(self.mask.astype(np.float64), (0, 0), sigma)
        coat = cv2.GaussianBlur(self.image.astype(np.float64), (0, 0), sigma) if scale < 1 else self.image * 1.0
        warped = cv2.warpAffine(np.dstack([coat * alpha[..., None], alpha]), place, (WIDTH, HEIGHT))
        return np.asarray(warped[..., :3]), np.asarray(warped[..., 3])

    def _ground(self, index: int) -> Float64:
        """The ground, a fifth larger than the frame, over which the camera goes from one side to the other."""
        scale = 1.2 * max(WIDTH / self.ground.shape[1], HEIGHT / self.ground.shape[0])
        size = (round(self.ground.shape[1] * scale), round(self.ground.shape[0] * scale))
        method = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
        large = cv2.resize(self.ground, size, interpolation=method).astype(np.float64)
        tremble = generator("shake", self.seed, index).normal(0, 1, 2) * self.move.shake
        x, y = (0.02 + 0.1 * index / max(1, self.frames - 1)) * WIDTH - tremble[0], 0.08 * HEIGHT - tremble[1]
        place = np.array([[1, 0, -x], [0, 1, -y]])
        return np.asarray(cv2.warpAffine(large, place, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REFLECT))


def cutouts(data: SegmentationDataset, count: int, seed: int) -> list[Sample]:
    """Images with one whole object, drawn by seed: in one piece, away from the edge, neither tiny nor all of the image.

    The `mask` of each is 0 and 1. Images are looked at one after the other until there are enough.
    """
    found: list[Sample] = []
    for index in generator("cutouts", data.name, seed).permutation(len(data)):
        sample = data[int(index)]
        mask = sample.mask == 1
        edges = np.concatenate([mask[0], mask[-1], mask[:, 0], mask[:, -1]])
        pieces = cv2.connectedComponents(mask.astype(np.uint8))[0] - 1
        if object_ids(sample.mask) == [1] and pieces == 1 and not edges.any() and 0.05 <= mask.mean() <= 0.4:
            found.append(Sample(sample.name, sample.image, mask.astype(np.int32)))
        if len(found) == count:
            break
    return found
