"""The gate against its formula, its folder, and bad input."""

import json

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from glesam.enhance.gate import DegradationGate, pool
from glesam.errors import ModelError


@pytest.fixture
def gate():
    torch.manual_seed(0)
    made = DegradationGate(6, hidden=5, threshold=1.2)
    made.fit_features(torch.randn(9, 6, 4, 5))
    return made.eval()


def test_pooling_is_numpys_mean_and_deviation():
    latent = torch.randn(3, 6, 4, 5)
    flat = latent.numpy().reshape(3, 6, -1)
    np.testing.assert_allclose(pool(latent), np.concatenate([flat.mean(-1), flat.std(-1)], 1), atol=1e-6)


def test_level_is_the_sum_of_three_probabilities_and_the_gate_compares_it(gate):
    latent = torch.randn(4, 6, 3, 7)
    features = (pool(latent) - gate.centre) / gate.spread
    hidden = torch.nn.functional.gelu(features @ gate.input.weight.T + gate.input.bias)
    odds = (hidden @ gate.output.weight.T + gate.output.bias).detach().numpy()
    expected = (1 / (1 + np.exp(-odds))).sum(axis=1)
    np.testing.assert_allclose(gate.levels(latent), expected, atol=1e-6)
    for one, level in zip(latent, expected, strict=True):
        assert gate.level(one[None]) == pytest.approx(level, abs=1e-6)
        assert isinstance(gate(one[None]), bool)
        gate.threshold = float(level) + 1e-4
        assert gate(one[None]) is False
        gate.threshold = float(level) - 1e-4
        assert gate(one[None]) is True


def test_features_are_standardised_by_what_they_were_fitted_on():
    latent = torch.randn(50, 6, 4, 5) * torch.arange(1, 7).view(1, 6, 1, 1) + 3
    gate = DegradationGate(6)
    gate.fit_features(latent)
    features = (pool(latent) - gate.centre) / gate.spread
    np.testing.assert_allclose(features.mean(dim=0), np.zeros(12), atol=1e-4)
    np.testing.assert_allclose(features.std(dim=0), np.ones(12), atol=1e-4)
    constant = DegradationGate(6)
    constant.fit_features(torch.ones(3, 6, 2, 2))
    assert torch.isfinite(constant.odds(torch.randn(1, 6, 2, 2))).all()


def test_folder_gives_the_same_gate_back(gate, tmp_path):
    gate.save_pretrained(tmp_path)
    again, latent = DegradationGate.from_pretrained(tmp_path), torch.randn(2, 6, 4, 4)
    assert torch.equal(again.levels(latent), gate.levels(latent))
    assert again.threshold == 1.2
    assert not again.training


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"family": "compact"}, "family"),
        ({"width": 3}, "options"),
        ({"threshold": 7}, "threshold"),
        ({"threshold": "high"}, "threshold"),
        ({"channels": 8}, "another shape"),
    ],
)
def test_a_changed_config_is_refused(gate, tmp_path, change, words):
    gate.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, **change}))
    with pytest.raises(ModelError, match=words):
        DegradationGate.from_pretrained(tmp_path)


def test_missing_unexpected_and_corrupt_weights_are_refused(gate, tmp_path):
    gate.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    state = load_file(path)
    save_file({k: v for k, v in state.items() if k != "input.bias"}, path)
    with pytest.raises(ModelError, match=r"missing \(input\.bias\)"):
        DegradationGate.from_pretrained(tmp_path)
    save_file({**state, "extra": torch.zeros(1)}, path)
    with pytest.raises(ModelError, match=r"unexpected \(extra\)"):
        DegradationGate.from_pretrained(tmp_path)
    path.write_bytes(b"no weights")
    with pytest.raises(ModelError, match="weights"):
        DegradationGate.from_pretrained(tmp_path)


@pytest.mark.parametrize("latent", [torch.zeros(1, 5, 2, 2), torch.zeros(6, 2, 2), torch.zeros(1, 6, 2, 2).long()])
def test_latents_of_another_kind_are_refused(gate, latent):
    with pytest.raises(ModelError, match="latent"):
        gate.levels(latent)


@pytest.mark.parametrize("threshold", [0, 3, -1, float("nan"), True, None])
def test_impossible_thresholds_are_refused(threshold):
    with pytest.raises(ModelError, match="threshold"):
        DegradationGate(6, threshold=threshold)


def test_one_photo_at_a_time_is_decided(gate):
    with pytest.raises(ModelError, match="one image"):
        gate(torch.zeros(2, 6, 2, 2))
