"""Low-rank adapters (LoRA) on the U-Net: attach, merge, save, load, and the official files.

The official `pytorch_lora_weights.safetensors` names its tensors `unet.<module path>.lora_A.weight` and
`.lora_B.weight` (older diffusers: `.lora.down.weight` and `.lora.up.weight`), says nothing of rank or alpha, and the
official reader ignores whatever does not fit. Here each key is accounted for, in the file and in the model.
"""

from __future__ import annotations

import json
import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import torch
from torch import Tensor, nn

from glesam.common.documents import brief_value, expect_object, parse_json
from glesam.common.messages import one_line
from glesam.errors import ModelError
from glesam.weights.folders import write_tensors

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

ATTENTION_TARGETS = ("to_q", "to_k", "to_v", "to_out.0")
"""The paper's targets: "all the attention layers"."""

ALL_TARGETS = (
    *ATTENTION_TARGETS,
    *("proj_in", "proj_out", "ff.net.0.proj", "ff.net.2", "conv1", "conv2", "conv_shortcut"),
    *("downsamplers.0.conv", "upsamplers.0.conv", "time_emb_proj", "conv_in", "conv_out"),
)
"""The official code's targets: all convolutions and projections but the time embedding's own two layers."""

LORA_FILE = "pytorch_lora_weights.safetensors"
Targets: TypeAlias = Literal["all", "attention"] | tuple[str, ...]

_ADAPTER = "default"
_METADATA_KEY = "lora_adapter_metadata"  # diffusers' own name, so that its readers see rank and alpha too
_PREFIX = "unet."
_SUFFIXES = {
    ".lora_A.weight": "A",
    ".lora_B.weight": "B",
    ".lora_A.default.weight": "A",
    ".lora_B.default.weight": "B",
    ".lora.down.weight": "A",
    ".lora.up.weight": "B",
}


def attach_lora(
    unet: UNet2DConditionModel,
    rank: int = 8,
    alpha: float = 8,
    targets: Targets = "all",
    seed: int | torch.Generator = 0,
) -> UNet2DConditionModel:
    """Put trainable low-rank adapters beside the U-Net's layers, and freeze everything else.

    `A` is drawn from a Kaiming-uniform distribution (a = sqrt 5) and `B` is zero, so the U-Net's output does not
    change yet. On a convolution `A` keeps kernel, stride and padding, and `B` is 1 x 1.

    Args:
        unet: a diffusers `UNet2DConditionModel` without adapters; changed in place.
        rank: rank of each adapter.
        alpha: the adapters' output is multiplied by `alpha / rank`.
        targets: `"all"` (the official code), `"attention"` (the paper), or the ends of module paths.
        seed: seed of the weights of `A`, or a generator on the U-Net's device.

    Returns:
        The same U-Net.

    Raises:
        ModelError: adapters are there already, rank or alpha is impossible, or a target names no layer.
    """
    if rank < 1 or not (math.isfinite(alpha) and alpha > 0):
        raise ModelError(f"expected rank >= 1 and alpha > 0, got rank {rank} and alpha {alpha}; correct the settings")
    paths = _target_paths(unet, targets)
    _inject(unet, paths, rank, alpha)
    _draw(unet, seed)
    return unet


def merge_lora(unet: UNet2DConditionModel) -> UNet2DConditionModel:
    """Add the adapters to the weights beside which they stand, and remove them.

    The merged weights are new tensors, so that memory shared with another U-Net stays as it was; they stay frozen.

    Args:
        unet: a U-Net with adapters; changed in place.

    Returns:
        The same U-Net, plain again, its output equal but for rounding.

    Raises:
        ModelError: there are no adapters, or their weights are not finite.
    """
    layers = adapted_layers(unet)
    if not layers:
        raise ModelError("expected a U-Net with adapters, got a plain one; call attach_lora or load_lora first")
    for path, layer in layers.items():
        try:
            layer.merge(safe_merge=True)
        except ValueError as error:
            raise ModelError(f"expected finite adapter weights, got others at {path}; train again") from error
        parent, _, name = path.rpartition(".")
        setattr(unet.get_submodule(parent), name, layer.get_base_layer())
    del unet.peft_config
    unet._hf_peft_config_loaded = False
    return unet


