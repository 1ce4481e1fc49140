"""Examples over HTTP: objects of stored images, looked for in another one; see `glesam.fewshot`."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glesam.errors import DataError, PromptError
from glesam.masks.rle import decode
from glesam.serve.encoding import answer_objects, decode_image
from glesam.serve.stored_images import ImageStore, KeyedPredictor, StoredImage

if TYPE_CHECKING:
    from glesam.images.pixels import RGB
    from glesam.serve.schemas import ExampleImage, RunLengths
    from glesam.serve.settings import ServerSettings


@dataclass(frozen=True)
class ExampleSet:
    """Marked objects of stored images.

    Attributes:
        key: the same for the same images and masks.
        items: each image with the run lengths of its objects.
        settings: limits that images are decoded within.
    """

    key: str
    items: tuple[tuple[StoredImage, tuple[RunLengths, ...]], ...]
    settings: ServerSettings

    @property
    def mask_bytes(self) -> int:
        """Memory that the masks take, each one by itself and together."""
        return 2 * sum(len(objects) * stored.size[0] * stored.size[1] for stored, objects in self.items)

    def read(self) -> Iterator[tuple[RGB, npt.NDArray[np.bool_]]]:
        """Each image with its masks `(n, H, W)`.

        Raises:
            PromptError: run lengths that are none, or fill another size than they name.
        """
        for stored, objects in self.items:
            try:
                masks = np.stack([decode(each.model_dump()) for each in objects])
            except DataError as error:
                raise PromptError(f"examples: {error}") from None
            yield decode_image(stored.data, self.settings)[1], masks


def example_set(given: Sequence[ExampleImage], store: ImageStore, settings: ServerSettings) -> ExampleSet:
    """Look the images of a request up, and check its masks by what they say of themselves.

    Raises:
        RefusalError: 404, the id of an image is unknown.
        PromptError: too many objects or pixels, or masks of another size than their image.
    """
    count = sum(len(each.objects) for each in given)
    if count > settings.max_objects:
        raise PromptError(f"expected at most {settings.max_objects} examples, got {count}; leave some out")
    items, pixels, digest = [], 0, hashlib.sha256()
    for each in given:
        stored = store.get(each.id)
        for mask in each.objects:
            if tuple(mask.size) != stored.size:
                raise PromptError(
                    f"expected examples of size {list(stored.size)} for image {each.id[:40]}, got {mask.size}; give "
                    "the masks as they came"
                )
            digest.update(f"{each.id} {mask.counts};".encode("utf-8", "replace"))
        digest.update(b"|")  # objects of one image are looked at together
        pixels += len(each.objects) * stored.size[0] * stored.size[1]
        items.append((stored, tuple(each.objects)))
    if pixels > settings.max_mask_pixels:
        most = settings.max_mask_pixels
        raise PromptError(f"expected examples of at most {most} pixels together, got {pixels}; leave some out")
    return ExampleSet(digest.hexdigest(), tuple(items), settings)


def find_like(
    predictor: KeyedPredictor, examples: ExampleSet, threshold: float | None, form: str, refine: str
) -> dict[str, Any]:
    """Find what looks like the examples, and encode at once; examples of the last search are not looked at again."""
    predictor.require_pixels()
    predictor.refine = refine
    predictor.learn(f"{predictor.enhance} {examples.key}", examples.read)
    masks = predictor.find_like(threshold, predictor.most_masks(examples.settings.max_mask_pixels))
    (height, width), facts = masks.size, masks.info
    answer = {"width": width, "height": height, "enhanced": bool(facts["enhanced"])}
    return answer | {"threshold": facts["find_like"]["threshold"], "objects": answer_objects(masks, form)}
