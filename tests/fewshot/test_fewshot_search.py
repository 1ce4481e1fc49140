"""Finding squares of the marked colour, whole and each once, in scenes where all is known."""

from __future__ import annotations

import numpy as np
from fewshot_scenes import BLUE, GREEN, RED, SIZE, backbone, decoder, draw, mask_of, reference

from glesam.fewshot.features import image_features
from glesam.fewshot.references import DEFAULT_THRESHOLD, References
from glesam.fewshot.search import Match, find, mask_iou, to_masks, with_threshold

EXAMPLE = [(32, 64, 64, RED), (224, 96, 96, BLUE)]
SCENE = [(20, 20, 60, RED), (200, 30, 80, RED), (60, 150, 80, BLUE), (280, 160, 64, GREEN)]


def _found(references: References) -> list[Match]:
    image = draw(SCENE)
    return find(decoder(SCENE), backbone, image, image_features(backbone, image), references)


def test_both_red_squares_are_found_whole_and_lead() -> None:
    matches = _found(References((reference(EXAMPLE, [0]),)))
    for square in SCENE[:2]:
        assert max(mask_iou(match.mask, mask_of(square)) for match in matches[:2]) == 1
    assert all(match.score < matches[1].score - 0.03 for match in matches[2:])


def test_no_two_matches_share_an_object() -> None:
    matches = _found(References((reference(EXAMPLE, [0]), reference(EXAMPLE, [1]))))
    for index, one in enumerate(matches):
        for other in matches[index + 1 :]:
            assert not (one.mask & other.mask).any()


def test_an_image_without_anything_alike_gives_nothing_as_alike() -> None:
    grey = draw([])
    references = References((reference(EXAMPLE, [0]),))
    matches = find(decoder([]), backbone, grey, image_features(backbone, grey), references)
    assert all(match.score < 0.9 for match in matches)


def test_the_threshold_comes_from_leaving_one_image_out() -> None:
    scenes = [EXAMPLE, SCENE]
    references = References((reference(EXAMPLE, [0]), reference(SCENE, [0, 1])))
    chosen = with_threshold([decoder(scene) for scene in scenes], backbone, references)
    likeness = [match.score for match in _found(References((reference(EXAMPLE, [0]),)))]
    assert abs(chosen.threshold - DEFAULT_THRESHOLD) <= 0.1 + 1e-6
    assert chosen.threshold <= likeness[1]
    alone = References((reference(EXAMPLE, [0]),))
    assert with_threshold([decoder(EXAMPLE)], backbone, alone).threshold == DEFAULT_THRESHOLD


def test_results_say_what_was_asked() -> None:
    mask = mask_of(SCENE[0])
    masks = to_masks([Match(mask, 0.8, 0.9, 0.5)], SIZE, "a.jpg", {"find_like": {"references": 1, "threshold": 0.7}})
    assert masks.name == "a.jpg"
    assert masks.info["find_like"] == {"references": 1, "threshold": 0.7, "predicted_iou": [0.9]}
    np.testing.assert_array_equal(masks.masks[0], mask)
    assert len(to_masks([], SIZE, None, {"find_like": {}})) == 0
