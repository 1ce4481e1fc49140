"""Finding squares of the marked colour, whole and each once, in scenes where all is known."""

from __future__ import annotations

import numpy as np
import pytest
from fewshot_scenes import BLUE, GREEN, RED, SIZE, Square, backbone, decoder, draw, mask_of, reference

from glesam.fewshot import candidates
from glesam.fewshot.features import image_features
from glesam.fewshot.references import DEFAULT_THRESHOLD, References
from glesam.fewshot.search import Match, find, learned, to_masks
from glesam.masks.agreement import mask_iou

EXAMPLE = [(32, 64, 64, RED), (224, 96, 96, BLUE)]
SCENE = [(20, 20, 60, RED), (200, 30, 80, RED), (60, 150, 80, BLUE), (280, 160, 64, GREEN)]


@pytest.fixture(autouse=True)
def few_clicks(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as the drawn squares need."""
    monkeypatch.setattr(candidates, "GRID", 6)


def _learned(scenes: list[list[Square]], marked: list[list[int]]) -> References:
    references = References(tuple(reference(scene, which) for scene, which in zip(scenes, marked, strict=True)))
    return learned([decoder(scene) for scene in scenes], backbone, references)


def _found(references: References) -> list[Match]:
    image = draw(SCENE)
    return find(decoder(SCENE), backbone, image, image_features(backbone, image), references)


def test_both_red_squares_are_found_whole_and_lead() -> None:
    matches = _found(_learned([EXAMPLE], [[0]]))
    for square in SCENE[:2]:
        assert max(mask_iou(match.mask, mask_of(square)) for match in matches[:2]) == 1
    assert all(match.score >= DEFAULT_THRESHOLD for match in matches[:2])
    assert all(match.score < DEFAULT_THRESHOLD for match in matches[2:])


def test_what_the_references_show_beside_counts_as_something_else() -> None:
    alone = References((reference(EXAMPLE, [0]),))
    taught = _learned([EXAMPLE], [[0]]).items[0]
    assert taught.alike is not None
    assert taught.others is not None
    blue = reference(EXAMPLE, [1]).looks[0]
    assert float((taught.others @ blue).max()) > 0.999
    assert float((taught.alike @ alone.items[0].looks[0]).min()) > 0.999
    assert float(_learned([EXAMPLE], [[0]]).likeness(blue[None])[0]) < float(alone.likeness(blue[None])[0])


def test_no_two_matches_share_an_object() -> None:
    matches = _found(References((reference(EXAMPLE, [0]), reference(EXAMPLE, [1]))))
    for index, one in enumerate(matches):
        for other in matches[index + 1 :]:
            assert not (one.mask & other.mask).any()


def test_an_image_without_anything_alike_gives_nothing_as_alike() -> None:
    grey = draw([])
    matches = find(decoder([]), backbone, grey, image_features(backbone, grey), _learned([EXAMPLE], [[0]]))
    assert all(match.score < DEFAULT_THRESHOLD for match in matches)


def test_the_threshold_comes_from_leaving_one_image_out() -> None:
    chosen = _learned([EXAMPLE, SCENE], [[0], [0, 1]])
    assert 0.25 <= chosen.threshold <= 0.75
    wanted = chosen.items[0].looks
    assert float(chosen.likeness(wanted)[0]) >= chosen.threshold
    assert _learned([EXAMPLE], [[0]]).threshold == DEFAULT_THRESHOLD


def test_results_say_what_was_asked() -> None:
    mask = mask_of(SCENE[0])
    masks = to_masks(
        [Match(mask, 0.8, 0.9, 0.5, np.zeros(4, np.float32), 0)],
        SIZE,
        "a.jpg",
        {"find_like": {"references": 1, "threshold": 0.7}},
    )
    assert masks.name == "a.jpg"
    assert masks.info["find_like"] == {"references": 1, "threshold": 0.7, "predicted_iou": [0.9]}
    np.testing.assert_array_equal(masks.masks[0], mask)
    assert len(to_masks([], SIZE, None, {"find_like": {}})) == 0
