"""Modules are built without drawing what a file overwrites: nothing drawn, nothing else changed."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from glesam import load_model
from glesam.weights.folders import load_module, save_module
from glesam.weights.undrawn import Undrawn


@pytest.fixture(autouse=True)
def state() -> torch.Tensor:
    torch.manual_seed(3)
    return torch.get_rng_state()


def build(options: dict[str, int]) -> nn.Module:
    return nn.Sequential(nn.Conv2d(3, options["width"], 3), nn.BatchNorm2d(options["width"]), nn.Linear(4, 2))


def test_initialisers_give_back_their_tensor_untouched_and_draw_nothing(state: torch.Tensor) -> None:
    weight = torch.arange(6.0).reshape(2, 3)
    with Undrawn():
        assert nn.init.kaiming_uniform_(weight) is weight
        assert nn.init.normal_(tensor=weight) is weight
        nn.Linear(5, 7)
    assert weight.flatten().tolist() == [0, 1, 2, 3, 4, 5]
    assert torch.equal(torch.get_rng_state(), state)


def test_everything_else_is_computed_as_ever() -> None:
    x = torch.linspace(-2, 2, 12).reshape(3, 4)
    expected = (x @ x.T).softmax(dim=-1), torch.arange(5), x.new_zeros(2)
    with Undrawn():
        answers = (x @ x.T).softmax(dim=-1), torch.arange(5), x.new_zeros(2)
    assert all(torch.equal(answer, value) for answer, value in zip(answers, expected, strict=True))


def test_outside_of_it_weights_are_drawn_again(state: torch.Tensor) -> None:
    with Undrawn():
        pass
    drawn = nn.Linear(64, 64).weight
    assert not torch.equal(torch.get_rng_state(), state)
    assert drawn.std() > 0.01


def test_a_saved_module_comes_back_bit_for_bit_and_draws_nothing(tmp_path: Path) -> None:
    module = build({"width": 6})
    save_module(tmp_path, module, "blocks", {"width": 6})
    state = torch.get_rng_state()
    loaded = load_module(tmp_path, "blocks", build).state_dict()
    assert loaded.keys() == module.state_dict().keys()
    assert all(torch.equal(loaded[name], value) for name, value in module.state_dict().items())
    assert torch.equal(torch.get_rng_state(), state)


def test_every_tensor_of_the_bundled_model_is_known() -> None:
    """Two loads agree, with memory in between that held something else: what no file filled would differ."""
    first = load_model("compact")
    foreign = [torch.full((1 << 18,), float("nan")) for _ in range(40)]
    del foreign
    second = load_model("compact")
    held = [dict((*model.named_parameters(), *model.named_buffers())) for model in (first, second)]
    assert held[0].keys() == held[1].keys()
    assert all(torch.equal(value, held[1][name]) for name, value in held[0].items())
