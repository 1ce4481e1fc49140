"""Moving an enhancer to another base model: the arithmetic, what stays as it was, and what cannot be moved."""

from __future__ import annotations

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file
from train_tiny import tiny_model
from typer.testing import CliRunner

from glesam.cli.train import app
from glesam.enhance.bundle import Parts, load_bundle, write_bundle
from glesam.enhance.gate import DegradationGate
from glesam.enhance.pipeline import LevelRule
from glesam.errors import ModelError
from glesam.models.base import Part, PromptableModel
from glesam.models.registry import load_model
from glesam.models.tuned import part_of, save_tuned
from glesam.train.rebasing import rebase_bundle, rebase_part

RULES = (LevelRule(above=0, base_share=0.25), LevelRule(above=1.5, image_size=64))


@pytest.fixture
def base(tmp_path: Path) -> PromptableModel:
    return load_model(str(tiny_model(tmp_path / "base")))


def moved_on(model: PromptableModel, seed: int, scale: float = 1.0) -> PromptableModel:
    """A model whose encoder and decoder differ from another's by random steps."""
    generator = torch.Generator().manual_seed(seed)
    other = copy.deepcopy(model)
    for part in ("encoder", "decoder"):
        for parameter in part_of(other, part).parameters():
            parameter.data += scale * torch.randn(parameter.shape, generator=generator)
    return other


def tuned_names(model: PromptableModel, part: Part, count: int) -> list[str]:
    return [name for name, _ in part_of(model, part).named_parameters()][:count]


@pytest.fixture
def bundle(tmp_path: Path, base: PromptableModel) -> Path:
    """An enhancer with 4 tensors of the encoder and 3 of the decoder, a gate and rules."""
    tuned, source = moved_on(base, 1), tmp_path / "parts"
    for part, count in (("encoder", 4), ("decoder", 3)):
        save_tuned(tuned, part, source / part, tuned_names(tuned, part, count))
    DegradationGate().save_pretrained(source / "gate")
    return write_bundle(
        tmp_path / "bundle", base, Parts(None, source / "decoder", source / "gate", None, source / "encoder"), RULES
    )


def test_a_part_is_the_new_model_plus_what_tuning_changed(tmp_path: Path, base: PromptableModel, bundle: Path) -> None:
    new = moved_on(base, 2)
    before = {name: value.clone() for name, value in new.state_dict().items()}
    out = rebase_bundle(bundle, base, new, tmp_path / "moved")
    for part, count in (("encoder", 4), ("decoder", 3)):
        tuned, found = (load_file(folder / part / "model.safetensors") for folder in (bundle, out))
        own, other = (dict(part_of(model, part).named_parameters()) for model in (base, new))
        assert len(found) == count
        for name, value in found.items():
            expected = other[name].detach().double() + torch.from_numpy(tuned[name]).double() - own[name].double()
            np.testing.assert_allclose(value, expected.detach().numpy(), rtol=1e-5, atol=1e-5)
    assert all(torch.equal(value, before[name]) for name, value in new.state_dict().items())


def test_gate_and_rules_come_along_and_the_bundle_fits_the_new_model_alone(
    tmp_path: Path, base: PromptableModel, bundle: Path
) -> None:
    new = moved_on(base, 2)
    out = rebase_bundle(bundle, base, new, tmp_path / "moved")
    assert load_bundle(out, new).rules == RULES
    assert (out / "gate" / "model.safetensors").read_bytes() == (bundle / "gate" / "model.safetensors").read_bytes()
    with pytest.raises(ModelError, match="made for"):
        load_bundle(out, base)


def test_moving_to_the_same_model_changes_nothing(tmp_path: Path, base: PromptableModel, bundle: Path) -> None:
    out = rebase_bundle(bundle, base, copy.deepcopy(base), tmp_path / "moved")
    for part in ("encoder", "decoder"):
        tuned, found = (load_file(folder / part / "model.safetensors") for folder in (bundle, out))
        for name, value in tuned.items():
            np.testing.assert_allclose(found[name], value, rtol=1e-5, atol=1e-5)


def test_another_gate_and_other_rules_take_the_place_of_the_own(
    tmp_path: Path, base: PromptableModel, bundle: Path
) -> None:
    torch.manual_seed(5)
    moved = moved_on(base, 2)
    DegradationGate().save_pretrained(tmp_path / "gate")
    out = rebase_bundle(bundle, base, moved, tmp_path / "moved", tmp_path / "gate", RULES[:1])
    assert load_bundle(out, moved).rules == RULES[:1]
    given = (tmp_path / "gate" / "model.safetensors").read_bytes()
    assert (out / "gate" / "model.safetensors").read_bytes() == given
    assert (bundle / "gate" / "model.safetensors").read_bytes() != given


def test_the_wrong_base_and_another_family_are_named(tmp_path: Path, base: PromptableModel, bundle: Path) -> None:
    new = moved_on(base, 2)
    with pytest.raises(ModelError, match="other weights of the same family"):
        rebase_bundle(bundle, new, base, tmp_path / "moved")
    stranger = copy.deepcopy(base)
    stranger.family = "other"
    with pytest.raises(ModelError, match="expected a model of family"):
        rebase_part(bundle / "encoder", "encoder", base, stranger, tmp_path / "moved")


def test_the_command_writes_what_predict_takes(tmp_path: Path, base: PromptableModel, bundle: Path) -> None:
    moved_on(base, 2, 0.01).save_pretrained(tmp_path / "new")
    given = ["rebase", "--base", str(tmp_path / "base"), "--model", str(tmp_path / "new"), "--enhancer", str(bundle)]
    result = CliRunner().invoke(app, [*given, "--int8", "--out", str(tmp_path / "moved")])
    assert result.exit_code == 0, result.output
    assert json.loads((tmp_path / "moved" / "config.json").read_text())["parts"] == ["decoder", "encoder", "gate"]
    load_bundle(tmp_path / "moved", load_model(str(tmp_path / "new")))
