"""Corrections that go one way: against scipy's morphology, and end to end on a model whose answers jump about."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from models_tiny import sam_tiny
from scipy import ndimage

from glesam import Predictor
from glesam.models.base import MaskOutput, PromptTensors
from glesam.models.sam.sam import SamPromptable
from glesam.predict.one_way import one_way

SIDE, IMAGE = 32, 128  # cells of 4 pixels


def correction(earlier: torch.Tensor, *clicks: tuple[int, int, int]) -> PromptTensors:
    """Clicks `(column, row, label)` of cells on one object with earlier logits."""
    points = torch.tensor([[[(x + 0.5) * 4, (y + 0.5) * 4] for x, y, _ in clicks]])
    return PromptTensors(points[None], torch.tensor([[[label for *_, label in clicks]]]), None, earlier[None, None])


def answer(logits: torch.Tensor, fine: torch.Tensor | None = None) -> MaskOutput:
    return MaskOutput(logits[None, None, None], torch.ones(1, 1, 1), None if fine is None else fine[None, None, None])


def block(rows: slice, columns: slice, inside: float = 3.0, outside: float = -2.0) -> torch.Tensor:
    logits = torch.full((SIDE, SIDE), outside)
    logits[rows, columns] = inside
    return logits


def expected(new: torch.Tensor, earlier: torch.Tensor, sign: int) -> np.ndarray:
    """Brute force: where a 3 x 3 square of cells changed against the sign, with all that touches its neighbourhood."""
    against = ((sign * earlier > 0) & (sign * new <= 0)).numpy()
    core = ndimage.binary_erosion(against, np.ones((3, 3)), border_value=1)  # beyond the edge there is no other side
    near = ndimage.binary_dilation(core, np.ones((5, 5))) & against
    return np.where(near, earlier.numpy(), new.numpy())


@pytest.mark.parametrize("label", [1, 0])
def test_large_changes_against_the_click_are_undone_and_others_stay(label: int) -> None:
    generator = torch.Generator().manual_seed(3)
    noise = torch.randn(1, 1, 8, 8, generator=generator)
    earlier = torch.nn.functional.interpolate(noise, (SIDE, SIDE), mode="bicubic")[0, 0]
    new = torch.nn.functional.interpolate(noise.flip(-1), (SIDE, SIDE), mode="bicubic")[0, 0]
    row, column = ((earlier > 0) != bool(label)).nonzero()[0].tolist()
    found = one_way(answer(new), correction(earlier, (column, row, label)), IMAGE).low_res_logits[0, 0, 0]
    wanted = expected(new, earlier, 1 if label else -1)
    assert (wanted != new.numpy()).sum() > 20
    np.testing.assert_array_equal(found.numpy(), wanted)


def test_a_shift_of_the_edge_may_go_either_way() -> None:
    earlier, new = block(slice(8, 24), slice(8, 24)), block(slice(8, 24), slice(10, 30))
    found = one_way(answer(new), correction(earlier, (27, 12, 1)), IMAGE)
    assert torch.equal(found.low_res_logits[0, 0, 0], new)  # two columns on the left went


def test_the_object_stays_where_an_answer_jumps_away() -> None:
    earlier, new = block(slice(4, 14), slice(4, 14)), block(slice(20, 28), slice(20, 28))
    fine = torch.nn.functional.interpolate(new[None, None], scale_factor=2.0, mode="nearest")[0, 0]
    found = one_way(answer(new, fine), correction(earlier, (24, 24, 1)), IMAGE)
    both = (earlier > 0) | (new > 0)
    assert torch.equal(found.low_res_logits[0, 0, 0] > 0, both)
    assert found.fine is not None
    whole = torch.nn.functional.max_pool2d(found.fine[0, 0], 2)[0] > 0
    assert torch.equal(whole, both)


@pytest.mark.parametrize(
    "clicks",
    [
        [(24, 24, 1), (8, 8, 0)],  # one of each kind
        [(8, 8, 1), (24, 24, 0)],  # the earlier mask has both right
        [(8, 8, 1), (24, 24, -1)],  # padding is no click
    ],
)
def test_no_direction_changes_nothing(clicks: list[tuple[int, int, int]]) -> None:
    earlier, new = block(slice(4, 14), slice(4, 14)), block(slice(20, 28), slice(20, 28))
    given = answer(new)
    assert one_way(given, correction(earlier, *clicks), IMAGE) is given


def test_without_an_earlier_mask_or_clicks_nothing_changes() -> None:
    given = answer(block(slice(4, 14), slice(4, 14)))
    points, labels = torch.zeros(1, 1, 1, 2), torch.ones(1, 1, 1, dtype=torch.int64)
    assert one_way(given, PromptTensors(points, labels), IMAGE) is given
    assert one_way(given, PromptTensors(mask_input=torch.ones(1, 1, SIDE, SIDE)), IMAGE) is given


def test_objects_of_one_call_have_directions_of_their_own() -> None:
    earlier, new = block(slice(4, 14), slice(4, 14)), block(slice(20, 28), slice(20, 28))
    points = torch.tensor([[[[98.0, 98.0]], [[34.0, 34.0]]]])
    prompts = PromptTensors(points, torch.tensor([[[1], [0]]]), None, torch.stack([earlier, earlier])[None])
    output = MaskOutput(torch.stack([new, new])[None, :, None], torch.ones(1, 2, 1))
    adds, takes = one_way(output, prompts, IMAGE).low_res_logits[0, :, 0] > 0
    assert torch.equal(adds, (earlier > 0) | (new > 0))
    assert not takes.any()  # the second object lost its mask, and what was new is not taken


def corrected(refine: str, multimask: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Earlier logits of a square, and what a random model makes of a positive click beside it: no square."""
    predictor = Predictor(SamPromptable(sam_tiny()), refine=refine)
    rng = np.random.default_rng(0)
    predictor.set_image(rng.integers(0, 255, (128, 128, 3), np.uint8))
    side = predictor.predict(points=[[20, 20]]).logits.shape[-1]
    earlier = np.full((side, side), -4.0, np.float32)
    earlier[: side // 2, : side // 2] = 4
    masks = predictor.predict(points=[[100, 100]], labels=[1], mask_input=earlier, multimask=multimask)
    return earlier, masks.logits[0]


def test_a_predictor_holds_corrections_where_it_refines() -> None:
    earlier, raw = corrected("off")
    assert not (raw[earlier > 0] > 0).any()  # the decoder's own answer has nothing left of it
    _, held = corrected("auto")
    assert (held[earlier > 0] > 0).all()
    np.testing.assert_array_equal(held[earlier <= 0], raw[earlier <= 0])
    np.testing.assert_array_equal(corrected("auto", multimask=True)[1], corrected("off", multimask=True)[1])
