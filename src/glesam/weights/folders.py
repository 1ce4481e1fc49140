"""Folders of saved models (`config.json` + `model.safetensors`): where they are, and how they are read and written."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from glesam.common.documents import brief_value, expect_object, kind_of, read_json
from glesam.common.files import atomic_path, sha256, write_text
from glesam.common.messages import one_line, shown
from glesam.errors import DataError, GlesamError, ModelError

if TYPE_CHECKING:
    from torch import Tensor, nn

ModuleType = TypeVar("ModuleType", bound="nn.Module")

CONFIG_FILE = "config.json"
WEIGHTS_FILE = "model.safetensors"
_MOST = 16384
"""Largest number in a configuration: wider than the widest layer and longer than the longest side of any model."""
_MOST_WORDS = 1 << 20
"""Largest number where words are counted or named: vocabularies have up to some hundred thousand."""
DIGEST_KEY = "sha256"
"""Key of `config.json` that holds the SHA-256 of `model.safetensors` in a sealed folder."""


def user_folder() -> Path:
    """Folder for weight files that a user downloads by hand: `$GLESAM_HOME`, or `glesam` in the cache folder."""
    if os.environ.get("GLESAM_HOME"):
        return Path(os.environ["GLESAM_HOME"]).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "glesam"


def fetch_folder(source: str | Path, local_files_only: bool = False) -> Path:
    """Return a local folder as it is, or the cached or freshly downloaded folder of a hub repository.

    Args:
        source: folder, or hub id such as `owner/name`.
        local_files_only: look in the hub's cache only, never in the network.

    Raises:
        ModelError: neither a folder nor a repository that can be reached.
    """
    if Path(source).is_dir():
        return Path(source)
    # Slow to import, and needed for hub ids only.
    from huggingface_hub import snapshot_download

    where = "the hub's cache" if local_files_only else "the hub"
    try:
        found = snapshot_download(
            str(source), allow_patterns=[CONFIG_FILE, WEIGHTS_FILE], local_files_only=local_files_only
        )
    except Exception as error:  # the hub's HTTP library, and so its error types, differs between versions
        raise ModelError(
            f"expected {str(source)!r} to be a folder or a repository in {where}, got {brief(error)}; check the name "
            "and the network, or give the path of a downloaded file or folder"
        ) from error
    return Path(found)


def read_config(folder: str | Path) -> dict[str, Any]:
    """Read `config.json` of a saved model.

    Raises:
        ModelError: the file is missing or does not hold a JSON object, or one that names its family by something else
            than a text, or numbers that no model has.
    """
    path = Path(folder) / CONFIG_FILE
    values = read_json(path, ModelError, what="a saved model's configuration")
    config = expect_object(values, f"{shown(path)} of a saved model", ModelError)
    for key in ("family", "model_type"):
        if not isinstance(config.get(key, ""), str):
            raise ModelError(
                f"expected a text under {key!r} in {shown(path)}, got {kind_of(config[key])}; give a folder that "
                "save_pretrained wrote"
            )
    if (huge := _beyond(config)) is not None:
        raise ModelError(
            f"expected sizes of at most {_MOST} in {shown(path)}, got {brief_value(huge)}; give a folder that "
            "save_pretrained wrote"
        )
    return config


def _beyond(value: Any, key: str = "") -> Any:
    """A number in a configuration that is too large for any model and would exhaust memory; None if there is none."""
    if isinstance(value, (dict, list)):
        parts = value.items() if isinstance(value, dict) else ((key, part) for part in value)
        return next((found for name, part in parts if (found := _beyond(part, name)) is not None), None)
    most = _MOST_WORDS if key == "vocab_size" or key.endswith("_token_id") else _MOST
    return value if isinstance(value, (int, float)) and abs(value) > most else None


@contextmanager
def building(what: str, where: str | Path) -> Iterator[None]:
    """Turn what a constructor raises on options of wrong types or sizes into one line.

    Args:
        what: the thing that is built, for the message.
        where: the file or folder that its options come from.

    Raises:
        ModelError: the block raised an error that is not a `GlesamError`.
    """
    try:
        yield
    except GlesamError:
        raise
    except Exception as error:  # constructors of modules raise many types on impossible options
        raise ModelError(
            f"expected the options of {what} in {shown(where)}, got others ({brief(error)}); use the folder of a model "
            "that this version saved"
        ) from error


def read_weights(folder: str | Path) -> dict[str, Tensor]:
    """Read `model.safetensors` of a saved model on the CPU; 8-bit tensors come back in float32.

    Raises:
        ModelError: the file is missing or is not a safetensors file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    from glesam.weights.int8 import unpack

    path = Path(folder) / WEIGHTS_FILE
    try:
        state: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"expected weights in {path}, got {brief(error)}; download or save the model again") from error
    return unpack(state)


