"""What `Predictor` can do with prompts that it makes itself: from examples, masks, heat maps, or from nothing."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from glesam.errors import ImageError, PromptError

if TYPE_CHECKING:
    from glesam.fewshot.cache import FeatureCache
    from glesam.fewshot.references import Reference, References
    from glesam.fewshot.search import Ask
    from glesam.images.pixels import RGB
    from glesam.images.reading import ImageInput
    from glesam.masks.masks import Masks
    from glesam.predict.embeddings import Encoded
    from glesam.prompts.hygiene import ClickCheck
    from glesam.prompts.prompts import Prompts
    from glesam.subject.head import SubjectHead


class DerivedCalls:
    """The part of `Predictor` that makes prompts of its own for the current image."""

    if TYPE_CHECKING:
        _current_name: str | None
        _pixels: RGB | None
        _picture: Callable[[], Encoded]
        _refine: str
        _encode: Callable[[list[ImageInput], list[str | None]], list[Encoded]]
        _predict: Callable[[Encoded, Prompts, bool, str | None, bool], Masks]
        _info: Callable[[bool], dict[str, Any]]
        _current_pixels: Callable[[], RGB]

    _references: tuple[Reference, ...] = ()
    _chosen: References | None = None
    _features: FeatureCache | None = None
    _subject: SubjectHead | None = None

    def remember(self, mask: Any, negative: bool = False) -> None:
        """Keep objects of the current image as examples for `find_like`.

        All objects of the kind in the image should be given: what is not counts as something else.

        Args:
            mask: `Masks`, or `(H, W)` or `(n, H, W)` bool at the image's size.
            negative: they show what is not wanted, though it may look alike.

        Raises:
            ImageError: no image is set.
            PromptError: another size than the image's, or an empty mask.
        """
        self._picture()
        self._add(self._current_pixels(), mask, negative)

    def _add(self, image: RGB, mask: Any, negative: bool) -> None:
        """Keep one example."""
        from glesam.fewshot.references import Reference

        cache = self._feature_cache()
        array = np.asarray(getattr(mask, "masks", mask), bool)
        masks = array[None] if array.ndim == 2 else array
        reference = Reference.of(cache.backbone, image, cache.of(image), masks, negative)
        self._references, self._chosen = (*self._references, reference), None

    def remember_file(self, image: ImageInput, mask: Any, negative: bool = False) -> None:
        """As `remember`, for objects of another image, which does not become the current one.

        Raises:
            ImageError: the image cannot be read.
            PromptError: as `remember`.
        """
        from glesam.images.reading import read

        self._add(read(image), mask, negative)

    @property
    def has_examples(self) -> bool:
        """Whether anything is remembered."""
        return bool(self._references)

    def forget(self) -> None:
        """Forget all examples."""
        self._references, self._chosen = (), None

    def find_like(self, threshold: float | None = None) -> Masks:
        """Find in the current image what looks like the remembered examples; nothing is trained.

        Args:
            threshold: likeness from which on something counts as found, up to 1; without it chosen by leaving out one
                example image at a time, or a default where there is only one. See `glesam.fewshot`.

        Returns:
            Masks at the image's size, most alike first; perhaps none. `scores` are the likeness, and `info` has the
            threshold and the predicted IoU.

        Raises:
            ImageError: no image is set.
            PromptError: nothing was remembered.
        """
        from glesam.fewshot.search import find, to_masks

        encoded, image, cache = self._picture(), self._current_pixels(), self._feature_cache()
        references = self._chosen_references()
        if threshold is not None and not -1 <= threshold <= 1:
            raise PromptError(f"expected a threshold from -1 to 1, got {threshold}; the default is chosen by itself")
        least = references.threshold if threshold is None else threshold
        matches = find(self._ask_plainly(encoded), cache.backbone, image, cache.of(image), references)
        found = [match for match in matches if match.score >= least]
        facts = {"references": len(references), "threshold": round(float(least), 4)}
        return to_masks(found, image.shape[:2], self._current_name, self._info(False) | {"find_like": facts})

    def predict_from_masks(self, masks: Any, *, keep_to: float = 0.5) -> Masks:
        """Correct masks of the current image that are nearly right: of another tool, painted, of an earlier image.

        Args:
            masks: `Masks`, or `(H, W)` or `(N, H, W)` bool at the image's size.
            keep_to: least IoU of an answer with its start; an answer that strays farther is not taken, the start stays,
                and `info["start_kept"]` has its index.

        Raises:
            ImageError: no image is set.
            PromptError: another size than the image's, or an empty mask.
        """
        from glesam.prompts.start import kept_to_start, start_prompts

        encoded = self._picture()
        array = np.asarray(getattr(masks, "masks", masks), bool)
        start = array[None] if array.ndim == 2 else array
        answer = self._predict(encoded, start_prompts(start, encoded.geometry), False, self._current_name, False)
        return kept_to_start(answer, start, keep_to)

    def predict_heat_map(self, values: Any, regions: int = 5) -> Masks:
        """Segment what a heat map of the current image points at: its peaks and regions become prompts.

        Args:
            values: `(h, w)` finite numbers of any range laid over the whole image, higher where the object is.
            regions: prompts at most; see `glesam.text.pseudo_prompts`.

        Returns:
            One mask a region, the highest peak first, near duplicates dropped.

        Raises:
            ImageError: no image is set.
            PromptError: not a finite map.
        """
        from glesam.fewshot.heat import heat_prompts, without_duplicates

        encoded = self._picture()
        prompts = heat_prompts(np.asarray(values, np.float32), encoded.geometry.original_size, regions)
        return without_duplicates(self._predict(encoded, prompts, False, self._current_name, False))

    def predict_subject(self) -> Masks:
        """Segment the main thing of the current image, without any prompt.

        Returns:
            One mask; its score is the mean of the saliency map inside it. `logits` are empty, `info["subject"]` tells
            how the mask was chosen.

        Raises:
            ImageError: no image is set.
            ModelError: the bundled head is missing.
        """
        from glesam.subject.find import find_subject
        from glesam.subject.head import SubjectHead

        encoded, image = self._picture(), self._current_pixels()
        if self._subject is None:
            self._subject = SubjectHead.from_pretrained()
        found = find_subject(self._ask(encoded), self._feature_cache().backbone, self._subject, image)
        return found.to_masks(self._current_name, self._info(False))

    def check_prompts(self, prompts: Prompts) -> list[ClickCheck]:
        """Say which clicks look wrong, by the masks that the other clicks of their object give.

        Costs one more mask for each click. See `glesam.prompts.hygiene`.

        Raises:
            ImageError: no image is set.
            PromptError: prompts that do not fit the image.
        """
        from glesam.prompts.hygiene import check_clicks

        encoded = self._picture()
        fitting = prompts.check(encoded.geometry.original_size)
        return check_clicks(lambda asked: self._predict(encoded, asked, False, None, False), fitting)

    def keep_features(self, folder: str | Path | None) -> None:
        """Keep the features that `find_like` needs in a folder, so that a second search needs no second look."""
        from glesam.fewshot.backbone import bundled_backbone
        from glesam.fewshot.cache import FeatureCache

        self._features = FeatureCache(bundled_backbone(), folder)

    def _feature_cache(self) -> FeatureCache:
        if self._features is None:
            self.keep_features(None)
        if self._features is None:
            raise ImageError("expected a feature cache, got none; this is a fault in glesam")
        return self._features

    def _ask(self, encoded: Encoded) -> Ask:
        """Answers prompts on an image, whichever is the current one."""
        return lambda prompts, multimask: self._predict(encoded, prompts, multimask, None, False)

    def _ask_plainly(self, encoded: Encoded) -> Ask:
        """As `_ask`, masks as the decoder gives them: of dozens of candidates few are kept."""

        def ask(prompts: Prompts, multimask: bool) -> Masks:
            wanted, self._refine = self._refine, "off"
            try:
                return self._predict(encoded, prompts, multimask, None, False)
            finally:
                self._refine = wanted

        return ask

    def _chosen_references(self) -> References:
        """The examples with a threshold; choosing it looks at the example images."""
        if self._chosen is None:
            from glesam.fewshot.references import References
            from glesam.fewshot.search import with_threshold

            if not self._references:
                raise PromptError("expected an example to look for, got none; call remember(mask) on its image first")
            cache = self._feature_cache()
            wanted = [item for item in self._references if not item.is_negative]
            asks = [self._ask_plainly(self._encode([item.image], [None])[0]) for item in wanted]
            self._chosen = with_threshold(asks, cache.backbone, References(self._references))
        return self._chosen
