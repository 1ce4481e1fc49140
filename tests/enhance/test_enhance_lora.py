from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import UNet2DConditionModel
from diffusers.loaders import StableDiffusionLoraLoaderMixin
from peft.utils import get_peft_model_state_dict
from safetensors.torch import load_file, save_file

from glesam.enhance.lora import (
    ALL_TARGETS,
    ATTENTION_TARGETS,
    LORA_FILE,
    adapted_layers,
    attach_lora,
    base_state_dict,
    load_lora,
    lora_parameters,
    lora_settings,
    merge_lora,
    save_lora,
)
from glesam.errors import ModelError

Build = Callable[..., Any]
SD21 = {"cross_attention_dim": 1024, "attention_head_dim": [5, 10, 20, 20], "use_linear_projection": True}
SD15 = {"cross_attention_dim": 768, "attention_head_dim": 8}


def randomize(unet: Any, seed: int = 3) -> Any:
    """Give both factors values, so that adapters matter."""
    generator = torch.Generator().manual_seed(seed)
    for parameter in lora_parameters(unet):
        torch.nn.init.normal_(parameter, std=0.1, generator=generator)
    return unet


@torch.no_grad()
def output(unet: Any, text: torch.Tensor) -> torch.Tensor:
    latent = torch.randn(1, unet.config.in_channels, 8, 8, generator=torch.Generator().manual_seed(4))
    result: torch.Tensor = unet(latent, 1, text).sample
    return result


@pytest.mark.parametrize(
    ("settings", "rank", "targets", "expected"),
    [
        (SD21, 4, "all", 4259072),
        (SD21, 8, "all", 8518144),
        (SD21, 16, "all", 17036288),
        (SD21, 8, "attention", 1659904),
        (SD21, 8, ("conv_in", "conv_out"), 46080),
        (SD15, 4, "all", 4226304),
        (SD15, 8, "all", 8452608),
        (SD15, 16, "all", 16905216),
    ],
)
def test_full_size_counts(settings: dict[str, Any], rank: int, targets: Any, expected: int) -> None:
    with torch.device("meta"):
        unet = UNet2DConditionModel(in_channels=256, out_channels=256, **settings)
    attach_lora(unet, rank=rank, targets=targets)
    assert sum(p.numel() for p in unet.parameters() if p.requires_grad) == expected
    assert sum(p.numel() for p in lora_parameters(unet)) == expected
    if targets == "all":
        assert len(adapted_layers(unet)) == 280


def test_targets_cover_what_the_official_code_covers(tiny_unet: Build) -> None:
    unet = tiny_unet()
    layers = {n for n, m in unet.named_modules() if isinstance(m, torch.nn.Linear | torch.nn.Conv2d)}
    attach_lora(unet)
    assert layers - set(adapted_layers(unet)) == {"time_embedding.linear_1", "time_embedding.linear_2"}


def test_attention_targets(tiny_unet: Build) -> None:
    unet = attach_lora(tiny_unet(), targets="attention")
    assert adapted_layers(unet)
    assert all(name.endswith(ATTENTION_TARGETS) and ".attn" in name for name in adapted_layers(unet))


def test_adapters_change_nothing_at_first_and_alone_are_trainable(tiny_unet: Build, text: torch.Tensor) -> None:
    unet = tiny_unet()
    before = output(unet, text)
    assert attach_lora(unet) is unet
    torch.testing.assert_close(output(unet, text), before, rtol=0, atol=1e-6)
    trainable = {name for name, p in unet.named_parameters() if p.requires_grad}
    assert trainable == {name for name, _ in unet.named_parameters() if ".lora_" in name}
    assert not torch.equal(output(randomize(unet), text), before)


def test_same_seed_same_bytes_and_no_touch_of_global_state(tiny_unet: Build) -> None:
    state = torch.random.get_rng_state()
    first, second, other = (attach_lora(tiny_unet(), seed=seed) for seed in (7, torch.Generator().manual_seed(7), 8))
    assert torch.equal(torch.random.get_rng_state(), state)
    pairs = list(zip(lora_parameters(first), lora_parameters(second), strict=True))
    assert all(torch.equal(a, b) for a, b in pairs)
    assert any(not torch.equal(a, b) for a, b in zip(lora_parameters(first), lora_parameters(other), strict=True))


