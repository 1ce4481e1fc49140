"""Images whose objects are painted as numbers, and a model that reads them: the truth of every click is known."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from glesam.models.base import Embedding, ImageGeometry, MaskOutput, PromptableModel, PromptTensors
from glesam.predict.predictor import Predictor

SIDE = 128
CELL = 4

Picture = npt.NDArray[np.uint8]


class PaintedModel(PromptableModel):
    """Segments the pixels that are painted like the clicked one; 0 is nothing.

    Candidate 1 is the mask, with an IoU that depends on its number; 0 and 2 are poor.
    """

    family = "painted"
    image_size = SIDE

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(1))
        self.encoded = 0
        self.decoded: list[int] = []
        self.most = 10**9

    def preprocess(self, image: Picture) -> tuple[Tensor, ImageGeometry]:
        height, width = image.shape[:2]
        scale = SIDE / max(height, width)
        size = max(1, round(height * scale)), max(1, round(width * scale))
        square = np.zeros((SIDE, SIDE), np.float32)
        ys, xs = (
            np.minimum((np.arange(n) + 0.5) / scale, m - 1).astype(int)
            for n, m in zip(size, (height, width), strict=True)
        )
        square[: size[0], : size[1]] = image[ys[:, None], xs, 0]
        return torch.from_numpy(square).expand(1, 3, -1, -1), ImageGeometry((height, width), size, SIDE)

    def encode(self, pixel_values: Tensor) -> Embedding:
        self.encoded += len(pixel_values)
        return Embedding(pixel_values[:, :1, CELL // 2 :: CELL, CELL // 2 :: CELL].clone())

    def decode(self, embedding: Embedding, prompts: PromptTensors, multimask: bool = False) -> MaskOutput:
        assert prompts.point_coords is not None
        count = prompts.shape[1]
        self.decoded.append(count)
        if count > self.most:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        cells = embedding.latent[0, 0]
        x, y = (prompts.point_coords[0, :, 0] / CELL).long().clamp(0, SIDE // CELL - 1).unbind(dim=1)
        number = cells[y, x]
        mask = torch.where(cells == number[:, None, None], 6.0, -6.0)
        iou = torch.where(number > 0, 0.8 + number / 1000, 0.0)
        poor = torch.zeros_like(iou)
        logits = torch.stack([-mask, mask, -mask], dim=1) if multimask else mask[:, None]
        scores = torch.stack([poor, iou, poor], dim=1) if multimask else iou[:, None]
        return MaskOutput(logits[None], scores[None])

    def save_pretrained(self, folder: str | Path) -> None:
        raise NotImplementedError


def predictor() -> Predictor:
    return Predictor(PaintedModel(), enhance="off")


def painted(size: tuple[int, int], objects: dict[int, list[tuple[int, int, int, int]]]) -> Picture:
    """Grey image, each object painted as its number in boxes `(x0, y0, x1, y1)`; one with number 0 cuts a hole."""
    grey = np.zeros(size, np.uint8)
    for number, boxes in objects.items():
        for x0, y0, x1, y1 in boxes:
            grey[y0:y1, x0:x1] = number
    return np.repeat(grey[..., None], 3, axis=2)