def save_lora(unet: UNet2DConditionModel, path: str | Path) -> Path:
    """Write the adapters in the official layout, with rank and alpha in the file's metadata.

    Args:
        unet: a U-Net with adapters.
        path: a `.safetensors` file, or a folder, which gets the official file name.

    Returns:
        The file's path.

    Raises:
        ModelError: there are no adapters.
        DataError: the file cannot be written.
    """
    layers = adapted_layers(unet)
    if not layers:
        raise ModelError("expected a U-Net with adapters, got a plain one; call attach_lora before save_lora")
    path = _file(path)
    tensors = {
        f"{_PREFIX}{name}.lora_{half}.weight": weight.detach().cpu().contiguous()
        for name, layer in layers.items()
        for half, weight in _halves(layer).items()
    }
    settings = {f"{_PREFIX}{key}": value for key, value in lora_settings(unet).items()}
    write_tensors(path, tensors, {"format": "pt", _METADATA_KEY: json.dumps(settings, sort_keys=True)})
    return path


def load_lora(unet: UNet2DConditionModel, path: str | Path, alpha: float | None = None) -> UNet2DConditionModel:
    """Attach adapters from a file, ready for use or further training.

    Which layers are adapted, and the rank, come from the file's tensors.

    Args:
        unet: a U-Net without adapters, expanded as the one that was trained; changed in place.
        path: a file in the official layout or from `save_lora`, or a folder with the official file name.
        alpha: scale of the adapters; None takes it from the file. A file without it (the official ones) is
            accepted at rank 8, where the official scripts' alpha of 8 and diffusers' alpha = rank are the same.

    Returns:
        The same U-Net.

    Raises:
        ModelError: the file is missing or unreadable, or a key or shape does not fit the U-Net.
    """
    path = _file(path)
    tensors, metadata = _read(path)
    pairs = _pairs(tensors, path)
    rank = _rank(pairs, path)
    modules = dict(unet.named_modules())
    strangers = sorted(name for name in pairs if not isinstance(modules.get(name), nn.Linear | nn.Conv2d))
    if strangers:
        raise _misfit(path, f"{len(strangers)} adapters for layers that the U-Net lacks, such as {strangers[0]}")
    _check_shapes(pairs, modules, rank, path)
    _inject(unet, sorted(pairs), rank, alpha if alpha is not None else _alpha(metadata, rank, path))
    with torch.no_grad():
        for name, layer in adapted_layers(unet).items():
            for half, weight in _halves(layer).items():
                weight.copy_(pairs[name][half])
    return unet


def adapted_layers(unet: nn.Module) -> dict[str, Any]:
    """The layers that carry adapters, by their paths; empty for a plain U-Net."""
    from peft.tuners.lora import LoraLayer

    return {name: module for name, module in unet.named_modules() if isinstance(module, LoraLayer)}


def lora_parameters(unet: nn.Module) -> list[nn.Parameter]:
    """The adapters' weights: what an optimizer trains."""
    return [weight for layer in adapted_layers(unet).values() for weight in _halves(layer).values()]


def lora_settings(unet: UNet2DConditionModel) -> dict[str, Any]:
    """Rank `r`, `lora_alpha` and `target_modules` (sorted paths) of the adapters on a U-Net, as peft names them."""
    config = unet.peft_config[_ADAPTER]
    return {"r": config.r, "lora_alpha": config.lora_alpha, "target_modules": sorted(adapted_layers(unet))}


def base_state_dict(unet: nn.Module) -> dict[str, Tensor]:
    """The state dict that the U-Net would have without its adapters, which are left out unmerged."""
    state = {key: value for key, value in unet.state_dict().items() if ".lora_" not in key}
    return {key.replace(".base_layer.", "."): value for key, value in state.items()}


def _target_paths(unet: nn.Module, targets: Targets) -> list[str]:
    """Paths of the linear and convolution layers that the targets name."""
    named = {"all": ALL_TARGETS, "attention": ATTENTION_TARGETS}
    if isinstance(targets, str) and targets not in named:
        raise ModelError(f'expected targets "all", "attention" or a tuple of path ends, got {targets!r}; choose one')
    ends = named[targets] if isinstance(targets, str) else tuple(targets)
    layers = [name for name, module in unet.named_modules() if isinstance(module, nn.Linear | nn.Conv2d)]
    found = {end: [name for name in layers if name == end or name.endswith(f".{end}")] for end in ends}
    empty = [end for end, names in found.items() if not names]
    if not found or (empty and not isinstance(targets, str)):
        raise ModelError(f"expected targets that name layers of the U-Net, got {empty or 'none'}; see ALL_TARGETS")
    chosen = {name for names in found.values() for name in names}
    return [name for name in layers if name in chosen]


def _inject(unet: UNet2DConditionModel, paths: list[str], rank: int, alpha: float) -> None:
    """Let peft put adapters on exactly these layers, without touching the global random state."""
    from peft import LoraConfig

    if adapted_layers(unet):
        raise ModelError("expected a U-Net without adapters, got one with adapters; call merge_lora first")
    config = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=0.0, bias="none", target_modules=list(paths))
    with torch.random.fork_rng(devices=[]):
        unet.add_adapter(config, adapter_name=_ADAPTER)
    if set(adapted_layers(unet)) != set(paths):
        raise ModelError(f"expected adapters on {len(paths)} layers, got {len(adapted_layers(unet))}; update peft")


