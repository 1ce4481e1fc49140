"""The nested order of pixels, against indices written out by hand."""

import pytest
import torch

from glesam.models.compact.cells import nest, unnest


@pytest.mark.parametrize("levels", [1, 2])
def test_pixels_stay_with_their_cell_quarter_by_quarter(levels):
    factor, h, w = 2**levels, 2, 3
    maps = torch.randn(2, 5, factor * h, factor * w)
    nested = nest(maps, (h, w))
    place = 0
    for row in range(h):
        for column in range(w):
            for number in range(factor**2):
                # The bits of the number, from the highest: down, right, down within the quarter, right within it.
                bits = [(number >> (2 * levels - 1 - i)) & 1 for i in range(2 * levels)]
                y = sum(bit << (levels - 1 - i) for i, bit in enumerate(bits[0::2]))
                x = sum(bit << (levels - 1 - i) for i, bit in enumerate(bits[1::2]))
                assert torch.equal(nested[:, place], maps[:, :, factor * row + y, factor * column + x])
                place += 1
    assert place == nested.shape[1]
    assert torch.equal(unnest(nested.transpose(1, 2), (h, w), levels), maps)
