"""Points in which transformers, or we, once differed from the authors' code, each against the plain formula."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from models_tiny import sam2_tiny, sam_tiny
from PIL import Image
from torch import Tensor
from transformers import SamModel

from glesam.errors import PromptError
from glesam.models.base import Embedding, ImageGeometry, MaskOutput, PromptTensors
from glesam.models.registry import load_model
from glesam.models.sam.pixels import squash_frame
from glesam.models.sam.sam import SamPromptable
from glesam.models.sam.sam2 import Sam2Promptable
from glesam.predict.predictor import Predictor
from glesam.prompts.prompts import Prompts
from glesam.views.enlarge import axis_weights

IMAGE = np.random.default_rng(0).integers(0, 256, (37, 90, 3), np.uint8)


def torch_default_norm(x: Tensor, norm: torch.nn.Module) -> Tensor:
    centred = x - x.mean(-1, keepdim=True)
    return centred / torch.sqrt(centred.square().mean(-1, keepdim=True) + 1e-5) * norm.weight + norm.bias


@torch.no_grad()
def test_sam_normalises_its_two_way_blocks_with_1e_5(tmp_path: Path) -> None:
    """Also from a folder whose config says 1e-6, as those of the converted weights do."""
    plain = sam_tiny()
    assert plain.config.mask_decoder_config.layer_norm_eps == 1e-6
    plain.save_pretrained(tmp_path)
    tokens = torch.randn(1, 1, 5, 32, generator=torch.Generator().manual_seed(1)) * 1e-3
    for model in (SamPromptable(sam_tiny()), load_model(tmp_path)):
        for block in model.model.mask_decoder.transformer.layers:
            for norm in (block.layer_norm1, block.layer_norm2, block.layer_norm3, block.layer_norm4):
                torch.testing.assert_close(norm(tokens), torch_default_norm(tokens, norm), atol=1e-6, rtol=1e-6)
        assert model.model.vision_encoder.layers[0].layer_norm1.eps == 1e-6
    model.save_pretrained(tmp_path / "again")
    assert SamModel.from_pretrained(tmp_path / "again").mask_decoder.transformer.layers[1].layer_norm4.eps == 1e-5


class Fixed(Sam2Promptable):
    """Answers with given logits."""

    def __init__(self, logits: Tensor) -> None:
        super().__init__(sam2_tiny())
        self.logits, self.seen = logits, []

    def decode(self, embedding: Embedding, prompts: PromptTensors, multimask: bool = False) -> MaskOutput:
        self.seen.append(prompts)
        return MaskOutput(self.logits, torch.ones(self.logits.shape[:3]))


def test_sam2_masks_in_one_bilinear_step_and_logits_cut_at_32() -> None:
    logits = torch.randn(1, 1, 1, 16, 16, generator=torch.Generator().manual_seed(2)) * 40
    predictor = Predictor(Fixed(logits), refine="off")
    predictor.set_image(IMAGE)
    masks = predictor.predict(points=[[3, 4]])
    at_once = F.interpolate(logits[0], (37, 90), mode="bilinear", align_corners=False)[0, 0] > 0
    by_the_square = F.interpolate(logits[0], (64, 64), mode="bilinear", align_corners=False)
    by_the_square = F.interpolate(by_the_square, (37, 90), mode="bilinear", align_corners=False)[0, 0] > 0
    assert np.array_equal(masks.masks[0], at_once.numpy())
    assert not torch.equal(at_once, by_the_square)
    assert np.array_equal(masks.logits[0], logits[0, 0, 0].clamp(-32, 32).numpy())
    assert abs(logits).max() > 32


def test_one_step_as_matrices() -> None:
    """Everything mode enlarges windows by these."""
    logits = torch.randn(1, 1, 16, 16, generator=torch.Generator().manual_seed(3))
    geometry = ImageGeometry((37, 90), (64, 64), 64, direct=True)
    rows, columns = (torch.from_numpy(axis_weights(16, 64, 64, length, direct=True)) for length in (37, 90))
    torch.testing.assert_close(rows @ logits[0, 0] @ columns.T, geometry.restore(logits)[0, 0], atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("kind", [SamPromptable, Sam2Promptable])
def test_boxes_beyond_the_edge_arrive_as_given(kind: type, monkeypatch: pytest.MonkeyPatch) -> None:
    model = kind(sam_tiny() if kind is SamPromptable else sam2_tiny())
    seen: list[PromptTensors] = []
    decode = model.decode
    monkeypatch.setattr(model, "decode", lambda e, p, m=False: (seen.append(p), decode(e, p, m))[1])
    predictor = Predictor(model)
    predictor.set_image(IMAGE)
    for tile in (None, 64):
        assert "cut_boxes" not in predictor.predict(boxes=[[-8, -5, 100, 20]], tile=tile).info
    square = 64 / 90, (64 / 37 if kind is Sam2Promptable else 26 / 37)
    expected = torch.tensor([-8 * square[0], -5 * square[1], 100 * square[0], 20 * square[1]])
    for prompts in seen:
        torch.testing.assert_close(prompts.boxes[0, 0], expected, atol=1e-4, rtol=0)
    assert len(seen) == 2
    with pytest.raises(PromptError, match="expected boxes that touch the image"):
        predictor.predict(boxes=[[95, 5, 120, 20]])
    assert Prompts(boxes=[-8, -5, 100, 20]).check((37, 90)).boxes[0].tolist() == [0, 0, 90, 20]


def test_frames_of_clips_are_resized_by_pillow() -> None:
    found = squash_frame(IMAGE, 64)
    resized = np.asarray(Image.fromarray(IMAGE).resize((64, 64), Image.Resampling.BICUBIC), np.float64) / 255
    expected = (resized - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225]
    assert found.shape == (1, 3, 64, 64)
    np.testing.assert_allclose(found[0].permute(1, 2, 0).numpy(), expected, atol=1e-6)
