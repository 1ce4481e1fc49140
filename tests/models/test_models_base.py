"""The geometry of images in the model's square."""

from dataclasses import fields

import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from glesam.models.base import Embedding, ImageGeometry, PromptTensors, squared, without_padding


@settings(max_examples=25, deadline=None)
@given(height=st.integers(1, 90), width=st.integers(1, 90), side=st.sampled_from([16, 24, 30]))
def test_restore_equals_enlarging_all_cutting_and_resizing(height, width, side):
    """The reference is SAM's post-processing, padding and all; 30 cells do not divide the square."""
    scale = 64 / max(height, width)
    size = (max(1, round(height * scale)), max(1, round(width * scale)))
    logits = torch.randn(2, 1, side, side, generator=torch.Generator().manual_seed(height))
    whole = F.interpolate(logits, (64, 64), mode="bilinear", align_corners=False)[..., : size[0], : size[1]]
    expected = F.interpolate(whole, (height, width), mode="bilinear", align_corners=False)
    restored = ImageGeometry((height, width), size, 64).restore(logits)
    torch.testing.assert_close(restored, expected, atol=1e-6, rtol=1e-6)


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 64), width=st.integers(1, 64), step=st.sampled_from([1, 16, 32, 64]))
def test_trim_keeps_the_image_and_the_least_padding(height, width, step):
    marked = torch.zeros(1, 3, 64, 64)
    marked[..., :height, :width] = 1
    trimmed = ImageGeometry((height, width), (height, width), 64).trim(marked, step)
    assert trimmed.sum() == marked.sum()
    for side, picture in zip(trimmed.shape[-2:], (height, width), strict=True):
        assert side % step == 0
        assert side - step < picture <= side


@settings(max_examples=25, deadline=None)
@given(rows=st.integers(1, 9), columns=st.integers(1, 9))
def test_squares_repeat_the_edge_and_are_cut_back(rows, columns):
    logits = torch.randn(2, 3, 4, 4 * rows, 4 * columns, generator=torch.Generator().manual_seed(rows))
    side = 4 * max(rows, columns)
    square = squared(logits)
    y, x = torch.arange(side).clamp(max=4 * rows - 1), torch.arange(side).clamp(max=4 * columns - 1)
    torch.testing.assert_close(square, logits[..., y[:, None], x], rtol=0, atol=0)
    latent = torch.zeros(1, 8, rows, columns)
    assert torch.equal(without_padding(square[:, :, 0], latent), logits[:, :, 0])
    assert without_padding(None, latent) is None


def test_map_reaches_every_tensor_of_an_embedding_whatever_fields_it_has():
    """Fields are walked here by introspection, so that a new one that `map` forgets is found."""
    whole = Embedding(torch.ones(2, 1), (torch.ones(2, 2), torch.ones(2, 3)), {"early": torch.ones(2, 4)})
    mapped = whole.map(lambda tensor: tensor[0] * 2)

    def tensors(value):
        if isinstance(value, torch.Tensor):
            return [value]
        values = value.values() if isinstance(value, dict) else value
        return [tensor for each in values for tensor in tensors(each)]

    for field in fields(Embedding):
        for before, after in zip(
            tensors(getattr(whole, field.name)), tensors(getattr(mapped, field.name)), strict=True
        ):
            assert after.shape == before.shape[1:]
            assert (after == 2).all()


def test_an_embedding_keeps_what_is_not_replaced():
    whole = Embedding(torch.ones(1), (torch.ones(1),), {"early": torch.ones(1)})
    assert whole.with_latent(torch.zeros(1)).extras is whole.extras
    changed = whole.with_skips([torch.zeros(1)])
    assert (changed.latent is whole.latent, changed.extras is whole.extras) == (True, True)
    assert not changed.skips[0]


def test_chunks_are_all_prompts_once_in_order():
    generator = torch.Generator().manual_seed(3)
    whole = PromptTensors(torch.rand(2, 7, 1, 2, generator=generator), torch.ones(2, 7, 1, dtype=torch.long))
    parts = list(whole.chunks(3))
    assert [part.shape for _, part in parts] == [(2, 3), (2, 3), (2, 1)]
    assert [list(range(7))[place] for place, _ in parts] == [[0, 1, 2], [3, 4, 5], [6]]
    assert torch.equal(torch.cat([part.point_coords for _, part in parts], 1), whole.point_coords)
    assert all(part.boxes is None for _, part in parts)