def store_int8(folder: str | Path) -> None:
    """Rewrite `model.safetensors` of a saved model with its large tensors as 8-bit integers; see `int8.pack`."""
    from glesam.weights.int8 import pack

    save_tensors(folder, pack(read_weights(folder)), read_config(folder))


def save_module(folder: str | Path, module: nn.Module, family: str, options: dict[str, Any]) -> None:
    """Save a module as its options and weights; see `save_tensors`."""
    save_tensors(folder, module.state_dict(), {"family": family, **options})


def save_tensors(folder: str | Path, tensors: dict[str, Tensor], config: dict[str, Any]) -> None:
    """Write `model.safetensors`, then `config.json`, whose presence marks the folder as complete.

    Raises:
        DataError: the weights cannot be written.
    """
    write_tensors(Path(folder) / WEIGHTS_FILE, tensors)
    write_text(Path(folder) / CONFIG_FILE, json.dumps(config, indent=2) + "\n")


def write_tensors(path: Path, tensors: Mapping[str, Tensor], metadata: dict[str, str] | None = None) -> None:
    """Write tensors as safetensors, in one step.

    Raises:
        DataError: the file cannot be written.
    """
    from safetensors.torch import save_file

    with saving(path), atomic_path(path) as temporary:
        save_file({key: value.detach().cpu().contiguous() for key, value in tensors.items()}, temporary, metadata)


def write_torch(path: Path, value: Any) -> None:
    """Write plain containers of tensors with `torch.save`, in one step.

    Raises:
        DataError: the file cannot be written.
    """
    import torch

    with saving(path), atomic_path(path) as temporary:
        torch.save(value, temporary)


@contextmanager
def saving(path: Path) -> Iterator[None]:
    """Turn errors of writing weights, such as a full disk, into one line with the cure.

    Raises:
        DataError: the block could not write.
    """
    from safetensors import SafetensorError

    try:
        yield
    # torch's writer raises RuntimeError on a full disk.
    except (OSError, RuntimeError, SafetensorError) as error:
        raise DataError(
            f"expected to write {shown(path)}, got '{one_line(error)}'; free some space or check its rights; "
            "an earlier file is unchanged"
        ) from error


def load_module(folder: str | Path, family: str, build: Callable[[dict[str, Any]], ModuleType]) -> ModuleType:
    """Load what `save_module` wrote, for evaluation; every key must be accounted for.

    Args:
        folder: folder of the saved module.
        family: the family that its configuration must name.
        build: makes the module from its options.

    Raises:
        ModelError: a file is missing, corrupt, or does not fit; or the weights have not the digest in a sealed folder.
    """
    verify_seal(folder)
    config = read_config(folder)
    if config.pop("family", None) != family:
        raise ModelError(f"expected family {family!r} in {folder}/{CONFIG_FILE}, got another; check the folder")
    from glesam.weights.undrawn import Undrawn

    with building(family, folder), Undrawn():
        module = build(config)
    state = read_weights(folder)
    check_keys(module.state_dict(), state, str(folder))
    module.load_state_dict(state)
    return module.eval()


