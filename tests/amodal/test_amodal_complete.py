"""Completion with a network whose answer is known: what is kept, what is dropped, and where it lies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from glesam.amodal.complete import cleaned, completed
from glesam.amodal.network import AmodalNetwork
from glesam.errors import ModelError
from glesam.masks.masks import Masks
from glesam.masks.runs import RunMask
from glesam.masks.sparse import SparseMasks

IMAGE = np.full((96, 128, 3), 90, np.uint8)


class Dark(AmodalNetwork):
    """Takes dark places for the hidden part of any object."""

    def forward(self, maps: list[Tensor], visible: Tensor, inside: Tensor) -> Tensor:
        dark = torch.nn.functional.interpolate(maps[0][:, :1], visible.shape[-2:], mode="nearest")[:, 0]
        return torch.where((dark < -0.5) & (inside > 0.5), 5.0, -5.0)


def _backbone(pixels: Tensor) -> list[Tensor]:
    """Brightness at strides 4 to 32."""
    light = pixels.mean(dim=1, keepdim=True)
    return [torch.nn.functional.avg_pool2d(light, stride) for stride in (4, 8, 16, 32)]


def _network() -> Dark:
    return Dark((1, 1, 1), hidden=4, side=128).eval()


def _masks(*boxes: tuple[int, int, int, int]) -> Masks:
    stack = np.zeros((len(boxes), 96, 128), bool)
    for mask, (x0, y0, x1, y1) in zip(stack, boxes, strict=True):
        mask[y0:y1, x0:x1] = True
    return Masks(stack, np.ones(len(boxes), np.float32))


def test_what_is_hidden_is_added_where_it_lies() -> None:
    image = IMAGE.copy()
    image[32:64, 64:80] = 0
    found = completed(_backbone, _network(), image, _masks((32, 32, 64, 64)))
    expected = np.zeros((96, 128), bool)
    expected[32:64, 64:80] = True
    union = np.count_nonzero(found.hidden[0] | expected)
    assert np.count_nonzero(found.hidden[0] & expected) / union > 0.85
    assert (found.whole.masks >= found.masks).all()
    np.testing.assert_array_equal(found.masks, _masks((32, 32, 64, 64)).masks)


def test_each_object_has_its_own_and_empty_ones_stay_empty() -> None:
    image = IMAGE.copy()
    image[32:64, 64:80] = 0
    given = [(32, 32, 64, 64), (0, 0, 0, 0), (100, 4, 112, 16), *[(2, 70, 20, 90)] * 9]  # more than a batch
    found = completed(_backbone, _network(), image, _masks(*given))
    areas = found.hidden.sum(axis=(1, 2))
    assert areas[0] > 400
    assert (areas[1:] == 0).all()
    assert not found.whole.masks[1].any()
    alone = completed(_backbone, _network(), image, _masks(given[0]))
    np.testing.assert_array_equal(found.hidden[0], alone.hidden[0])


def test_strips_along_the_edge_and_specks_are_no_hidden_parts() -> None:
    visible, hidden = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    visible[20:80, 20:80] = True
    hidden[20:80, 80:82] = True  # a strip
    hidden[5:10, 5:10] = True  # .7 % of the area
    assert not cleaned(hidden, visible).any()
    hidden[80:95, 30:60] = True
    expected = np.zeros((100, 100), bool)
    expected[80:95, 30:60] = True
    np.testing.assert_array_equal(cleaned(hidden, visible), expected)
    assert not cleaned(np.zeros((100, 100), bool), visible).any()


def test_a_hidden_part_at_the_edge_of_the_image_is_kept() -> None:
    visible, hidden = np.zeros((100, 100), bool), np.zeros((100, 100), bool)
    visible[20:80, 20:80] = True
    hidden[60:100, 80:100] = True
    np.testing.assert_array_equal(cleaned(hidden, visible), hidden)


def test_a_saved_network_answers_as_before(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = AmodalNetwork((48, 120, 352), hidden=32, side=64).eval()
    maps = [torch.rand(2, count, 64 // s, 64 // s) for count, s in zip((48, 120, 352), (8, 16, 32), strict=True)]
    planes = torch.rand(2, 16, 16), torch.ones(2, 16, 16)
    with torch.inference_mode():
        before = network(maps, *planes)
        assert before.shape == (2, 16, 16)
        network.save_pretrained(tmp_path)
        again = AmodalNetwork.from_pretrained(tmp_path)
        torch.testing.assert_close(again(maps, *planes), before, atol=0.05, rtol=0.05)  # 8 bits
        torch.testing.assert_close(network(maps, *planes), before, atol=5e-3, rtol=5e-3)  # float16 there and back
    content = (tmp_path / "model.safetensors").read_bytes()
    (tmp_path / "model.safetensors").write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(ModelError, match="with SHA-256"):
        AmodalNetwork.from_pretrained(tmp_path)


def test_the_network_sees_mask_features_and_edge_of_the_image() -> None:
    torch.manual_seed(1)
    network = AmodalNetwork((3, 4, 5), hidden=8, side=64).eval()
    maps = [torch.rand(1, count, 64 // s, 64 // s) for count, s in zip((3, 4, 5), (8, 16, 32), strict=True)]
    visible, inside = torch.rand(1, 16, 16), torch.ones(1, 16, 16)
    with torch.inference_mode():
        base = network(maps, visible, inside)
        for changed in ((maps, visible.flip(-1), inside), (maps, visible, inside * 0)):
            assert (network(*changed) - base).abs().max() > 1e-3
        for level in range(3):
            other = [m.flip(-1) if i == level else m for i, m in enumerate(maps)]
            assert (network(other, visible, inside) - base).abs().max() > 1e-4


def test_masks_kept_as_runs_stay_runs() -> None:
    image = IMAGE.copy()
    image[32:64, 64:80] = 0
    dense = _masks((32, 32, 64, 64), (2, 70, 20, 90))
    sparse = SparseMasks([RunMask.from_array(mask) for mask in dense.masks], dense.scores, dense.size)
    found = completed(_backbone, _network(), image, sparse)
    assert isinstance(found, SparseMasks)
    np.testing.assert_array_equal(found.whole.masks, completed(_backbone, _network(), image, dense).whole.masks)
