"""ESC-Net's parts against formulas and transformers' own modules; and that it learns pairs that it never saw."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from escnet_ablation import HELD_OUT, PAIRS, batch, mean_iou, small_net, texts, train
from glesam.errors import ConfigError, ModelError
from glesam.models.registry import load_model
from glesam.models.sam.sam import SamPromptable
from glesam.text.escnet.config import EscNetConfig, SamShape
from glesam.text.escnet.fusion import ClassAttention, SwinBlock
from glesam.text.escnet.net import EscNet
from glesam.text.escnet.sam_block import SamBlock, class_prompts

KNOWN = [pair for pair in PAIRS if pair not in HELD_OUT]


@pytest.fixture(scope="module")
def trained() -> EscNet:
    torch.manual_seed(0)
    net = small_net()
    train(net, 64)
    return net.eval()


def _correlation_iou(asked: list[tuple[int, int]]) -> float:
    """What the raw correlation gives, cut where it is best of ten places."""
    features, _, truth = batch(np.random.default_rng(99), asked, 12)
    maps = torch.einsum("bdyx,kd->bkyx", F.normalize(features, dim=1), F.normalize(texts(asked), dim=1))
    fine = F.interpolate(maps, truth.shape[2:], mode="bilinear")
    wanted = truth > 0.5
    shown = wanted.flatten(2).any(dim=2)
    means = []
    for cut in np.linspace(0, 0.9, 10):
        found = fine > cut
        iou = (found & wanted).sum(dim=(2, 3)) / (found | wanted).sum(dim=(2, 3)).clamp(min=1)
        means.append(float(iou[shown].mean()))
    return max(means)


def test_it_makes_better_masks_than_the_correlation_for_pairs_that_it_never_saw(trained: EscNet) -> None:
    assert mean_iou(trained, KNOWN) > _correlation_iou(KNOWN) + 0.05
    assert mean_iou(trained, HELD_OUT) > _correlation_iou(HELD_OUT) + 0.05


def test_order_of_classes_chunks_and_an_absent_class_change_nothing_that_matters(trained: EscNet) -> None:
    features, guides, _ = batch(np.random.default_rng(3), KNOWN[:3], 4)
    asked = texts(KNOWN)
    with torch.no_grad():
        whole, maps = trained(features, asked, guides)
        parts, part_maps = trained(features, asked, guides, chunk=4)
        order = torch.tensor([3, 0, 5, 1, 4, 2])
        turned = trained(features, asked[order], guides)[0]
        few = trained(features, asked[:5], guides)[0]
    torch.testing.assert_close(parts, whole, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(part_maps[0], maps[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(turned, whole[:, order], atol=1e-4, rtol=1e-4)
    # The class that is left out is not shown: of the others' pixels hardly any changes sides.
    assert ((few > 0) == (whole[:, :5] > 0)).float().mean() > 0.99


def test_class_attention_is_the_quadratic_formula() -> None:
    torch.manual_seed(0)
    layer = ClassAttention(8, 6, 2).eval()
    maps, names = torch.randn(2, 5, 3, 4, 8), torch.randn(5, 6)
    found = layer(maps, names, layer.sums(maps, names))
    beside = torch.cat([layer.norm(maps), names[None, :, None, None].expand(2, 5, 3, 4, 6)], dim=-1)
    query, key = (F.elu(part(beside).unflatten(-1, (2, 4))) + 1 for part in (layer.query, layer.key))
    value = layer.value(layer.norm(maps)).unflatten(-1, (2, 4))
    weight = torch.einsum("bkyxnc,bjyxnc->byxnkj", query, key)
    seen = torch.einsum("byxnkj,bjyxnc->bkyxnc", weight / weight.sum(dim=-1, keepdim=True), value)
    expected = maps + layer.output(seen.flatten(-2))
    torch.testing.assert_close(found, expected + layer.mlp(layer.norm_mlp(expected)), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("shift", [0, 2])
def test_a_cell_sees_its_window_and_no_more(shift: int) -> None:
    torch.manual_seed(0)
    block = SwinBlock(8, 4, 4, 2, shift).double()
    maps = torch.randn(1, 6, 7, 8, dtype=torch.double, requires_grad=True)
    found = block(maps, torch.randn(1, 6, 7, 4, dtype=torch.double))
    for y, x in ((0, 0), (1, 5), (5, 6), (3, 3)):
        seen = torch.autograd.grad(found[0, y, x].sum(), maps, retain_graph=True)[0][0].abs().sum(dim=-1) > 0
        rows, columns = torch.arange(6), torch.arange(7)
        same_row = (rows - shift).div(4, rounding_mode="floor") == (y - shift) // 4
        same_column = (columns - shift).div(4, rounding_mode="floor") == (x - shift) // 4
        torch.testing.assert_close(seen, same_row[:, None] & same_column)


def test_prompts_lie_in_the_blobs_and_absent_ones_are_marked() -> None:
    maps = torch.zeros(2, 12, 12)
    maps[0, 2:4, 2:4] = maps[0, 8:11, 7:9] = 1
    maps[1, 5, 6] = 1
    points, labels, inside = class_prompts(maps, 2)
    assert {maps[0, int(y), int(x)].item() for x, y in points[0]} == {1.0}
    assert abs(float(points[0, 0, 1] - points[0, 1, 1])) > 3
    assert labels.tolist() == [[1, 1], [1, -10]]
    torch.testing.assert_close(inside[:, 0], maps)
    assert points[1, 0].tolist() == [6.5, 5.5]


def _tiny_sam() -> Any:
    from transformers import SamConfig, SamMaskDecoderConfig, SamModel, SamPromptEncoderConfig, SamVisionConfig

    torch.manual_seed(1)
    vision = SamVisionConfig(
        hidden_size=16, num_hidden_layers=1, num_attention_heads=2, output_channels=32, image_size=64, mlp_dim=16,
        global_attn_indexes=[0], num_pos_feats=16, initializer_range=0.02,
    )  # fmt: skip
    prompts = SamPromptEncoderConfig(hidden_size=32, image_size=64)
    decoder = SamMaskDecoderConfig(hidden_size=32, mlp_dim=64, num_hidden_layers=2, num_attention_heads=2,
                                   iou_head_hidden_dim=32)  # fmt: skip
    return SamPromptable(
        SamModel(SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)).eval()
    )


def test_a_sam_block_with_sam_s_weights_computes_what_sam_s_modules_do() -> None:
    model = _tiny_sam()
    block = SamBlock(SamShape(32, 2, 2, 64), 10, 6, 3).eval()
    block.take(model)
    image, maps = torch.randn(1, 10, 4, 4), torch.randn(1, 2, 4, 4)
    with torch.no_grad():
        found = block(image, maps)
        expected = _by_sam(model.model, block, image, maps)
    torch.testing.assert_close(found, expected, atol=1e-4, rtol=1e-4)


def _by_sam(sam: Any, block: SamBlock, image: Tensor, maps: Tensor) -> Tensor:
    """SAM's own prompt encoder and transformer, one class at a time; its square has 64 pixels, the block's 1,024."""
    points, labels, inside = class_prompts(maps[0], 3)
    masks = (2 * inside - 1).repeat_interleave(4, dim=2).repeat_interleave(4, dim=3) * 4.0
    steps = (torch.arange(4) + 0.5) / 4
    grid = torch.stack([steps.expand(4, 4), steps[:, None].expand(4, 4)], dim=-1)
    positions = sam.shared_image_embedding(grid).permute(2, 0, 1)[None]
    found = []
    for k in range(2):
        pixels = (points[k] * 16 - 0.5)[None, None]
        sparse, dense = sam.prompt_encoder(pixels, labels[k][None, None], None, masks[k][None])
        tokens = block.project(image) + dense
        seen = sam.mask_decoder.transformer(sparse, tokens, positions, None)[1]
        found.append(block.fuse(seen[0].transpose(1, 2).reshape(1, 32, 4, 4)))
    return torch.stack(found, dim=1)


def test_weights_come_from_the_compact_model_and_from_no_other_size() -> None:
    model = load_model("compact")
    block = SamBlock(SamShape(), 12, 8, 2)
    block.take(model)
    wanted = model.mask_decoder.transformer.state_dict()
    assert all(torch.equal(value, wanted[key]) for key, value in block.transformer.state_dict().items())
    with pytest.raises(ModelError, match="expected the weights of SAM's"):
        SamBlock(SamShape(32, 2, 2, 64), 12, 8, 2).take(model)


def test_a_saved_network_is_the_same_and_a_wrong_file_is_one_line(tmp_path: Path, trained: EscNet) -> None:
    trained.save_pretrained(tmp_path / "net", "models/clip")
    again = EscNet.from_pretrained(tmp_path / "net")
    features, guides, _ = batch(np.random.default_rng(3), KNOWN[:3], 1)
    with torch.no_grad():
        found = [net(features, texts(KNOWN), guides)[0] for net in (trained, again)]
    torch.testing.assert_close(*found, atol=0, rtol=0)
    with pytest.raises(ConfigError, match="as many guides"):
        EscNetConfig(guides=(3,))
