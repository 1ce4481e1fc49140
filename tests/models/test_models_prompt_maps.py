"""Prompt maps against a brute-force drawing, and their zero start."""

import copy
import math
import pickle

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import tensor

from glesam.models.base import PromptTensors
from glesam.models.compact.cells import nest, unnest
from glesam.models.compact.model import CompactConfig, CompactModel
from glesam.models.compact.prompt_maps import PromptMaps, prompt_maps

SIDE = 64


def drawn(points, labels, cells, stride):
    """The four maps, cell by cell and pixel by pixel."""
    out = torch.zeros(4, cells, cells)
    corners = {label: point for point, label in zip(points, labels, strict=True) if label in (2, 3)}
    for row in range(cells):
        for column in range(cells):
            if corners:
                (x0, y0), (x1, y1) = corners[2], corners[3]
                pixels = [
                    (x0 <= column * stride + i < x1) and (y0 <= row * stride + j < y1)
                    for i in range(stride)
                    for j in range(stride)
                ]
                out[0, row, column] = sum(pixels) / stride**2
                out[1, row, column] = 1 - out[0, row, column]
            for (x, y), label in zip(points, labels, strict=True):
                if label in (0, 1):
                    squared = ((column + 0.5) * stride - x) ** 2 + ((row + 0.5) * stride - y) ** 2
                    out[3 - label, row, column] += math.exp(-squared / 128)
    return out.clamp(max=1)


coordinate = st.integers(0, SIDE)


@settings(max_examples=25, deadline=None)
@given(
    clicks=st.lists(st.tuples(coordinate, coordinate, st.sampled_from([0, 1])), max_size=3),
    box=st.none() | st.tuples(coordinate, coordinate, coordinate, coordinate),
    stride=st.sampled_from([4, 16]),
)
def test_maps_equal_a_drawing_pixel_by_pixel(clicks, box, stride):
    points, labels = [(x, y) for x, y, _ in clicks], [label for *_, label in clicks]
    if box is not None:
        points += [(min(box[0], box[2]), min(box[1], box[3])), (max(box[0], box[2]), max(box[1], box[3]))]
        labels += [2, 3]
    padded = [*points, (0, 0)], [*labels, -1]
    ours, other = prompt_maps(tensor([padded[0]]).float(), tensor([padded[1]]), (SIDE, SIDE), (stride, 8))
    for maps, side in ((ours, stride), (other, 8)):
        truth = drawn(points, labels, SIDE // side, side)
        torch.testing.assert_close(maps[0].permute(2, 0, 1), truth, atol=1e-5, rtol=0)


def test_a_model_answers_as_before_until_its_maps_are_trained():
    torch.manual_seed(0)
    model = CompactModel(CompactConfig("lite0", image_size=64)).eval()
    embedding = model.encode(torch.randn(1, 3, 64, 64))
    prompt = PromptTensors(tensor([[[[20.0, 30.0]]]]), tensor([[[1]]]), tensor([[[4.0, 8.0, 40.0, 60.0]]]))
    with torch.inference_mode():
        before = model.decode_all(embedding, prompt)[0]
        after = model.with_prompt_maps().decode_all(embedding, prompt)[0]
        torch.testing.assert_close(after, before)
        torch.nn.init.normal_(model.prompt_maps.fine.weight)
        assert not torch.allclose(model.decode_all(embedding, prompt)[0], before)


def test_a_model_with_maps_comes_back_from_its_folder(tmp_path):
    model = CompactModel(CompactConfig("lite0", image_size=64, prompt_maps=True))
    torch.nn.init.normal_(model.prompt_maps.coarse.weight)
    model.save_pretrained(tmp_path)
    again = CompactModel.from_pretrained(tmp_path)
    assert again.config.prompt_maps
    assert torch.equal(again.prompt_maps.coarse.weight, model.prompt_maps.coarse.weight)


@pytest.mark.parametrize("size", [(2, 3), (4, 4)])
def test_maps_have_the_strides_of_latent_and_of_the_finest_skip(size):
    maps = PromptMaps(6, 5)
    torch.nn.init.normal_(maps.fine.weight)
    prompts = maps(torch.full((2, 1, 2), 5.0), torch.ones(2, 1), size, 16)
    assert prompts.add(torch.zeros(2, size[0] * size[1], 6)).shape == (2, size[0] * size[1], 6)
    finest = torch.randn(2, 5, 4 * size[0], 4 * size[1])
    nested = prompts.add_fine(nest(finest, size)).transpose(1, 2)
    (field,) = prompt_maps(torch.full((2, 1, 2), 5.0), torch.ones(2, 1), (16 * size[0], 16 * size[1]), (4,))
    added = torch.nn.functional.conv2d(field.permute(0, 3, 1, 2), maps.fine.weight)
    torch.testing.assert_close(unnest(nested, size), finest + added, atol=1e-5, rtol=1e-5)


def test_learning_and_inference_agree():
    """The path with gradients is transformers' own transformer; the one without takes the prompt maps another way."""
    torch.manual_seed(0)
    model = CompactModel(CompactConfig("lite0", image_size=64, prompt_maps=True)).eval()
    for projection in (model.prompt_maps.coarse, model.prompt_maps.fine):
        torch.nn.init.normal_(projection.weight)
    with torch.no_grad():
        embedding = model.encode(torch.randn(1, 3, 64, 64))
    points, labels = torch.rand(1, 3, 5, 2) * 64, torch.randint(-1, 2, (1, 3, 5))
    boxes = tensor([[[4.0, 8.0, 40.0, 60.0]]]).expand(1, 3, 4)
    for prompt in (PromptTensors(points, labels), PromptTensors(points, labels, boxes)):
        learnt = model.decode_all(embedding, prompt)
        with torch.no_grad():
            inferred = model.decode_all(embedding, prompt)
        for ours, reference in zip(inferred, learnt, strict=True):
            torch.testing.assert_close(ours, reference.detach(), atol=1e-4, rtol=1e-4)


def test_inference_follows_changed_weights_and_images():
    torch.manual_seed(0)
    model = CompactModel(CompactConfig("lite0", image_size=64)).eval()
    prompt = PromptTensors(tensor([[[[20.0, 30.0]]]]), tensor([[[1]]]))
    pictures = []
    for change in range(4):
        with torch.no_grad():
            if change > 1:
                model.mask_decoder.transformer.layers[1].cross_attn_token_to_image.k_proj.weight.mul_(1.5)
            # Earlier images stay alive, as in the predictor's cache.
            pictures.append(model.encode(torch.randn(1, 3, 64, 64)))
            inferred = model.decode_all(pictures[-1], prompt)[0]
        torch.testing.assert_close(inferred, model.decode_all(pictures[-1], prompt)[0].detach(), atol=1e-4, rtol=1e-4)


def test_a_used_model_can_be_pickled_and_copied():
    model = CompactModel(CompactConfig("lite0", image_size=64)).eval()
    prompt = PromptTensors(tensor([[[[20.0, 30.0]]]]), tensor([[[1]]]))
    with torch.no_grad():
        embedding = model.encode(torch.randn(1, 3, 64, 64))
        before = model.decode_all(embedding, prompt)[0]
        for again in (pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
            assert torch.equal(again.decode_all(embedding, prompt)[0], before)
