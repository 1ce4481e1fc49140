"""Everything mode looks at an image without the masks at stride 2 that it would throw away."""

import numpy as np
import pytest
import torch

from glesam import Predictor
from glesam.errors import DataError
from glesam.models.base import PromptTensors
from glesam.models.compact import CompactConfig, CompactModel


@pytest.fixture(scope="module")
def predictor():
    torch.manual_seed(0)
    model = CompactModel(CompactConfig("lite0", image_size=64)).grown(fine=True).eval()
    predictor = Predictor(model)
    predictor.set_image(np.random.default_rng(0).integers(0, 255, (48, 64, 3), np.uint8))
    return predictor


def test_without_fine_masks_the_others_are_the_same(predictor):
    embedding = predictor.model.encode(predictor.model.prepare(np.zeros((48, 64, 3), np.uint8))[0])
    prompts = PromptTensors(torch.tensor([[[[9.0, 9.0]], [[30.0, 20.0]]]]), torch.ones(1, 2, 1, dtype=torch.long))
    with torch.inference_mode():
        whole = predictor.model.decode(embedding, prompts, True)
        plain = predictor.model.decode(predictor.model.without_fine(embedding), prompts, True)
    assert whole.fine is not None
    assert plain.fine is None
    assert torch.equal(whole.low_res_logits, plain.low_res_logits)
    assert torch.equal(whole.iou, plain.iou)


def test_everything_mode_asks_for_no_fine_masks(predictor, monkeypatch):
    called = []
    monkeypatch.setattr(predictor.model.fine, "forward", lambda *arguments: called.append(arguments))
    predictor.generate(points_per_side=2, pred_iou_thresh=0.0, stability_score_thresh=0.0)
    assert not called


def test_windows_are_checked_picked_and_left_alone_like_any_masks(predictor):
    predictor.set_image(np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8))
    clicks = {"points": [[[60, 60], [200, 150]]], "labels": [[1, 1]], "tile": 128}
    checked = predictor.predict(**clicks, check=True)
    assert [check["object"] for check in checked.info["checks"]] == [0]
    three = predictor.predict(**clicks, multimask=True)
    picked = three.pick(2)
    np.testing.assert_array_equal(picked.masks, three.candidates[:, 2])
    np.testing.assert_array_equal(picked.scores, three.candidate_scores[:, 2])
    np.testing.assert_array_equal(three.pick(0).mask(0), three.candidates[0, 0])
    for wrong in (3, 1.7):
        with pytest.raises(DataError, match="candidates of 0 to 2"):
            three.pick(wrong)
    with pytest.raises(DataError, match="multimask=True"):
        checked.pick(0)


def test_guesses_need_not_hold_in_windows_either(predictor):
    predictor.set_image(np.random.default_rng(1).integers(0, 255, (200, 300, 3), np.uint8))
    points = [[[x, y] for x in range(20, 300, 40) for y in range(20, 200, 40)]]
    held, free = (predictor.predict(points=points, tile=512, obey=obey) for obey in (True, False))
    inside = held.masks[0][[int(y) for _, y in points[0]], [int(x) for x, _ in points[0]]]
    assert inside.all()
    assert (held.masks != free.masks).any()
