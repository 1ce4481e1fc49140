"""What the predictor keeps of a picture once it is encoded."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from glesam.errors import PromptError
from glesam.models.base import Embedding, ImageGeometry


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
