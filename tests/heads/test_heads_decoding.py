"""What is chosen of four masks, against transformers' SAM 2 decoder."""

from __future__ import annotations

import pytest
import torch
from transformers.models.sam2.configuration_sam2 import Sam2MaskDecoderConfig
from transformers.models.sam2.modeling_sam2 import Sam2MaskDecoder

from glesam.heads.decoding import all_masks, choose
from glesam.models.compact.decoder import CompactMaskDecoder


@pytest.fixture(scope="module")
def masks() -> tuple[torch.Tensor, torch.Tensor]:
    """Of six prompts: stable and unstable single masks, one with nothing above either threshold."""
    generator = torch.Generator().manual_seed(2)
    logits = torch.randn(6, 4, 12, 12, generator=generator) * torch.tensor([0.01, 50, 0.2, 9, 2, 1]).view(6, 1, 1, 1)
    logits[5, 0] = -1.0
    return logits, torch.rand(6, 4, generator=generator)


def test_unstable_single_masks_give_way_as_in_sam2(masks: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, iou = masks
    decoder = Sam2MaskDecoder(Sam2MaskDecoderConfig()).eval()
    expected = [part[:, 0] for part in decoder._dynamic_multimask_via_stability(logits[:, None], iou[:, None])]
    replaced = (expected[0] != logits[:, :1]).flatten(1).any(dim=1)
    assert replaced.any()
    assert not replaced.all()
    for own in (decoder, CompactMaskDecoder().eval()):
        for ours, theirs in zip(choose(own, logits, iou, multimask=False), expected, strict=True):
            torch.testing.assert_close(ours, theirs, rtol=0, atol=0)
        torch.testing.assert_close(all_masks(own, logits, iou)[0][:, 1:], logits[:, 1:], rtol=0, atol=0)


def test_candidates_and_training_are_left_alone(masks: tuple[torch.Tensor, torch.Tensor]) -> None:
    logits, iou = masks
    decoder = Sam2MaskDecoder(Sam2MaskDecoderConfig())
    assert torch.equal(choose(decoder.eval(), logits, iou, multimask=True)[0], logits[:, 1:])
    assert torch.equal(choose(decoder.train(), logits, iou, multimask=False)[0], logits[:, :1])
    decoder.dynamic_multimask_via_stability = False
    assert torch.equal(choose(decoder.eval(), logits, iou, multimask=False)[0], logits[:, :1])
