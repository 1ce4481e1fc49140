"""Refined masks through the predictor: what changes with them, and what must not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
import torch

from glesam import Masks, Predictor, Prompts
from glesam.errors import ConfigError, DataError, PromptError
from glesam.images.reading import read
from glesam.masks.obey import clicks_of
from glesam.masks.refine import DEGRADED, POLICY
from glesam.predict.finish import cell_of, refiner_for

PHOTO = Path(__file__).parents[2] / "examples" / "photos" / "coffee.jpg"
POINTS, LABELS = [[[300, 160], [60, 40]], [[210, 330], [300, 160]]], [[1, 0], [1, 0]]


@pytest.fixture(scope="module")
def predictor() -> Predictor:
    made = Predictor.from_pretrained("compact", enhance="off")
    made.set_image(PHOTO)
    return made


def enlarged(predictor: Predictor, logits: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Logits at the image's size, cut at 0."""
    return (predictor.session.encoded.geometry.restore(torch.from_numpy(logits)[:, None])[:, 0] > 0).numpy()


def decoded(predictor: Predictor) -> npt.NDArray[np.bool_]:
    """The finest logits of the decoder's second answer to the prompts, at the image's size, cut at 0."""
    encoded = predictor.session.encoded
    prompts = Prompts(points=POINTS, labels=LABELS).to_tensors(encoded.geometry, predictor.model.device)
    with torch.inference_mode():
        first = predictor.model.decode(encoded.raw, prompts)
        output = predictor.model.decode(encoded.raw, replace(prompts, mask_input=first.low_res_logits[:, :, 0]))
    return (encoded.geometry.restore(output.finest[0])[:, 0] > 0).numpy()


def test_off_gives_the_decoders_masks_and_auto_leaves_its_numbers(predictor: Predictor) -> None:
    refined = predictor.predict(points=POINTS, labels=LABELS)
    predictor.refine = "off"
    try:
        raw = predictor.predict(points=POINTS, labels=LABELS)
    finally:
        predictor.refine = "auto"
    assert np.array_equal(raw.masks, decoded(predictor))
    assert np.array_equal(raw.logits, refined.logits)
    assert np.array_equal(raw.scores, refined.scores)
    assert not np.array_equal(raw.masks, refined.masks)
    assert (refined.info["refine"], raw.info["refine"]) == ("auto", "off")


def test_clicks_hold_wherever_they_are(predictor: Predictor) -> None:
    rng = np.random.default_rng(3)
    height, width = predictor.image_size
    points = rng.integers(0, (width, height), (6, 4, 2))
    labels = np.tile([1, 0, 1, 0], (6, 1))
    masks = predictor.predict(points=points, labels=labels, multimask=True)
    assert masks.candidates is not None
    for mask, candidates, spots in zip(masks.masks, masks.candidates, points, strict=True):
        for each in (mask, *candidates):
            assert each[spots[:, 1], spots[:, 0]].tolist() == [True, False, True, False]


def test_guesses_need_not_hold(predictor: Predictor) -> None:
    wrong = {"boxes": [[200, 60, 460, 240]], "points": [[[5, 5]]], "labels": [[1]]}
    assert not predictor.predict(**wrong, obey=False).masks[0, 5, 5]
    assert predictor.predict(**wrong).masks[0, 5, 5]


def test_the_cached_image_keeps_its_guide_and_others_get_theirs(predictor: Predictor) -> None:
    first = predictor.predict(boxes=[200, 60, 460, 240]).masks
    predictor.set_image(read(PHOTO)[:, ::-1].copy())
    predictor.set_image(PHOTO)
    assert np.array_equal(predictor.predict(boxes=[200, 60, 460, 240]).masks, first)


def test_masks_in_batches_are_those_one_by_one(predictor: Predictor) -> None:
    prompts = Prompts(points=POINTS, labels=LABELS)
    alone = predictor.predict(prompts).masks
    assert np.array_equal(predictor.predict_batch([PHOTO], [prompts])[0].masks, alone)


def test_refiner_takes_the_policy_for_degraded_images_and_the_cells_of_the_logits(predictor: Predictor) -> None:
    encoded, prompts = predictor.session.encoded, Prompts(points=[[[1, 2]], []], boxes=[None, [0, 0, 9, 9]])
    for enhanced, policy in ((False, POLICY), (True, DEGRADED)):
        refiner = refiner_for(encoded, prompts, enhanced, True)
        assert refiner is not None
        assert refiner.policy == policy
    width = predictor.image_size[1]
    assert cell_of(encoded.geometry, 128) == pytest.approx(4 * width / 512, rel=0.01)
    first, second = clicks_of(prompts)
    assert first is not None
    assert first.pixels.tolist() == [[1, 2]]
    assert second is None


def test_an_unknown_mode_is_refused_before_a_model_is_loaded() -> None:
    with pytest.raises(ConfigError, match="expected refine of auto, off"):
        Predictor.from_pretrained("no-such-model", refine="maybe")


def test_a_prediction_goes_on_from_the_candidate_that_was_picked(predictor: Predictor) -> None:
    first = predictor.predict(points=[[300, 160]], labels=[1], multimask=True)
    assert first.candidates is not None
    assert first.candidate_logits is not None
    assert first.candidate_scores is not None
    other = int(first.candidate_scores[0].argmin())
    picked = first.pick(other)
    assert np.array_equal(picked.masks, first.candidates[:, other])
    assert np.array_equal(picked.logits, first.candidate_logits[:, other])
    assert picked.scores == first.candidate_scores[:, other]
    assert np.array_equal(first.pick([int(first.candidate_scores[0].argmax())]).logits, first.logits)
    clicks = {"points": [[300, 160], [60, 40]], "labels": [1, 0]}
    on, by_hand = predictor.predict(**clicks, start=picked), predictor.predict(**clicks, mask_input=picked.logits)
    assert np.array_equal(on.logits, by_hand.logits)
    assert not np.array_equal(on.logits, predictor.predict(**clicks).logits)


def test_what_cannot_be_gone_on_from_is_refused(predictor: Predictor) -> None:
    single = predictor.predict(points=[[300, 160]])
    with pytest.raises(DataError, match="multimask=True"):
        single.pick(0)
    with pytest.raises(DataError, match="0 to 2"):
        predictor.predict(points=[[300, 160]], multimask=True).pick(3)
    with pytest.raises(PromptError, match="got both"):
        predictor.predict(points=[[300, 160]], mask_input=single.logits, start=single)
    with pytest.raises(PromptError, match="without logits"):
        predictor.predict(points=[[300, 160]], start=Masks(single.masks, single.scores))
