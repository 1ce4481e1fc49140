"""Weights in 8 bits: what comes back, how near it is, and what a broken file gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from glesam.errors import ModelError
from glesam.weights.folders import load_module, read_weights, save_module, save_tensors, store_int8
from glesam.weights.int8 import SCALE, pack, unpack


@given(st.integers(0, 2**32 - 1), st.floats(-30, 10), st.sampled_from([(64, 64), (32, 16, 3, 3), (128, 2, 20)]))
def test_every_weight_is_within_half_a_step_of_its_row(seed: int, exponent: float, shape: tuple[int, ...]) -> None:
    draw = np.random.default_rng(seed).normal(size=shape) * 10.0**exponent
    weights = torch.from_numpy(draw).float()
    packed = pack({"w": weights})
    assert packed["w"].dtype == torch.int8
    back = unpack(packed)
    assert set(back) == {"w"}
    rows = weights.double().flatten(1).numpy()
    step = np.abs(rows).max(axis=1) / 127
    error = np.abs(back["w"].double().flatten(1).numpy() - rows).max(axis=1)
    assert (error <= 0.5001 * step + 1e-44).all()


def test_what_is_small_or_no_matrix_stays_as_it_is() -> None:
    kept = {
        "bias": torch.randn(9000),
        "depthwise": torch.randn(900, 1, 3, 3),
        "small": torch.randn(8, 64),
        "text": torch.randn(1, 77, 64),  # of one row: one scale would serve for all 77 tokens
        "ids": torch.arange(10000).reshape(100, 100),
    }
    packed = pack(kept)
    assert packed.keys() == kept.keys()
    assert all(packed[name] is kept[name] for name in kept)


def test_rows_of_zeros_stay_zero() -> None:
    weights = torch.randn(64, 64)
    weights[3] = 0
    assert (unpack(pack({"w": weights}))["w"][3] == 0).all()


def test_a_folder_gets_smaller_and_loads_strictly(tmp_path: Path) -> None:
    layer = nn.Linear(256, 256)
    save_module(tmp_path, layer, "layer", {})
    before = (tmp_path / "model.safetensors").stat().st_size
    store_int8(tmp_path)
    assert (tmp_path / "model.safetensors").stat().st_size < 0.3 * before
    again = load_module(tmp_path, "layer", lambda _: nn.Linear(256, 256))
    torch.testing.assert_close(again.weight, layer.weight, rtol=0, atol=float(layer.weight.detach().abs().max()) / 250)
    assert torch.equal(again.bias, layer.bias)


def test_a_scale_that_fits_nothing_is_found_by_the_strict_load(tmp_path: Path) -> None:
    layer = nn.Linear(256, 256)
    packed = pack(layer.state_dict())
    for broken in (
        {**packed, "weight" + SCALE: packed["weight" + SCALE][:3]},
        {**packed, "else" + SCALE: packed["weight" + SCALE].clone()},
    ):
        save_tensors(tmp_path, broken, {"family": "layer"})
        assert any(key.endswith(SCALE) for key in read_weights(tmp_path))
        with pytest.raises(ModelError, match="1 unexpected"):
            load_module(tmp_path, "layer", lambda _: nn.Linear(256, 256))