def _draw(unet: nn.Module, seed: int | torch.Generator) -> None:
    """Redraw every `A`, layer by layer in the U-Net's order, on the processor so that devices agree."""
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    for layer in adapted_layers(unet).values():
        weight = _halves(layer)["A"]
        if weight.is_meta:
            continue
        drawn = torch.empty(weight.shape, device=generator.device)
        nn.init.kaiming_uniform_(drawn, a=math.sqrt(5), generator=generator)
        weight.data.copy_(drawn)


def _halves(layer: Any) -> dict[str, nn.Parameter]:
    """The two factors of one adapter."""
    return {"A": layer.lora_A[_ADAPTER].weight, "B": layer.lora_B[_ADAPTER].weight}


def _file(path: str | Path) -> Path:
    """The adapter file that a path means: itself, or the official name inside a folder."""
    path = Path(path)
    return path if path.suffix == ".safetensors" else path / LORA_FILE


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """All tensors of a safetensors file, and its metadata."""
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="pt") as stream:
            return {key: stream.get_tensor(key) for key in stream.keys()}, dict(stream.metadata() or {})  # noqa: SIM118
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"expected a LoRA file in safetensors format, got {path}: {one_line(error)}; check the path"
        ) from error


def _pairs(tensors: dict[str, Tensor], path: Path) -> dict[str, dict[str, Tensor]]:
    """Sort tensors into `{layer: {"A": ..., "B": ...}}`; every key must be understood and every layer complete."""
    pattern = re.compile("|".join(re.escape(suffix) + "$" for suffix in _SUFFIXES))
    pairs: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        found = pattern.search(key)
        if found is None:
            raise _misfit(path, f"the key {key}, which is no LoRA weight")
        halves = pairs.setdefault(key[: found.start()].removeprefix(_PREFIX), {})
        half = _SUFFIXES[found.group()]
        if half in halves:
            raise _misfit(path, f"two tensors for one place, the second named {key}")
        halves[half] = tensor
    incomplete = sorted(name for name, halves in pairs.items() if len(halves) != 2)
    if incomplete or not pairs:
        raise _misfit(path, f"only one half for {incomplete[0]}" if incomplete else "no tensors")
    return pairs


def _rank(pairs: dict[str, dict[str, Tensor]], path: Path) -> int:
    """The one rank of all adapters."""
    flat = sorted(name for name, halves in pairs.items() if any(half.ndim < 2 for half in halves.values()))
    if flat:
        raise _misfit(path, f"a weight that is no matrix at {flat[0]}")
    ranks = {halves["A"].shape[0] for halves in pairs.values()} | {halves["B"].shape[1] for halves in pairs.values()}
    if len(ranks) != 1:
        raise _misfit(path, f"adapters of several ranks {sorted(ranks)}")
    return int(ranks.pop())


def _check_shapes(pairs: dict[str, dict[str, Tensor]], modules: dict[str, nn.Module], rank: int, path: Path) -> None:
    """Compare each pair with the layer beside which it will stand."""
    for name, halves in pairs.items():
        weight: Any = modules[name].weight
        expected = {"A": (rank, *weight.shape[1:]), "B": (weight.shape[0], rank, *[1] * (weight.ndim - 2))}
        for half, tensor in halves.items():
            if tuple(tensor.shape) != expected[half]:
                shapes = f"{tuple(tensor.shape)} where the U-Net needs {expected[half]}"
                raise _misfit(path, f"lora_{half} of {name} in shape {shapes}")


def _alpha(metadata: dict[str, str], rank: int, path: Path) -> float:
    """The scale that a file's metadata names, under diffusers' key."""
    where = f"the metadata of {path}"
    settings = expect_object(parse_json(metadata.get(_METADATA_KEY, "{}"), where, ModelError), where, ModelError)
    for key in (f"{_PREFIX}lora_alpha", "lora_alpha"):
        if key in settings:
            if not isinstance(settings[key], (int, float)):
                raise _misfit(path, f"{brief_value(settings[key])} as {key}", "pass alpha")
            return float(settings[key])
    if rank != 8:
        raise _misfit(path, f"rank {rank} without a word on alpha", "pass alpha (the official scripts use 8)")
    return 8.0


def _misfit(path: Path, got: str, cure: str = "use the prior and the channels that it was trained with") -> ModelError:
    """The error for a file that does not fit."""
    return ModelError(f"expected {path.name} to hold LoRA weights for this U-Net, got {got}; {cure}")
