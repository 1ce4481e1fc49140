"""What an encoded image says of the sizes of masks, and the mean of two answers, against plain loops."""

from __future__ import annotations

import numpy as np
import torch

from glesam.models.base import Embedding, ImageGeometry, MaskOutput
from glesam.predict.embeddings import Encoded, blended


def test_a_mask_is_small_by_the_share_of_its_box() -> None:
    encoded = Encoded(ImageGeometry((30, 40), (48, 64), 64), Embedding(torch.zeros(1, 4, 4, 4), ()))
    logits = torch.full((4, 16, 16), -1.0)
    logits[0, 3, 5] = 1  # 4 x 4 of 64 x 48 pixels
    logits[1, 2:6, 4:9] = 1  # 20 x 16
    logits[2, 2, 4] = logits[2, 5, 8] = 1  # two specks with the same box
    share = 20 * 16 / (64 * 48)
    assert encoded.small_masks(logits, share).tolist() == [True, False, False, False]  # the last one is empty
    assert encoded.small_masks(logits, share * 1.001).tolist() == [True, True, True, False]
    assert not encoded.small_masks(logits, 0.0).any()


def test_a_mask_that_goes_on_through_the_padding_is_as_small_as_what_lies_in_the_image() -> None:
    encoded = Encoded(ImageGeometry((30, 40), (48, 64), 64), Embedding(torch.zeros(1, 4, 4, 4), ()))
    logits = torch.full((1, 16, 16), -1.0)
    logits[0, 10:, 4:9] = 1  # rows 10 and 11 hold the image's end, those from 12 on nothing of it
    share = 20 * 8 / (64 * 48)
    assert encoded.small_masks(logits, share * 1.001).tolist() == [True]
    assert encoded.small_masks(logits, share).tolist() == [False]


def test_each_object_has_its_share_of_two_answers() -> None:
    draw = torch.Generator().manual_seed(0)

    def answer(fine: bool) -> MaskOutput:
        low, iou = torch.randn(1, 3, 1, 4, 6, generator=draw), torch.rand(1, 3, 1, generator=draw)
        return MaskOutput(low, iou, torch.randn(1, 3, 1, 8, 12, generator=draw) if fine else None)

    first, second, shares = answer(True), answer(False), [0.0, 0.25, 1.0]
    found = blended(first, second, torch.tensor(shares))
    assert found.fine is not None
    assert first.fine is not None
    for index, share in enumerate(shares):
        low = share * first.low_res_logits[0, index] + (1 - share) * second.low_res_logits[0, index]
        np.testing.assert_allclose(found.low_res_logits[0, index], low, atol=1e-6)
        iou = share * first.iou[0, index] + (1 - share) * second.iou[0, index]
        np.testing.assert_allclose(found.iou[0, index], iou, atol=1e-6)
    np.testing.assert_allclose(found.fine[0, 2], first.fine[0, 2], atol=1e-6)
    assert blended(second, second, torch.tensor(shares)).fine is None
