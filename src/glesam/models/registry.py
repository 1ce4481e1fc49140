"""The models that glesam knows by name, and the one door through which every model is loaded."""

from __future__ import annotations

import importlib
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from glesam.common.files import sha256
from glesam.common.messages import hint
from glesam.errors import ModelError
from glesam.models.presets import PRESETS as _PRESETS
from glesam.models.presets import Preset as Preset
from glesam.weights.folders import CONFIG_FILE, WEIGHTS_FILE, brief, fetch_folder, read_config, user_folder, verify_seal

if TYPE_CHECKING:
    import torch

    from glesam.models.base import PromptableModel

COMPACT_FOLDER = Path(__file__).parent / "weights" / "compact"
"""The model that ships inside the package."""

ENHANCERS = {"compact": COMPACT_FOLDER.parent / "compact-enhancer", "gle": COMPACT_FOLDER.parent / "compact-gle"}
"""The enhancers that ship for it by name: the one it uses by default, and one set up as the GleSAM paper says."""

FAMILIES = {
    "compact": ("glesam.models.compact.model", "CompactModel"),
    "mobile-sam": ("glesam.models.sam.mobile", "MobileSamPromptable"),
    "sam": ("glesam.models.sam.sam", "SamPromptable"),
    "sam2": ("glesam.models.sam.sam2", "Sam2Promptable"),
    "headed": ("glesam.heads.headed", "HeadedModel"),
    "exported": ("glesam.models.exported.model", "RuntimeModel"),
}
"""Family in a saved model's `config.json` to module and class; loaded when used, as torch takes seconds."""

ACCEPTS = {
    "compact": "points, boxes, masks",
    "mobile-sam": "points, boxes, masks",
    "sam": "points, boxes, masks",
    "sam2": "points, boxes, masks; clips by its memory",
}
"""What a family's models take; all of them do everything mode, and carry objects through clips by their masks."""

_ORIGINAL = ("glesam.heads.original", "load_original")
"""What reads authors' files, by name as families are: heads, which such a file may hold, stand above this room."""

_ALIASES = {"sam2_video": "sam2"}
_HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
_CHECKPOINTS = (".pth", ".pt", ".ckpt", ".safetensors")


@dataclass(frozen=True)
class ModelInfo:
    """A preset and where its weights lie on this machine.

    Attributes:
        preset: the row of the table.
        location: folder or file that `load_model` would use without network; None when it has to be downloaded.
        size: bytes of the weights: of the file found, else of the authors' original; None when unknown.
    """

    preset: Preset
    location: Path | None
    size: int | None


def presets() -> tuple[Preset, ...]:
    """All models known by name, the bundled one first."""
    return _PRESETS


def model_info(name: str) -> ModelInfo:
    """Look a preset up and see whether its weights are on this machine; never uses the network.

    Raises:
        ModelError: unknown name.
    """
    preset = _find(name)
    if preset is None:
        raise _unknown(name)
    location = _locate(preset)
    if location is None:
        return ModelInfo(preset, None, preset.size)
    file = location / WEIGHTS_FILE if location.is_dir() else location
    return ModelInfo(preset, location, file.stat().st_size)


def local_weights(name_or_path: str | os.PathLike[str]) -> Path | None:
    """Folder or file on this machine that a model's name or path stands for; None for what is not here, or nothing.

    A preset's name comes before a folder of that name, here as in `load_model`: `./NAME` is the folder.
    """
    name = os.fspath(name_or_path)
    preset = _find(name)
    if preset is not None:
        return _locate(preset)
    return Path(name) if Path(name).exists() else None


def bundled_enhancer(name: str | os.PathLike[str]) -> Path | None:
    """Folder of the enhancer that a preset uses by default; None for every model without one."""
    return named_enhancer(name) if str(name) == "compact" else None


def named_enhancer(name: str | os.PathLike[str]) -> Path | None:
    """Folder of an enhancer that ships under a name of `ENHANCERS`; None for what is no such name, or not there."""
    folder = ENHANCERS.get(str(name))
    return folder if folder is not None and (folder / CONFIG_FILE).is_file() else None


