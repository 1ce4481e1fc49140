"""Averages of runs: the mean of each tensor, the base's where a run changed nothing, and what cannot be averaged."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from train_tiny import tiny_model
from typer.testing import CliRunner

from glesam.cli.train import app
from glesam.enhance.residual import ResidualEnhancer
from glesam.enhance.skips import SkipAdapter
from glesam.errors import ConfigError, ModelError
from glesam.models.base import PromptableModel
from glesam.models.registry import load_model
from glesam.models.tuned import image_encoder, mask_decoder, save_tuned, with_tuned
from glesam.train.averaging import average_models, average_parts


@pytest.fixture
def base(tmp_path: Path) -> PromptableModel:
    return load_model(str(tiny_model(tmp_path / "base")))


def run(folder: Path, base: PromptableModel, seed: int, tensors: int) -> Path:
    """What a run saves: an enhancer, skips, a whole decoder, and the first few tensors of the encoder."""
    torch.manual_seed(seed)
    enhancer = ResidualEnhancer(256, 8, 1)
    torch.nn.init.normal_(enhancer.tail.weight)
    enhancer.save_pretrained(folder / "enhancer")
    SkipAdapter("branch").save_pretrained(folder / "skips")
    changed = copy.deepcopy(base)
    for parameter in [*mask_decoder(changed).parameters(), *image_encoder(changed).parameters()]:
        parameter.data = torch.randn_like(parameter)
    save_tuned(changed, "decoder", folder / "decoder", [name for name, _ in mask_decoder(changed).named_parameters()])
    if tensors:
        names = [name for name, _ in image_encoder(changed).named_parameters()][:tensors]
        save_tuned(changed, "encoder", folder / "encoder", names)
    return folder


def weights(folder: Path) -> dict[str, np.ndarray]:
    return load_file(folder / "model.safetensors")


def test_every_tensor_is_the_mean_and_the_base_stands_for_what_stayed(tmp_path: Path, base: PromptableModel) -> None:
    before = {name: value.clone() for name, value in base.state_dict().items()}
    runs = [run(tmp_path / str(i), base, i, tensors) for i, tensors in enumerate((3, 5, 0))]
    out = average_parts(runs, tmp_path / "mean", base)
    for part in ("enhancer", "skips", "decoder"):
        states = [weights(folder / part) for folder in runs]
        found = weights(out / part)
        assert found.keys() == states[0].keys()
        for name, value in found.items():
            np.testing.assert_allclose(value, np.mean([s[name] for s in states], axis=0), rtol=1e-5, atol=1e-6)
    own = {name: value.detach().numpy() for name, value in image_encoder(base).named_parameters()}
    first, second = (weights(folder / "encoder") for folder in runs[:2])
    found = weights(out / "encoder")
    assert found.keys() == second.keys()
    for name, value in found.items():
        each = [first.get(name, own[name]), second[name], own[name]]
        np.testing.assert_allclose(value, np.mean(each, axis=0), rtol=1e-5, atol=1e-6)
    assert all(torch.equal(value, before[name]) for name, value in base.state_dict().items())
    with_tuned(base, "encoder", out / "encoder")
    ResidualEnhancer.from_pretrained(out / "enhancer")


def test_what_cannot_be_averaged(tmp_path: Path, base: PromptableModel) -> None:
    one, two = (run(tmp_path / str(i), base, i, 2) for i in (1, 2))
    with pytest.raises(ConfigError, match="at least 2 runs"):
        average_parts([one], tmp_path / "out", base)
    with pytest.raises(ConfigError, match="got none of it"):
        average_parts([one, tmp_path / "nothing"], tmp_path / "out", base)
    ResidualEnhancer(256, 16, 1).save_pretrained(two / "enhancer")
    with pytest.raises(ModelError, match="of another shape"):
        average_parts([one, two], tmp_path / "out", base)
    for name in ("config.json", "model.safetensors"):
        (two / "enhancer" / name).unlink()
    with pytest.raises(ConfigError, match="enhancer in all runs or in none, got it in 1 of 2"):
        average_parts([one, two], tmp_path / "out", base)


def test_command(tmp_path: Path, base: PromptableModel) -> None:
    runs = [str(run(tmp_path / str(i), base, i, 0)) for i in (1, 2)]
    flags = ["--out", str(tmp_path / "mean"), "--model", str(tmp_path / "base")]
    result = CliRunner().invoke(app, ["average", *runs, *flags])
    assert result.exit_code == 0, result.output
    assert "mean of 2 runs" in result.output
    assert not (tmp_path / "mean" / "encoder").exists()


def whole(folder: Path, seed: int) -> Path:
    """A whole model, as the base stage saves it: in half precision."""
    model = load_model(str(tiny_model(folder)))
    torch.manual_seed(seed)
    for parameter in model.parameters():
        parameter.data = torch.randn_like(parameter)
    model.save_pretrained(folder, half=True)  # type: ignore[operator]
    return folder


def test_whole_models_are_averaged_tensor_by_tensor_and_load_sealed(tmp_path: Path) -> None:
    folders = [whole(tmp_path / str(seed), seed) for seed in range(3)]
    result = CliRunner().invoke(app, ["average", *map(str, folders), "--out", str(tmp_path / "mean")])
    assert result.exit_code == 0, result.output
    states, found = [weights(folder) for folder in folders], weights(tmp_path / "mean")
    assert found.keys() == states[0].keys()
    for name, value in found.items():
        assert value.dtype == states[0][name].dtype
        np.testing.assert_allclose(value, np.mean([s[name].astype(np.float64) for s in states], axis=0), atol=2e-3)
    assert load_model(str(tmp_path / "mean")).family == "compact"


def test_models_that_differ_are_refused(tmp_path: Path) -> None:
    first = whole(tmp_path / "a", 0)
    other = tiny_model(tmp_path / "b", image_size=128)
    with pytest.raises(ConfigError, match="one configuration"):
        average_models([first, other], tmp_path / "mean")
    with pytest.raises(ConfigError, match="at least 2"):
        average_models([first], tmp_path / "mean")
    assert not (tmp_path / "mean").exists()
