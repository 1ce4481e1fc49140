"""A clip of known truth: two textured shapes move, turn and grow before a drifting ground, and pass behind a pillar."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from glesam.common.files import atomic_path
from glesam.errors import ImageError
from glesam.images.pixels import RGB

OBJECTS = 2


@dataclass(frozen=True)
class SyntheticClip:
    """Frames that are computed from their number, so that a clip of any length needs no memory.

    Attributes:
        width: in pixels.
        height: in pixels.
        seed: of textures and paths.
        pillar: whether a pillar hides what passes behind it.
        period: frames of one round of the first object; the second one's is longer.
    """

    width: int = 640
    height: int = 360
    seed: int = 0
    pillar: bool = True
    period: int = 250
    _art: list[RGB] = field(default_factory=list, repr=False, compare=False)

    def __post_init__(self) -> None:
        generator = np.random.default_rng(self.seed)
        ground = _texture(generator, self.height * 5 // 4, self.width * 5 // 4, (70, 90, 70), 50)
        coats = [_texture(generator, 64, 64, colour, 25) for colour in ((215, 70, 50), (60, 90, 220))]
        self._art.extend([ground, *coats, _texture(generator, self.height, self.width, (150, 140, 120), 20)])

    def frame(self, index: int) -> tuple[RGB, npt.NDArray[np.bool_]]:
        """One frame and its truth.

        Returns:
            `(H, W, 3)` uint8 RGB, and `(2, H, W)` bool: the pixels of each object that are seen.
        """
        image = self._ground(index)
        masks = np.zeros((OBJECTS, self.height, self.width), bool)
        for number in range(OBJECTS):
            shape, coat = self._shape(number, index)
            image[shape] = coat[shape]
            masks[:number] &= ~shape
            masks[number] = shape
        if self.pillar:
            left, right = self.width * 2 // 5, self.width * 3 // 5
            image[:, left:right] = self._art[3][:, left:right]
            masks[:, :, left:right] = False
        return np.asarray(cv2.GaussianBlur(image, (3, 3), 0.6), np.uint8), masks

    def box(self, number: int, index: int) -> list[float]:
        """The `(x0, y0, x1, y1)` of an object in a frame.

        Raises:
            ImageError: it is wholly hidden there.
        """
        mask = self.frame(index)[1][number]
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            raise ImageError(f"expected object {number} in frame {index}, it is hidden there; choose another frame")
        return [float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)]

    def write(self, path: str | os.PathLike[str], frames: int, fps: float = 25.0) -> None:
        """Write the first frames as MP4 (MPEG-4 part 2), in one step.

        Raises:
            ImageError: OpenCV cannot write it.
        """
        with atomic_path(Path(path)) as temporary:
            writer = cv2.VideoWriter(str(temporary), cv2.VideoWriter.fourcc(*"mp4v"), fps, (self.width, self.height))
            if not writer.isOpened():
                raise ImageError(f"expected to write {path}, OpenCV cannot; name a file that ends in .mp4")
            for index in range(frames):
                writer.write(cv2.cvtColor(self.frame(index)[0], cv2.COLOR_RGB2BGR))
            writer.release()

    def _ground(self, index: int) -> RGB:
        """The ground, drifting in a small circle."""
        angle = 2 * np.pi * index / (3 * self.period)
        x = int((1 + np.cos(angle)) / 2 * (self._art[0].shape[1] - self.width))
        y = int((1 + np.sin(angle)) / 2 * (self._art[0].shape[0] - self.height))
        return np.array(self._art[0][y : y + self.height, x : x + self.width])

    def _shape(self, number: int, index: int) -> tuple[npt.NDArray[np.bool_], RGB]:
        """Pixels of an object before anything hides it, an ellipse or a star of four points, and its coat there."""
        angle = 2 * np.pi * index / (self.period * (1 + 0.37 * number)) + 0.6 + 2.2 * number
        x = self.width * (0.5 + 0.34 * np.cos(angle))
        y = self.height * (0.5 + (0.26 if number else 0.22) * np.sin(2 * angle + number))
        radius = self.height * (0.13 + 0.03 * np.sin(3 * angle))
        around = np.arange(48) / 48 * 2 * np.pi
        length = 0.75 + 0.3 * np.cos(4 * around) if number else np.ones(48)
        points = np.stack([length * np.cos(around), (1.0 if number else 0.65) * length * np.sin(around)], 1)
        turn = radius * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
        canvas = np.zeros((self.height, self.width), np.uint8)
        cv2.fillPoly(canvas, [np.rint(points @ turn.T + (x, y)).astype(np.int32)], 1)
        # The coat moves with the object: its square spans -1.1 to 1.1 in the object's own coordinates.
        coat = self._art[1 + number]
        scale = turn * 2.2 / len(coat)
        place = np.concatenate([scale, np.array([[x], [y]]) - scale @ np.full((2, 1), len(coat) / 2)], 1)
        warped = cv2.warpAffine(coat, place, (self.width, self.height), borderMode=cv2.BORDER_REFLECT)
        return canvas.astype(bool), np.asarray(warped, np.uint8)


def _texture(
    generator: np.random.Generator, height: int, width: int, colour: tuple[int, int, int], contrast: int
) -> RGB:
    """Blobs of noise around a colour."""
    noise = np.zeros((height, width), np.float32)
    for cells in (6, 17, 45):
        grid = generator.normal(size=(cells, cells)).astype(np.float32)
        noise += np.asarray(cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC))
    pixels = np.array(colour, np.float32) + contrast / 2 * noise[..., None] * np.array([1, 0.9, 0.8], np.float32)
    return np.clip(np.rint(pixels), 0, 255).astype(np.uint8)
