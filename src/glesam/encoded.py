"""What the predictor keeps of a picture once it is encoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from glesam.errors import PromptError
from glesam.models.base import Embedding, ImageGeometry
from glesam.prompt_arrays import Int
from glesam.prompts import Prompts


@dataclass
class Encoded:
    """What is kept of a picture: never its pixels, unless degraded ones are to be encoded anew at another size.

    Attributes:
        geometry: how it lies in the model's square.
        raw: the encoder's embedding, batch of one.
        enhanced: the restored embedding, once it was asked for.
        verdict: what the gate said (degraded or not, and the level), once it was asked.
        pixels: the model's input, `(1, 3, S, S)`, where a second encoding may come.
    """

    geometry: ImageGeometry
    raw: Embedding
    enhanced: Embedding | None = None
    verdict: tuple[bool, float | None] | None = None
    pixels: Tensor | None = None

    @property
    def level(self) -> float | None:
        """How degraded the gate called the picture, 0 to 3; None where it was not asked or tells no level."""
        return None if self.verdict is None else self.verdict[1]


def row(embedding: Embedding, index: int, count: int) -> Embedding:
    """One picture of a batch; copied, so that a kept picture does not keep the whole batch in memory."""
    if count == 1:
        return embedding
    return Embedding(embedding.latent[index, None].clone(), tuple(s[index, None].clone() for s in embedding.skips))


def in_float32(embedding: Embedding) -> Embedding:
    """An embedding in float32, whatever autocast made of it."""
    return Embedding(embedding.latent.float(), tuple(skip.float() for skip in embedding.skips))


def file_name(image: object) -> str | None:
    """The name of a picture that is given as a path, or None."""
    return Path(image).name if isinstance(image, (str, os.PathLike)) else None


@contextmanager
def numbered(index: int) -> Iterator[None]:
    """Let an error about the prompts of a batch say whose they are."""
    try:
        yield
    except PromptError as error:
        raise PromptError(f"picture {index}: {error}") from error


def readings(
    encoded: Encoded, embedding: Embedding, prompts: Prompts, least_box: float
) -> Iterator[tuple[Embedding, Int, Prompts]]:
    """Objects of equal make, with the embedding that they are decoded on.

    Args:
        encoded: the picture.
        embedding: its raw or restored embedding.
        prompts: all objects.
        least_box: objects whose box is a smaller share of the picture are decoded on the raw embedding.

    Yields:
        The embedding, the indices `(n,)` of the objects, and their prompts.
    """
    height, width = encoded.geometry.original_size
    for indices, group in prompts.groups():
        small = np.zeros(len(group), bool)
        if group.boxes is not None:
            small = (group.boxes[:, 2:] - group.boxes[:, :2]).prod(axis=1) < least_box * height * width
        for chosen, own in ((encoded.raw, small), (embedding, ~small)):
            if own.any():
                yield chosen, indices[own], group.select(own.nonzero()[0])
