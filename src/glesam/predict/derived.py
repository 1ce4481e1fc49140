"""Prompts that a predictor makes itself: from masks, from heat maps, or from nothing."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import numpy as np

from glesam.amodal.complete import completed
from glesam.amodal.network import bundled_network
from glesam.common.arrays import Bool
from glesam.errors import PromptError
from glesam.fewshot.heat import best_by_map, heat_prompts, without_duplicates
from glesam.masks.masks import Masks
from glesam.predict.examples import stacked
from glesam.prompts.hygiene import ClickCheck, DoubtfulClickWarning, check_clicks
from glesam.prompts.start import kept_to_start, start_prompts
from glesam.subject.find import find_subject

if TYPE_CHECKING:
    from glesam.fewshot.features import Backbone
    from glesam.predict.session import Session
    from glesam.prompts.prompts import Prompts
    from glesam.subject.head import SubjectHead


def predict_from_masks(session: Session, masks: Any, keep_to: float) -> Masks:
    """Correct masks that are nearly right; see `Predictor.predict_from_masks`."""
    encoded, start = session.encoded, stacked(masks)
    prompts = start_prompts(start, encoded.geometry)
    answer = session.answer(encoded, prompts, name=session.current.name)
    return kept_to_start(answer, start, np.asarray(prompts.mask_input), keep_to)


def predict_heat_map(session: Session, values: Any, regions: int) -> Masks:
    """Segment what a heat map points at; see `Predictor.predict_heat_map`."""
    encoded = session.encoded
    asked = heat_prompts(np.asarray(values, np.float32), encoded.geometry.original_size, regions)
    answers = [session.answer(encoded, prompts, name=session.current.name) for prompts in asked.ways]
    return without_duplicates(best_by_map(answers, asked.own))


def predict_subject(session: Session, backbone: Backbone, head: SubjectHead) -> Masks:
    """Segment the main thing of the current image; see `Predictor.predict_subject`."""
    encoded, image = session.encoded, session.pixels
    answers: list[Masks] = []

    def ask(prompts: Prompts, several: bool) -> Masks:
        answers.append(session.answer(encoded, prompts, several))
        return answers[-1]

    found = find_subject(ask, backbone, head, image)
    enhanced = any(answer.info["enhanced"] for answer in answers)
    return found.to_masks(session.current.name, session.info(enhanced))


def complete(session: Session, backbone: Backbone, masks: Any) -> Masks:
    """Complete masks of the current image; see `Predictor.complete`."""
    image = session.pixels
    given = masks if isinstance(masks, Masks) else _as_masks(stacked(masks), session)
    if given.size != image.shape[:2]:
        (height, width), (h, w) = image.shape[:2], given.size
        raise PromptError(f"expected masks of the image's {width}x{height} pixels, got {w}x{h}; give its own masks")
    return completed(backbone, bundled_network(), image, given)


def _as_masks(stack: Bool, session: Session) -> Masks:
    """Masks that no model made."""
    return Masks(stack, np.ones(len(stack), np.float32), name=session.current.name)


def check_prompts(session: Session, prompts: Prompts) -> list[ClickCheck]:
    """Say which clicks look wrong; see `Predictor.check_prompts`."""
    encoded = session.encoded
    fitting = prompts.check(encoded.geometry.original_size, cut=session.model.cuts_boxes)
    return check_clicks(lambda asked: session.answer(encoded, asked), fitting)


def checked(session: Session, prompts: Prompts, answer: Masks) -> Masks:
    """The answer with what is to be said of its clicks; see `Predictor.predict`."""
    checks = check_prompts(session, prompts)
    for check in checks:
        for sentence in check.sentences():
            # Told to the caller of `predict`.
            warnings.warn(sentence, DoubtfulClickWarning, stacklevel=3)
    return answer.described(answer.name, {**answer.info, "checks": [check.record() for check in checks]})
