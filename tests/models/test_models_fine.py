"""Masks at stride 2: twice the size of the decoder's at the start, then with detail, pixel by pixel."""

import torch
import torch.nn.functional as F

from glesam.models.base import PromptTensors
from glesam.models.compact.cells import nest
from glesam.models.compact.fine import WIDTH, FineHead
from glesam.models.compact.model import CompactConfig, CompactModel


def random_head():
    torch.manual_seed(0)
    head = FineHead(token_channels=12, pixel_channels=6)
    for parameter in head.parameters():
        torch.nn.init.normal_(parameter)
    return head


@torch.inference_mode()
def test_detail_equals_the_formula_at_every_pixel():
    head, (h, w), count = random_head(), (2, 3), 2
    maps, early = torch.randn(count, 6, 4 * h, 4 * w), torch.randn(1, WIDTH, 8 * h, 8 * w)
    token, logits = torch.randn(count, 12), torch.randn(count, 3, 4 * h, 4 * w)
    got = head(token, nest(maps, (h, w)), early, logits)
    double = F.interpolate(logits, scale_factor=2, mode="bilinear")
    first, _, last = head.pick
    vectors = F.relu(token @ first.weight.t() + first.bias) @ last.weight.t() + last.bias
    spread = head.spread.weight.view(2, 2, WIDTH, 6), head.spread.bias.view(2, 2, WIDTH)
    for m in range(count):
        for y in range(8 * h):
            for x in range(8 * w):
                pixel = spread[0][y % 2, x % 2] @ maps[m, :, y // 2, x // 2] + spread[1][y % 2, x % 2]
                detail = F.relu(pixel + early[0, :, y, x]) @ vectors[m]
                torch.testing.assert_close(got[m, :, y, x], double[m, :, y, x] + detail, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_a_grown_model_answers_as_before_at_twice_the_size():
    torch.manual_seed(1)
    small = CompactModel(CompactConfig("lite0", 64, attention_blocks=1, conv_blocks=1)).eval()
    grown = small.grown(fine=True).eval()
    pixels = torch.randn(1, 3, 64, 64)
    prompts = PromptTensors(boxes=torch.tensor([[[8.0, 12.0, 40.0, 44.0], [0.0, 0.0, 64.0, 64.0]]]))
    before, after = small.decode(small.encode(pixels), prompts), grown.decode(grown.encode(pixels), prompts)
    assert before.fine is None
    torch.testing.assert_close(after.low_res_logits, before.low_res_logits, rtol=0, atol=0)
    # In the middle of a box nothing is cut away, so that both are the same surface.
    whole = F.interpolate(before.low_res_logits[0], scale_factor=2, mode="bilinear")[1]
    torch.testing.assert_close(after.fine[0, 1], whole)


def test_the_head_learns_detail_that_the_decoder_cannot_draw():
    torch.manual_seed(2)
    head = FineHead(token_channels=12, pixel_channels=6)
    early = torch.randn(1, WIDTH, 16, 16)
    target = (early[:, :1] > 0).float()
    token, pixels, logits = torch.randn(1, 12), torch.randn(1, 64, 6), torch.zeros(1, 1, 8, 8)
    optimizer = torch.optim.Adam(head.parameters(), lr=0.02)
    for _ in range(150):
        loss = F.binary_cross_entropy_with_logits(head(token, pixels, early, logits), target)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert ((head(token, pixels, early, logits) > 0) == (target > 0)).float().mean() > 0.9
