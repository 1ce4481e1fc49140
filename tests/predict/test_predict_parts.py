"""Everything mode looks at an image without the masks at stride 2 that it would throw away."""

import numpy as np
import pytest
import torch

from glesam import Predictor
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