def verify_seal(folder: str | Path, required: bool = False) -> None:
    """Compare `model.safetensors` with the digest in `config.json`.

    Args:
        folder: saved model.
        required: whether a folder without a digest is an error; otherwise it is not checked.

    Raises:
        ModelError: the digest is required and absent, or differs.
    """
    expected = read_config(folder).get(DIGEST_KEY)
    if expected is None and not required:
        return
    path = Path(folder) / WEIGHTS_FILE
    found = sha256(path) if path.is_file() else "no such file"
    if found != expected:
        raise ModelError(f"expected {path} with SHA-256 {expected}, got {found}; install or download the model again")


def seal(folder: str | Path) -> str:
    """Write the SHA-256 of `model.safetensors` into `config.json`, to be checked at every load; return it."""
    digest = sha256(Path(folder) / WEIGHTS_FILE)
    config = {**read_config(folder), DIGEST_KEY: digest}
    write_text(Path(folder) / CONFIG_FILE, json.dumps(config, indent=2) + "\n")
    return digest


def state_digest(module: nn.Module) -> str:
    """SHA-256 of names, shapes, types and bytes of a module's weights: equal if and only if the weights are."""
    return tensors_digest(module.state_dict())


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of names, shapes, types and bytes of tensors, whatever their order."""
    import torch

    digest = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        plain = value.detach().cpu().contiguous()
        digest.update(f"{name}:{tuple(plain.shape)}:{plain.dtype}".encode())
        digest.update(plain.flatten().view(torch.uint8).numpy().data)
    return digest.hexdigest()


def brief(error: BaseException) -> str:
    """As `one_line`, at most 160 characters of the first line; libraries write pages."""
    first = str(error).strip().split("\n", 1)[0].removeprefix("Got: ")
    text = one_line(error if first == str(error) else first)
    return text if len(text) <= 160 else text[:157] + "..."


def check_keys(expected: dict[str, Tensor], state: dict[str, Tensor], source: str) -> None:
    """Compare a state dict with what a model holds, keys and shapes.

    Raises:
        ModelError: anything differs; each kind is counted and its first keys named.
    """
    shapes = [k for k in expected if k in state and expected[k].shape != state[k].shape]
    kinds = {
        "missing": [k for k in expected if k not in state],
        "unexpected": [k for k in state if k not in expected],
        "of another shape": [f"{k} {tuple(state[k].shape)} for {tuple(expected[k].shape)}" for k in shapes],
    }
    wrong = [f"{len(keys)} {kind} ({_some(keys)})" for kind, keys in kinds.items() if keys]
    if wrong:
        raise ModelError(
            f"expected the {len(expected)} keys of {source}, got {', '.join(wrong)}; use weights made for this model"
        )


def take_over(model: ModuleType, state: dict[str, Tensor], source: str) -> None:
    """Give a model that was built on torch's meta device, without memory, its weights; the tensors become its own.

    Raises:
        ModelError: as `check_keys`.
    """
    check_keys(model.state_dict(), state, source)
    # Tensors read from one file lie at odd addresses, where kernels round otherwise: the same weights must give the
    # same bits wherever they come from.
    model.load_state_dict({k: v if v.data_ptr() % 64 == 0 else v.clone() for k, v in state.items()}, assign=True)


def _some(keys: list[str]) -> str:
    return ", ".join(keys[:3]) + (", ..." if len(keys) > 3 else "")


def check_loaded(info: Mapping[str, Any], what: str, place: str | Path) -> None:
    """See that all keys of what transformers or diffusers loaded fit; they fill what is missing with random numbers.

    Args:
        info: what `from_pretrained(output_loading_info=True)` tells.
        what: such as "a U-Net".
        place: folder or hub id.

    Raises:
        ModelError: keys are missing, unknown, or of another shape.
    """
    kinds = ("missing_keys", "unexpected_keys", "mismatched_keys")
    # Old checkpoints hold the numbers of positions, which newer versions count themselves.
    wrong = sorted({str(key) for kind in kinds for key in info[kind] if not str(key).endswith("position_ids")})
    if wrong:
        raise ModelError(
            f"expected the keys of {what} at {place}, got {len(wrong)} that do not fit, first {wrong[0]}; download it "
            "again"
        )
