"""What `Predictor` does with words: objects that words name, and names for masks."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from glesam.masks.masks import Masks

if TYPE_CHECKING:
    from glesam.everything.labels import Labeler
    from glesam.images.pixels import RGB
    from glesam.masks.refine import Refiner
    from glesam.masks.runs import Box
    from glesam.models.base import ImageGeometry, PromptableModel
    from glesam.predict.embeddings import Encoded
    from glesam.text.base import WordSource
    from glesam.text.find import FoundObject
    from glesam.views.view import View


class AbsentWarning(UserWarning):
    """A word of which the image shows nothing."""


class WordCalls:
    """The part of `Predictor` that knows words. Vocabulary and labelers are loaded when they are first used."""

    _word_source: WordSource | None = None
    _labelers: dict[str, Labeler] | None = None

    if TYPE_CHECKING:
        model: PromptableModel
        _current_name: str | None
        _current_pixels: Callable[[], RGB]
        _look: Callable[[Box], View]
        _picture: Callable[[], Encoded]
        _refine: str
        _info: Callable[[bool], dict[str, Any]]

        @property
        def _chunk(self) -> int: ...

    def predict_text(self, words: str | Sequence[str], *, source: WordSource | None = None) -> Masks:
        """Find the objects that words name in the current image.

        Args:
            words: such as `["dog", "cup"]` or `"dog; cup"`.
            source: what tells where words are; `word_source` when not given.

        Returns:
            Masks with `class_names`, word by word in the order given, several of a kind apart; perhaps none.
            `scores` tell how sure each object is of its word, 0 to 1. Words that are not found are told by an
            `AbsentWarning`; `info["words"]` has how sure it is that the image shows each word at all.

        Raises:
            ImageError: no image is set.
            PromptError: no word, too many, or one that the source does not know.
        """
        masks = self.find_words(words, source)
        _warn_of_absent(masks, self._current_name)
        return masks

    def find_words(self, words: str | Sequence[str], source: WordSource | None = None) -> Masks:
        """`predict_text` without its warning: warnings are no way to tell a program with threads."""
        from glesam.text.base import parse_words
        from glesam.text.find import ObjectFinder

        wanted, source = parse_words(words), source or self.word_source
        source.check(wanted)
        pixels = self._current_pixels()
        view = self._look((0, 0, pixels.shape[1], pixels.shape[0]))
        maps = source.maps(pixels, wanted)
        device, decode = self.model.device, view.decode
        found = ObjectFinder(view.geometry, lambda prompts: decode(prompts, True), device, self._chunk).find(maps)
        certainty = {each.word: round(each.presence, 4) for each in maps}
        info = self._info(view.enhanced) | {"words": certainty, "word_source": source.name}
        return _assembled(found, view.geometry, self._finisher(len(found), view), self._current_name, info)

    def _finisher(self, count: int, view: View) -> Refiner | None:
        """What makes the masks of N objects at the image's size, as for prompts."""
        from glesam.predict.finish import refiner_for
        from glesam.prompts.prompts import Prompts

        if self._refine == "off" or not count:
            return None
        height, width = view.geometry.original_size
        # Only clicks matter to the refiner; these objects have none that must hold.
        return refiner_for(self._picture(), Prompts(boxes=[[0, 0, width, height]] * count), view.enhanced, False)

    def label(self, masks: Masks, labeler: str | Labeler = "offline") -> Masks:
        """Name masks of the current image, such as `generate` gives.

        Args:
            masks: of the current image.
            labeler: "offline", "clip:FOLDER", or a callable of your own; see `glesam.everything.labels`.

        Returns:
            The same masks with `class_names`.

        Raises:
            ImageError: no image is set.
            ConfigError: an unknown labeler.
            ModelError: its weights are missing or do not fit.
        """
        from glesam.everything.labels import label, load_labeler

        if isinstance(labeler, str):
            self._labelers = self._labelers or {}
            if labeler not in self._labelers:
                self._labelers[labeler] = load_labeler(labeler)
            labeler = self._labelers[labeler]
        return label(self._current_pixels(), masks, labeler)

    @property
    def word_source(self) -> WordSource:
        """What tells where words are: the bundled offline vocabulary unless another one was set."""
        if self._word_source is None:
            from glesam.text.offline import bundled

            self._word_source = bundled()
        return self._word_source

    @word_source.setter
    def word_source(self, source: WordSource) -> None:
        self._word_source = source


def _warn_of_absent(masks: Masks, name: str | None) -> None:
    """Say which words the image shows nothing of."""
    absent = [word for word in masks.info["words"] if word not in masks.class_names]
    if absent:
        listed = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        text = f"expected to find {listed} in {name or 'the image'}, found none"
        warnings.warn(text, AbsentWarning, stacklevel=3)


def _assembled(
    found: Sequence[FoundObject],
    geometry: ImageGeometry,
    refiner: Refiner | None,
    name: str | None,
    info: dict[str, Any],
) -> Masks:
    """The objects at the image's size."""
    from glesam.models.base import MaskOutput
    from glesam.predict.answers import MaskAssembly

    if not found:
        return Masks(np.zeros((0, *geometry.original_size), bool), np.zeros(0, np.float32), name=name, info=info)
    answer = MaskAssembly(len(found), 1, geometry.original_size, refiner)
    low = torch.from_numpy(np.stack([each.logits for each in found]))[None, :, None]
    finer = [each.fine for each in found if each.fine is not None]
    fine = torch.from_numpy(np.stack(finer))[None, :, None] if finer else None
    output = MaskOutput(low, torch.tensor([[[each.score] for each in found]]), fine)
    answer.put(np.arange(len(found)), output, geometry)
    return answer.masks(name, info).named([each.word for each in found])
