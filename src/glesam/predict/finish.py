"""How masks are finished: which refiner an image and its prompts get."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from glesam.errors import PromptError
from glesam.masks.masks import Masks
from glesam.masks.obey import clicks_of
from glesam.masks.refine import DEGRADED, POLICY, Refiner
from glesam.models.base import ImageGeometry
from glesam.predict.embeddings import Encoded
from glesam.prompts.prompts import MASK_STRIDE, Prompts


def refiner_for(encoded: Encoded, prompts: Prompts, enhanced: bool, obey: bool) -> Refiner | None:
    """The refiner for N objects of an image.

    Args:
        encoded: the image.
        prompts: of the N objects.
        enhanced: whether the image is treated as degraded.
        obey: whether clicks are to hold; guesses are not.

    Returns:
        None where the image has no guide.
    """
    if encoded.guide is None:
        return None
    policy = DEGRADED if enhanced else POLICY
    return Refiner(
        encoded.guide,
        cell_of(encoded.geometry, encoded.geometry.image_size // MASK_STRIDE),
        clicks_of(prompts),
        policy,
        obey,
    )


def check_found(count: int, most: int | None, cure: str) -> None:
    """Check that masks of all that was found may be made: they are large, and nobody knew how many there would be.

    Raises:
        PromptError: there are more than `most`.
    """
    if most is not None and count > most:
        raise PromptError(f"expected at most {most} objects in an image of this size, found {count}; {cure}")


def cell_of(geometry: ImageGeometry, cells: int) -> float:
    """Pixels of the image to a cell of logits whose square has so many a side."""
    return geometry.image_size / cells * geometry.original_size[0] / geometry.input_size[0]


def start_logits(start: Masks, mask_input: Any) -> npt.NDArray[np.float32]:
    """Logits of a prediction to start from.

    Raises:
        PromptError: there is a mask input too, or the masks have no logits.
    """
    if mask_input is not None:
        raise PromptError("expected start or mask_input, got both; leave one out")
    if not start.logits.size:
        raise PromptError("expected masks of a prediction to start from, got some without logits; give boxes instead")
    return start.logits