def enhancer_folder(enhancer: str | os.PathLike[str]) -> Path:
    """What is there under that path; else the enhancer that ships under that name; else the path itself."""
    path = Path(enhancer)
    return path if path.exists() else named_enhancer(enhancer) or path


def register_family(family: str, module: str, name: str) -> None:
    """Add a family of models, from any package.

    Args:
        family: what `config.json` of a saved model names.
        module: where its class is, imported at first use.
        name: of the class: a `PromptableModel` with a class method `from_pretrained(folder)`.

    Raises:
        ModelError: the family is taken.
    """
    if family in FAMILIES:
        raise ModelError(f"expected a new family of models, got {family!r}, which is taken; choose another")
    FAMILIES[family] = (module, name)


def load_model(
    name_or_path: str | Path,
    device: str | torch.device = "cpu",
    dtype: torch.dtype | str = "float32",
    local_files_only: bool = False,
) -> PromptableModel:
    """Load a model in evaluation mode.

    Args:
        name_or_path: preset name, folder of a saved model, hub id (`owner/name`), or an original `.pth` or `.pt` file.
            A folder that bears a preset's name is `./NAME`.
        device: `cpu`, `cuda`, `cuda:1`, `mps` or a torch device.
        dtype: `float32`, `bfloat16`, `float16` or a torch type.
        local_files_only: never use the network.

    Raises:
        ModelError: unknown name, missing or corrupt weights, keys that do not match, or no such device.
    """
    preset, path = _find(name_or_path), Path(name_or_path)
    if preset is None and not path.exists():
        if path.suffix in _CHECKPOINTS:
            raise ModelError(f"expected a weight file at {path}, got no such file; check the path")
        if not _HUB_ID.fullmatch(str(name_or_path)):
            raise _unknown(str(name_or_path))
    import torch

    place = _device(device), _dtype(dtype)
    # Tensors made in inference mode have no version, and take no gradients ever after.
    with torch.inference_mode(False):
        if preset is not None:
            return _load_preset(preset, *place, local_files_only)
        if path.is_file():
            return _load_file(path, *place)
        return _load_folder(fetch_folder(name_or_path, local_files_only), *place)


def _load_preset(preset: Preset, device: torch.device, dtype: torch.dtype, local_files_only: bool) -> PromptableModel:
    """Load from the package, from the user's folder, or from the hub (its cache first)."""
    location = _locate(preset)
    if location is None and preset.source == "package":
        raise ModelError(f"expected the bundled model in {COMPACT_FOLDER}, got no weights there; install glesam again")
    if location is None and not preset.source:
        raise ModelError(_download_hint(preset, ModelError("the hub has the authors' file only")))
    if location is None:
        try:
            location = fetch_folder(preset.source, local_files_only)
        except ModelError as error:
            raise ModelError(_download_hint(preset, error)) from error
    if location.is_file():
        return _load_file(location, device, dtype)
    return _load_folder(location, device, dtype, sealed=preset.source == "package")


def _load_folder(folder: Path, device: torch.device, dtype: torch.dtype, sealed: bool = False) -> PromptableModel:
    """Load a saved model by the family that its config names; check its digest if it has one or must have one."""
    config = read_config(folder)
    family = config.get("family", config.get("model_type"))
    family = _ALIASES.get(str(family), family)
    if family not in FAMILIES:
        raise ModelError(
            f"expected a family of {', '.join(FAMILIES)} in {folder / 'config.json'}, got {family!r}; "
            f"{_advice(str(family)) or 'use a folder that glesam or transformers saved'}"
        )
    verify_seal(folder, required=sealed)
    module, name = FAMILIES[family]
    model: Any = getattr(importlib.import_module(module), name).from_pretrained(folder)
    placed: PromptableModel = model.place(device, dtype)
    return placed.eval()


