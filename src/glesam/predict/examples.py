"""The examples that a predictor looks for in other images; see `glesam.fewshot`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glesam.errors import PromptError
from glesam.fewshot.backbone import bundled_backbone
from glesam.fewshot.cache import FeatureCache
from glesam.fewshot.references import Reference, References
from glesam.fewshot.search import find, learned, to_masks

if TYPE_CHECKING:
    from glesam.fewshot.candidates import Ask
    from glesam.images.pixels import RGB
    from glesam.masks.masks import Masks
    from glesam.predict.embeddings import Encoded
    from glesam.predict.session import Session
    from glesam.prompts.prompts import Prompts


class Examples:
    """Remembers objects, and finds in the current image what looks like them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._references: tuple[Reference, ...] = ()
        self._chosen: References | None = None
        self._features: FeatureCache | None = None

    def __len__(self) -> int:
        """Number of images with examples."""
        return len(self._references)

    @property
    def features(self) -> FeatureCache:
        """Features of images that were looked at."""
        if self._features is None:
            self._features = FeatureCache(bundled_backbone(), None)
        return self._features

    def keep_features(self, folder: str | Path | None) -> None:
        """Keep features in a folder from now on; None for in memory only."""
        self._features = FeatureCache(bundled_backbone(), folder)

    def add(self, image: RGB, mask: Any, negative: bool) -> None:
        """Remember the objects of one image; see `Predictor.remember`."""
        masks = stacked(mask)
        reference = Reference.of(self.features.backbone, image, self.features.of(image), masks, negative)
        self._references, self._chosen = (*self._references, reference), None

    def clear(self) -> None:
        """Forget all examples."""
        self._references, self._chosen = (), None

    def chosen(self) -> References:
        """The examples with a threshold; choosing it looks at the example images.

        Raises:
            PromptError: nothing was remembered.
        """
        if self._chosen is None:
            if not self._references:
                raise PromptError("expected an example to look for, got none; call remember(mask) on its image first")
            wanted = [item for item in self._references if not item.is_negative]
            asks = [self._ask(self._session.embedder.encode([item.image], [None])[0]) for item in wanted]
            self._chosen = learned(asks, self.features.backbone, References(self._references))
        return self._chosen

    def find(self, threshold: float | None) -> Masks:
        """Find what looks like the examples; see `Predictor.find_like`."""
        session, cache = self._session, self.features
        encoded, image = session.encoded, session.pixels
        references = self.chosen()
        if threshold is not None and not 0 <= threshold <= 1:
            raise PromptError(f"expected a threshold from 0 to 1, got {threshold}; the default is chosen by itself")
        least = references.threshold if threshold is None else threshold
        matches = find(self._ask(encoded), cache.backbone, image, cache.of(image), references)
        found = [match for match in matches if match.score >= least]
        facts = {"references": len(references), "threshold": round(float(least), 4)}
        return to_masks(found, image.shape[:2], session.current.name, session.info(False) | {"find_like": facts})

    def _ask(self, encoded: Encoded) -> Ask:
        """Answers prompts on an image with masks as the decoder gives them: of dozens of candidates few are kept."""

        def ask(prompts: Prompts, multimask: bool) -> Masks:
            return self._session.answer(encoded, prompts, multimask, refine="off")

        return ask


def stacked(mask: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """`Masks`, or a mask `(H, W)` or `(n, H, W)`, as `(n, H, W)` bool."""
    array = np.asarray(getattr(mask, "masks", mask), bool)
    return array[None] if array.ndim == 2 else array
