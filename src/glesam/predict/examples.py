"""The examples that a predictor looks for in other images; see `glesam.fewshot`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
import torch

from glesam.common.arrays import Bool
from glesam.errors import PromptError
from glesam.fewshot.backbone import bundled_backbone
from glesam.fewshot.cache import FeatureCache
from glesam.fewshot.references import Reference, References, check_likeness, check_marks
from glesam.fewshot.search import find, learned, to_masks
from glesam.images.shrink import shrink
from glesam.predict.answers import MaskAssembly
from glesam.predict.decoding import decode_as_judged
from glesam.predict.finish import check_found
from glesam.prompts.prompts import Prompts

if TYPE_CHECKING:
    from glesam.fewshot.candidates import Ask
    from glesam.fewshot.search import Match
    from glesam.images.pixels import RGB
    from glesam.masks.masks import Masks
    from glesam.predict.embeddings import Encoded
    from glesam.predict.session import Session

SIDE = 1024
"""Pixels of the longer side at which images are searched: hundreds of masks of a large image would be slow."""


class Examples:
    """Remembers objects, and finds in the current image what looks like them."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._references: tuple[Reference, ...] = ()
        self._chosen: tuple[tuple[str, str], References] | None = None
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
        """Remember the objects of one image, as the model sees it; see `Predictor.remember`."""
        masks = stacked(mask)
        check_marks(image, masks)  # before both shrink: the user knows the image's own size only
        features, small = self.features.of(image), shrink(image, SIDE)
        masks = _masks_at(masks, (small.shape[0], small.shape[1]))
        reference = Reference.of(self.features.backbone, small, features, masks, negative)
        self._references, self._chosen = (*self._references, reference), None

    def clear(self) -> None:
        """Forget all examples."""
        self._references, self._chosen = (), None

    def chosen(self) -> References:
        """The examples with a threshold; choosing it looks at the example images, anew for another enhance or quality.

        Raises:
            PromptError: nothing was remembered.
        """
        mode = (self._session.embedder.enhance, self._session.embedder.quality)
        if self._chosen is None or self._chosen[0] != mode:
            if not self._references:
                raise PromptError("expected an example to look for, got none; call remember(mask) on its image first")
            wanted = [item for item in self._references if not item.is_negative]
            with torch.inference_mode():  # the images of examples were restored when they were added
                encoded = [self._session.embedder.encode_part(item.image) for item in wanted]
            asks = [self._ask(each, item.image) for each, item in zip(encoded, wanted, strict=True)]
            self._chosen = mode, learned(asks, self.features.backbone, References(self._references))
        return self._chosen[1]

    def find(self, threshold: float | None, most: int | None = None) -> Masks:
        """Find what looks like the examples; see `Predictor.find_like`."""
        session, cache = self._session, self.features
        encoded, image = session.encoded, session.pixels
        if threshold is not None:
            check_likeness(threshold)
        references = self.chosen()
        least = references.threshold if threshold is None else threshold
        small = shrink(image, SIDE)
        matches = find(self._ask(encoded, small), cache.backbone, small, cache.of(image), references)
        alike = [match for match in matches if match.score >= least]
        check_found(len(alike), most, "raise the threshold, or look in a smaller image")
        found, enhanced = self._finished(encoded, alike, small)
        facts = {"references": len(references), "threshold": round(float(least), 4)}
        return to_masks(found, image.shape[:2], session.current.name, session.info(enhanced) | {"find_like": facts})

    def _ask(self, encoded: Encoded, image: RGB) -> Ask:
        """Answers prompts in pixels of an image, shrunk or not, with masks as coarse as they are fast.

        Of dozens of candidates few are kept, see `_finished`.
        """
        embedder, size = self._session.embedder, (image.shape[0], image.shape[1])
        geometry = replace(encoded.geometry, original_size=size)

        def ask(prompts: Prompts, multimask: bool) -> Masks:
            answer = MaskAssembly(len(prompts), 3 if multimask else 1, size)
            tensors = prompts.check(size).to_tensors(geometry, embedder.model.device)
            for places, part in tensors.chunks(embedder.chunk):
                output = decode_as_judged(embedder, encoded, part, multimask, False)
                answer.put(np.arange(len(prompts))[places], output, geometry)
            return answer.masks(None, {})

        return ask

    def _finished(self, encoded: Encoded, matches: Sequence[Match], image: RGB) -> tuple[list[Match], bool]:
        """The same matches with masks at the image's own size, as of any other prompt; and whether one is enhanced."""
        height, width = encoded.geometry.original_size
        scale = np.array([width / image.shape[1], height / image.shape[0]] * 2, np.float32)
        finished, enhanced = [], False
        for match in matches:
            box = match.prompt * scale
            is_box = bool(box[2] > box[0])
            asked = Prompts(boxes=box[None]) if is_box else Prompts(box[None, None, :2])
            answer = self._session.answer(encoded, asked, not is_box)
            masks = answer.masks if answer.candidates is None else answer.candidates[:, match.choice]
            # A copy: a view would hold all three candidates in memory.
            finished.append(replace(match, mask=masks[0].copy()))
            enhanced = enhanced or bool(answer.info["enhanced"])
        return finished, enhanced


def _masks_at(masks: Bool, size: tuple[int, int]) -> Bool:
    """Masks `(n, H, W)` at another size; one that would vanish keeps the pixels that it has a part of."""
    if masks.shape[1:] == size:
        return masks
    shares = [cv2.resize(m.astype(np.float32), (size[1], size[0]), interpolation=cv2.INTER_AREA) for m in masks]
    return np.stack([share > (0.5 if (share > 0.5).any() else 0) for share in shares])


def stacked(mask: Any) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """`Masks`, or a mask `(H, W)` or `(n, H, W)`, as `(n, H, W)` bool."""
    array = np.asarray(getattr(mask, "masks", mask), bool)
    return array[None] if array.ndim == 2 else array
