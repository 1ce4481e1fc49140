"""The second encoding's pixels: right size, right scale, grey where no image is."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from glesam.enhance.pipeline import EnhancedModel, shrink

STEP = 32  # the compact model's


@settings(max_examples=40, deadline=None)
@given(height=st.integers(1, 128), width=st.integers(1, 128), size=st.sampled_from([None, 32, 64, 96]))
def test_images_keep_their_scale_and_are_filled_up_with_grey(height, width, size):
    side = 128
    height, width = (height, side) if height < width else (side, width)
    pixels = torch.full((1, 3, height, width), 0.75)
    small = shrink(pixels, size, STEP)
    factor = (size or side) / side
    filled = [max(1, round(n * factor)) for n in (height, width)]
    rows, columns = small.shape[-2:]
    assert max(rows, columns) == (size or side)
    for got, picture in ((rows, filled[0]), (columns, filled[1])):
        assert got % STEP == 0
        assert 0 <= got - picture < STEP
    expected = torch.zeros(rows, columns)
    expected[: filled[0], : filled[1]] = 0.75
    torch.testing.assert_close(small[0, 0], expected)


@pytest.mark.parametrize("short", [342, 341, 340, 339, 77])
def test_both_sides_shrink_by_one_factor(short):
    """A bright stripe keeps its place by the factor, however its side is rounded."""
    place = short - 40
    pixels = torch.zeros(1, 1, short, 512)
    pixels[:, :, place : place + 16] = 1
    column = shrink(pixels.expand(-1, 3, -1, -1), 288, STEP)[0, 0, :, 5]
    middle = ((torch.arange(len(column)) + 0.5) * column).sum() / column.sum()
    assert abs(float(middle) - (place + 8) * 288 / 512) < 0.03


def test_squares_that_fit_stay_as_they_are():
    square = torch.rand(2, 3, 48, 48, generator=torch.Generator().manual_seed(0))
    assert shrink(square, None) is square
    assert shrink(square, 48) is square
    assert shrink(square, 32).shape == (2, 3, 32, 32)


def test_with_another_input_size_the_gate_reads_the_first_encoding_as_in_use():
    """As `Restoration.judge` does: the level comes from the model's own size, what is restored from the other."""
    seen = []

    class Gate(torch.nn.Module):
        def levels(self, latent):
            seen.append(tuple(latent.shape[-2:]))
            return latent.new_zeros(len(latent))

    from glesam.models.registry import load_model

    base = load_model("compact")
    pixels = torch.zeros(1, 3, base.image_size, base.image_size)
    with torch.inference_mode():
        latent = EnhancedModel(base, gate=Gate(), size=base.image_size // 2).encode(pixels).latent
        own = base.encode(pixels).latent
    assert seen == [tuple(own.shape[-2:])]
    assert latent.shape[-1] == own.shape[-1] // 2