def _load_file(path: Path, device: torch.device, dtype: torch.dtype) -> PromptableModel:
    """Load an authors' file."""
    if path.suffix not in _CHECKPOINTS:
        raise ModelError(f"expected a folder or a file of {', '.join(_CHECKPOINTS)}, got {path}; give one of these")
    if in_saved_folder(path):
        return _load_folder(path.parent, device, dtype)
    verify_original(path)
    module, name = _ORIGINAL
    model: PromptableModel = getattr(importlib.import_module(module), name)(path, device, dtype)
    return model


def in_saved_folder(path: Path) -> bool:
    """Whether a file is the weights of a saved folder, which `load_model` then loads in its place."""
    return path.name == WEIGHTS_FILE and (path.parent / CONFIG_FILE).is_file()


def verify_original(path: Path) -> None:
    """Check that a file which bears the name of a preset's file is that file.

    Raises:
        ModelError: it has another digest than the authors' file.
    """
    expected = {p.original_file: p.sha256 for p in _PRESETS if p.sha256}.get(path.name)
    if expected and (found := sha256(path)) != expected:
        raise ModelError(
            f"expected {path} with SHA-256 {expected}, got {found}; download it again, or rename it if you changed it"
        )


def _locate(preset: Preset) -> Path | None:
    """Weights of a preset on this machine: in the package, in the user's folder, or in the hub's cache."""
    if preset.source == "package":
        return COMPACT_FOLDER if (COMPACT_FOLDER / WEIGHTS_FILE).is_file() else None
    original = user_folder() / preset.original_file
    if original.is_file():
        return original
    if not preset.source:
        return None
    from huggingface_hub import try_to_load_from_cache

    cached = try_to_load_from_cache(preset.source, WEIGHTS_FILE)
    return Path(cached).parent if isinstance(cached, str) else None


def _download_hint(preset: Preset, error: ModelError) -> str:
    return (
        f"expected the weights of {preset.name!r} on this machine or on the hub, got none of both; download "
        f"{preset.original_url}{preset.original_file} ({(preset.size or 0) / 1e6:.0f} MB) into {user_folder()}, or "
        f"give its path as the model (cause: {brief(error.__cause__ or error)})"
    )


def _find(name: str | Path) -> Preset | None:
    return next((preset for preset in _PRESETS if preset.name == str(name)), None)


def _unknown(name: str) -> ModelError:
    from glesam.models.sam.layouts import plain

    names = [preset.name for preset in _PRESETS]
    begun = any(plain(known).startswith(plain(name)) for known in names)
    cure = ("" if begun else _advice(name)) or hint(name, names, "choose one of those", count=3)
    return ModelError(
        f"expected a model's name, folder, hub id or .pth/.pt file, got {name!r}; known: {', '.join(names)}; {cure}"
    )


def _advice(name: str) -> str:
    """What to do about a model that is known but not read under that name; empty for an unknown one."""
    from glesam.models.sam.layouts import advice_without_file, known_as

    return advice_without_file(known_as(name))


def _device(device: str | torch.device) -> torch.device:
    """Check that a device exists here."""
    import torch

    try:
        found = torch.device(device)
    except RuntimeError as error:
        raise ModelError(f"expected a device such as cpu, cuda or mps, got {device!r}; name one of these") from error
    there = {
        "cpu": 1,
        "cuda": torch.cuda.device_count() if torch.cuda.is_available() else 0,
        "mps": int(torch.backends.mps.is_available()),
    }
    if (found.index or 0) >= there.get(found.type, 0):
        raise ModelError(f"expected a device that this machine has, got {str(found)!r}; use cpu")
    return found


def _dtype(dtype: torch.dtype | str) -> torch.dtype:
    """Turn the name of a floating type into the type."""
    import torch

    if isinstance(dtype, torch.dtype):
        return dtype
    known = {
        "float32": torch.float32,
        "fp32": torch.float32,
        "bfloat16": torch.bfloat16,
        "bf16": torch.bfloat16,
        "float16": torch.float16,
        "fp16": torch.float16,
    }
    if dtype not in known:
        raise ModelError(f"expected a dtype of {', '.join(known)}, got {dtype!r}; name one of these")
    return known[dtype]
