"""What a predictor does with words: objects that words name, and names for masks."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from glesam.images.reading import ReadOptions, read_with
from glesam.masks.masks import Masks
from glesam.models.base import MaskOutput
from glesam.predict.answers import MaskAssembly
from glesam.predict.finish import check_found, refiner_for
from glesam.prompts.prompts import Prompts
from glesam.text.base import parse_words
from glesam.text.find import ObjectFinder

if TYPE_CHECKING:
    from glesam.everything.labels import Labeler
    from glesam.images.pixels import RGB
    from glesam.masks.refine import Refiner
    from glesam.models.base import ImageGeometry
    from glesam.predict.session import Session
    from glesam.text.base import WordSource
    from glesam.text.find import FoundObject
    from glesam.views.view import View


class AbsentWarning(UserWarning):
    """A word of which the image shows nothing."""


class Words:
    """Finds what words name in the current image. Vocabulary and labelers are loaded when they are first used."""

    default: WordSource | None = None
    """What locates words; None until it is set or used, for the bundled vocabulary."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._labelers: dict[tuple[str, ReadOptions], Labeler] = {}

    @property
    def source(self) -> WordSource:
        """What locates words: the bundled offline vocabulary unless another one was set."""
        if self.default is None:
            from glesam.text.offline import bundled

            self.default = bundled()
        return self.default

    def find(self, words: str | Sequence[str], source: WordSource | None = None, most: int | None = None) -> Masks:
        """Find the objects of words, `most` at most; see `Predictor.predict_text`."""
        session, wanted, source = self._session, parse_words(words), source or self.source
        source.check(wanted)
        pixels = session.pixels
        whole = (0, 0, pixels.shape[1], pixels.shape[0])
        view, finer = session.look(whole, fine=False), session.look(whole)
        maps = source.maps(pixels, wanted)
        finder = ObjectFinder(
            view.geometry,
            lambda prompts: view.decode(prompts, True),
            session.model.device,
            session.embedder.chunk,
            finish=lambda prompts: finer.decode(prompts, True),
        )
        found = finder.find(maps)
        check_found(len(found), most, "ask for fewer words")
        certainty = {each.word: round(each.presence, 4) for each in maps}
        info = session.info(view.enhanced) | {"words": certainty, "word_source": source.name}
        return _assembled(found, view.geometry, _refiner(session, len(found), view), session.current.name, info)

    def label(self, masks: Masks, labeler: str | Labeler, reading: ReadOptions | None = None) -> Masks:
        """Name masks of the current image; see `Predictor.label`.

        Args:
            masks: of the current image.
            labeler: name, or a labeler.
            reading: how the image was read, in which a labeler's own files are read too; None for the usual way.
        """
        from glesam.everything.labels import label, load_labeler

        pixels = self._session.pixels
        if isinstance(labeler, str):
            known = labeler, reading or ReadOptions()
            if known not in self._labelers:
                self._labelers[known] = load_labeler(labeler, partial(self._read, reading=known[1]))
            labeler = self._labelers[known]
        return label(pixels, masks, labeler)

    def _read(self, path: Path, reading: ReadOptions) -> RGB:
        """An image file as the model sees images: restored, where there is a restorer."""
        return self._session.embedder.restored(read_with(path, reading).pixels, path.name)


def warn_of_absent(masks: Masks, name: str | None) -> None:
    """Say which words the image shows nothing of, to the caller of the caller."""
    absent = [word for word in masks.info["words"] if word not in masks.class_names]
    if absent:
        listed = ", ".join(absent[:5]) + (", ..." if len(absent) > 5 else "")
        text = f"expected to find {listed} in {name or 'the image'}, found none"
        warnings.warn(text, AbsentWarning, stacklevel=3)


def _refiner(session: Session, count: int, view: View) -> Refiner | None:
    """What makes the masks of N objects at the image's size, as for prompts."""
    if session.refine == "off" or not count:
        return None
    height, width = view.geometry.original_size
    # Only clicks matter to the refiner; these objects have none that must hold.
    return refiner_for(session.encoded, Prompts(boxes=[[0, 0, width, height]] * count), view.enhanced, False)


def _assembled(
    found: Sequence[FoundObject],
    geometry: ImageGeometry,
    refiner: Refiner | None,
    name: str | None,
    info: dict[str, Any],
) -> Masks:
    """The objects at the image's size."""
    if not found:
        return Masks(np.zeros((0, *geometry.original_size), bool), np.zeros(0, np.float32), name=name, info=info)
    answer = MaskAssembly(len(found), 1, geometry.original_size, refiner)
    low = torch.from_numpy(np.stack([each.logits for each in found]))[None, :, None]
    finer = [each.fine for each in found if each.fine is not None]
    fine = torch.from_numpy(np.stack(finer))[None, :, None] if finer else None
    output = MaskOutput(low, torch.tensor([[[each.score] for each in found]]), fine)
    answer.put(np.arange(len(found)), output, geometry)
    return answer.masks(name, info).named([each.word for each in found])
