"""What a box rules out, against a loop over cells."""

from __future__ import annotations

import pytest
import torch

from glesam.models.compact.inside import keep_inside


@pytest.mark.parametrize("stride", [2, 4])
def test_cells_whose_centre_lies_in_the_grown_box_stay(stride: int) -> None:
    boxes = torch.tensor([[[10.0, 20.0, 50.0, 28.0], [3.3, 0.0, 61.7, 64.0]]])
    logits = torch.randn(1, 2, 3, 64 // stride, 64 // stride, generator=torch.Generator().manual_seed(0)) * 4
    found = keep_inside(logits, boxes, stride)
    for index, (x0, y0, x1, y1) in enumerate(boxes[0].tolist()):
        across, down = max(0.05 * (x1 - x0), stride / 2), max(0.05 * (y1 - y0), stride / 2)
        for row in range(64 // stride):
            for column in range(64 // stride):
                x, y = (column + 0.5) * stride, (row + 0.5) * stride
                given = logits[0, index, :, row, column]
                inside = x0 - across <= x <= x1 + across and y0 - down <= y <= y1 + down
                expected = given if inside else given.clamp(max=-10)
                assert torch.equal(found[0, index, :, row, column], expected)


@pytest.mark.parametrize("stride", [2, 4])
def test_a_box_smaller_than_a_cell_keeps_one(stride: int) -> None:
    corners = torch.rand(200, 2, generator=torch.Generator().manual_seed(1)) * 60
    boxes = torch.cat([corners, corners + 0.3], dim=1)[None]
    found = keep_inside(torch.ones(1, 200, 1, 64 // stride, 64 // stride), boxes, stride)
    assert bool((found > 0).flatten(2).any(dim=2).all())