def test_initial_distribution(tiny_unet: Build) -> None:
    for layer in adapted_layers(attach_lora(tiny_unet(), seed=1)).values():
        a, b = layer.lora_A["default"].weight.detach(), layer.lora_B["default"].weight.detach()
        bound = a[0].numel() ** -0.5  # Kaiming-uniform with a = sqrt 5
        assert not b.any()
        assert a.abs().max() <= bound
        if a.numel() > 500:
            assert a.std() == pytest.approx(bound / 3**0.5, rel=0.2)


@pytest.mark.parametrize("alpha", [8, 2.5])
def test_merged_equals_unmerged_and_the_formula(tiny_unet: Build, text: torch.Tensor, alpha: float) -> None:
    plain = tiny_unet()
    unet = randomize(attach_lora(copy.deepcopy(plain), rank=4, alpha=alpha))
    unmerged = output(unet, text)
    halves = {name: layer.lora_A["default"].weight.double() for name, layer in adapted_layers(unet).items()}
    others = {name: layer.lora_B["default"].weight.double() for name, layer in adapted_layers(unet).items()}
    merge_lora(unet)
    torch.testing.assert_close(output(unet, text), unmerged, rtol=0, atol=1e-5)
    assert set(unet.state_dict()) == set(plain.state_dict())
    for name, a in halves.items():
        delta = torch.einsum("or,r...->o...", others[name].flatten(1), a) * (alpha / 4)
        expected = plain.get_submodule(name).weight.double() + delta
        torch.testing.assert_close(unet.get_submodule(name).weight.double(), expected, rtol=0, atol=1e-6)
    attach_lora(unet)  # plain again: it takes new adapters


def test_saved_adapters_come_back(tiny_unet: Build, text: torch.Tensor, tmp_path: Path) -> None:
    unet = randomize(attach_lora(tiny_unet(), rank=3, alpha=5))
    path = save_lora(unet, tmp_path)
    assert path == tmp_path / LORA_FILE
    again = load_lora(tiny_unet(), tmp_path)
    assert torch.equal(output(again, text), output(unet, text))
    assert lora_settings(again) == lora_settings(unet)
    assert all(parameter.requires_grad for parameter in lora_parameters(again))


def test_diffusers_reads_what_we_write(tiny_unet: Build, text: torch.Tensor, tmp_path: Path) -> None:
    unet = randomize(attach_lora(tiny_unet(), rank=3, alpha=5))
    save_lora(unet, tmp_path)
    reader = tiny_unet()
    reader.load_lora_adapter(tmp_path, prefix="unet", use_safetensors=True)
    torch.testing.assert_close(output(reader, text), output(unet, text), rtol=0, atol=1e-6)


def official_file(unet: Any, folder: Path) -> Path:
    """Write adapters as the official trainer does: through diffusers, without metadata."""
    StableDiffusionLoraLoaderMixin.save_lora_weights(folder, unet_lora_layers=get_peft_model_state_dict(unet))
    return folder / "pytorch_lora_weights.safetensors"


def test_official_file_loads_with_every_key(tiny_unet: Build, text: torch.Tensor, tmp_path: Path) -> None:
    unet = randomize(attach_lora(tiny_unet(256), rank=8, alpha=8))
    path = official_file(unet, tmp_path)
    names = set(load_file(path))
    again = load_lora(tiny_unet(256), path)
    assert names == {f"unet.{name}.lora_{half}.weight" for name in adapted_layers(again) for half in "AB"}
    assert torch.equal(output(again, text), output(unet, text))
    assert set(load_file(save_lora(again, tmp_path / "again"))) == names


@pytest.mark.parametrize(("a", "b"), [(".lora.down", ".lora.up"), (".lora_A.default", ".lora_B.default")])
@pytest.mark.parametrize("prefix", ["unet.", ""])
def test_other_names_load(tiny_unet: Build, text: torch.Tensor, tmp_path: Path, a: str, b: str, prefix: str) -> None:
    unet = randomize(attach_lora(tiny_unet()))
    tensors = load_file(save_lora(unet, tmp_path))
    renamed = {k.replace("unet.", prefix, 1).replace(".lora_A", a).replace(".lora_B", b): v for k, v in tensors.items()}
    save_file(renamed, tmp_path / "old.safetensors")
    assert torch.equal(output(load_lora(tiny_unet(), tmp_path / "old.safetensors"), text), output(unet, text))


def test_alpha_must_be_known_beyond_rank_eight(tiny_unet: Build, text: torch.Tensor, tmp_path: Path) -> None:
    unet = randomize(attach_lora(tiny_unet(), rank=4, alpha=8))
    path = official_file(unet, tmp_path)
    with pytest.raises(ModelError, match="pass alpha"):
        load_lora(tiny_unet(), path)
    assert torch.equal(output(load_lora(tiny_unet(), path, alpha=8), text), output(unet, text))


Edit = Callable[[dict[str, torch.Tensor]], object]
EDITS: dict[str, tuple[Edit, str]] = {
    "stranger": (lambda t: t.update({"unet.conv_in.weight": torch.ones(1)}), "no LoRA weight"),
    "no such layer": (
        lambda t: t.update({f"unet.nowhere.lora_{h}.weight": torch.ones(8, 8) for h in "AB"}),
        "lacks, such as nowhere",
    ),
    "half": (lambda t: t.pop("unet.conv_in.lora_B.weight"), "one half for conv_in"),
    "shape": (lambda t: t.update({"unet.conv_in.lora_A.weight": torch.ones(8, 256, 3, 3)}), r"needs \(8, 4, 3, 3\)"),
    "ranks": (lambda t: t.update({"unet.conv_in.lora_A.weight": torch.ones(4, 4, 3, 3)}), "several ranks"),
    "twice": (lambda t: t.update({"unet.conv_in.lora.down.weight": torch.ones(8, 4, 3, 3)}), "two tensors"),
    "flat": (lambda t: t.update({"unet.conv_in.lora_A.weight": torch.ones(8)}), "no matrix"),
    "empty": (lambda t: t.clear(), "no tensors"),
}


@pytest.mark.parametrize("case", EDITS)
def test_files_that_do_not_fit_are_refused(tiny_unet: Build, tmp_path: Path, case: str) -> None:
    tensors = load_file(save_lora(attach_lora(tiny_unet()), tmp_path))
    edit, message = EDITS[case]
    edit(tensors)
    save_file(tensors, tmp_path / "edited.safetensors")
    unet = tiny_unet()
    with pytest.raises(ModelError, match=message):
        load_lora(unet, tmp_path / "edited.safetensors")
    assert not adapted_layers(unet)  # a refused file leaves the U-Net plain


def test_missing_and_corrupt_files_are_refused(tiny_unet: Build, tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="nothing"):
        load_lora(tiny_unet(), tmp_path / "nothing.safetensors")
    (tmp_path / "bad.safetensors").write_bytes(b"not a tensor")
    with pytest.raises(ModelError, match="bad"):
        load_lora(tiny_unet(), tmp_path / "bad.safetensors")


def test_bad_metadata_is_refused(tiny_unet: Build, tmp_path: Path) -> None:
    tensors = load_file(save_lora(attach_lora(tiny_unet()), tmp_path))
    save_file(tensors, tmp_path / "bad.safetensors", metadata={"lora_adapter_metadata": "{"})
    with pytest.raises(ModelError, match="metadata"):
        load_lora(tiny_unet(), tmp_path / "bad.safetensors")


@pytest.mark.parametrize("targets", ["some", (), ("to_q", "to_z"), ("norm1",)])
def test_targets_without_layers_are_refused(tiny_unet: Build, targets: Any) -> None:
    with pytest.raises(ModelError, match="expected targets"):
        attach_lora(tiny_unet(), targets=targets)


@pytest.mark.parametrize(("rank", "alpha"), [(0, 8), (8, 0), (8, float("nan"))])
def test_impossible_settings_are_refused(tiny_unet: Build, rank: int, alpha: float) -> None:
    with pytest.raises(ModelError, match="rank"):
        attach_lora(tiny_unet(), rank=rank, alpha=alpha)


def test_order_of_calls_is_checked(tiny_unet: Build, tmp_path: Path) -> None:
    for call in (merge_lora, lambda unet: save_lora(unet, tmp_path)):
        with pytest.raises(ModelError, match="plain"):
            call(tiny_unet())
    with pytest.raises(ModelError, match="without adapters"):
        attach_lora(attach_lora(tiny_unet()))


def test_merging_refuses_weights_that_are_not_finite(tiny_unet: Build) -> None:
    unet = attach_lora(tiny_unet())
    torch.nn.init.constant_(lora_parameters(unet)[1], float("inf"))
    with pytest.raises(ModelError, match="finite"):
        merge_lora(unet)


def test_base_state_dict_is_that_of_the_plain_unet(tiny_unet: Build) -> None:
    plain = tiny_unet().state_dict()
    base = base_state_dict(randomize(attach_lora(tiny_unet(), targets=ALL_TARGETS)))
    assert set(base) == set(plain)
    assert all(torch.equal(base[key], plain[key]) for key in plain)
