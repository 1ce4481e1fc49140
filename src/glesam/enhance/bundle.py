"""A saved enhancer: one folder with everything that restores the embeddings of one base model.

```
config.json            the base model (family, size, digest of its weights), rules by level, digest of every file
enhancer/              latent enhancer, of any kind that `load_enhancer` knows     at least one of these but
decoder/               tuned mask decoder                                          the gate, or a rule with an
encoder/               tuned image encoder, with which degraded images are         image size
                       encoded again
gate/                  level of degradation; or that, and the gain by restoring
skips/                 what becomes of the skips; without it they stay raw
```
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import nn

from glesam.common.documents import checked, read_json
from glesam.common.files import sha256, write_text
from glesam.common.messages import shown
from glesam.enhance.folding import fold
from glesam.enhance.gains import FAMILY as GAIN_FAMILY
from glesam.enhance.gains import GainGate
from glesam.enhance.gate import DegradationGate
from glesam.enhance.gle import LatentEnhancer
from glesam.enhance.lora import adapted_layers, merge_lora
from glesam.enhance.pipeline import EnhanceLatent, LevelRule, Restoration
from glesam.enhance.registry import load_enhancer
from glesam.enhance.skips import SkipAdapter
from glesam.errors import ModelError
from glesam.models.base import Part, PromptableModel
from glesam.models.tuned import save_tuned, with_tuned, with_tuned_state
from glesam.weights.folders import CONFIG_FILE, building, read_config, state_digest, store_int8

FAMILY = "enhancer-bundle"
FORMAT = 1
PARTS = ("enhancer", "decoder", "encoder", "gate", "skips")
_KEYS = {"family", "format", "base", "parts", "rules", "files"}
_PACKED = {"enhancer", "decoder", "encoder"}


@dataclass(frozen=True)
class Parts:
    """Where the parts of a new bundle come from: folders that the training stages saved.

    Attributes:
        enhancer: folder of stage 1.
        decoder: folder of stage 2, or an official `.pth` file.
        gate: folder of the gate's stage.
        skips: folder of a skip adapter.
        encoder: folder of a tuned image encoder.
    """

    enhancer: Path | None = None
    decoder: Path | None = None
    gate: Path | None = None
    skips: Path | None = None
    encoder: Path | None = None


def write_bundle(
    folder: str | Path,
    model: PromptableModel,
    parts: Parts,
    rules: Sequence[LevelRule] = (),
    half: bool = False,
    int8: bool = False,
) -> Path:
    """Put parts together for one base model; each is loaded strictly first.

    Args:
        folder: made if it is not there; `config.json` is written last.
        model: the base model in float32, as the parts were trained on it.
        parts: where they come from.
        rules: how the level of degradation decides; see `LevelRule`.
        half: store float16, adapters merged, for small files.
        int8: store enhancer, decoder and encoder in 8 bits, what is small in float16, adapters merged: half as large.

    Returns:
        The folder.

    Raises:
        ModelError: nothing to put together, or a part does not fit the model or the rules.
    """
    folder = Path(folder)
    rules = tuple(rules)
    chosen = [name for name in PARTS if getattr(parts, name)]
    _check_content(chosen, rules, model)
    _save_parts(folder, model, parts, half or int8)
    for name in set(chosen) & _PACKED if int8 else ():
        store_int8(folder / name)
    values = _config(folder, model, chosen, rules)
    write_text(folder / CONFIG_FILE, json.dumps(values, indent=2) + "\n")
    load_bundle(folder, model)  # a bundle that cannot be used is found out now, not by its user
    return folder


def _config(folder: Path, model: PromptableModel, chosen: Sequence[str], rules: Sequence[LevelRule]) -> dict[str, Any]:
    files = [path for name in chosen for path in sorted((folder / name).iterdir())]
    return {
        "family": FAMILY,
        "format": FORMAT,
        "base": {"family": model.family, "image_size": model.image_size, "sha256": state_digest(model)},
        "parts": list(chosen),
        "rules": [asdict(rule) for rule in rules],
        "files": {path.relative_to(folder).as_posix(): sha256(path) for path in files},
    }


class BundleWarning(UserWarning):
    """An enhancer is used with other weights than it was made for."""


def load_bundle(folder: str | Path, model: PromptableModel, other_weights: bool = False) -> Restoration:
    """Load a bundle for a base model, folded for inference, on the model's device.

    Args:
        folder: the bundle.
        model: its base model.
        other_weights: let the model be one that was tuned from the base, with a `BundleWarning`: what the bundle has
            tuned itself, encoder and decoder, then takes the place of what this model learned, on degraded images.

    Raises:
        ModelError: a file is missing, corrupt, or unknown, or the bundle was made for another base model.
    """
    folder = Path(folder)
    config = _read(folder)
    with building("an enhancer", folder):
        rules = _rules(config["rules"], folder)
        _check_content(config["parts"], rules, model)
        _check_base(config["base"], model, folder, other_weights)
        _check_files(folder, config["files"])
        parts = set(config["parts"])
    gate = load_gate(folder / "gate").to(model.device) if "gate" in parts else None
    skips = SkipAdapter.from_pretrained(folder / "skips").to(model.device) if "skips" in parts else None
    enhancers = _enhancers(folder / "enhancer", rules, model) if "enhancer" in parts else {}
    return Restoration(
        enhancer=enhancers.get(None),
        gate=gate,
        skips=skips,
        decoder=with_tuned(model, "decoder", folder / "decoder") if "decoder" in parts else None,
        encoder=with_tuned(model, "encoder", folder / "encoder") if "encoder" in parts else None,
        rules=rules,
        at_timestep={t: enhancer for t, enhancer in enhancers.items() if t is not None},
        weights=sha256(folder / CONFIG_FILE),
    )


def load_gate(folder: str | Path) -> DegradationGate | GainGate:
    """Load a gate of either kind: by level, or by gain.

    Raises:
        ModelError: the folder holds no gate, or a broken one.
    """
    by_gain = read_config(folder).get("family") == GAIN_FAMILY
    return GainGate.from_pretrained(folder) if by_gain else DegradationGate.from_pretrained(folder)


def _save_parts(folder: Path, model: PromptableModel, parts: Parts, half: bool) -> None:
    """Load each part and save it again under its own name."""
    if parts.enhancer is not None:
        _save_enhancer(load_enhancer(parts.enhancer), folder / "enhancer", half)
    if parts.decoder is not None:
        _save_decoder(model, parts.decoder, folder / "decoder", half)
    if parts.encoder is not None:
        _save_tuned(model, "encoder", parts.encoder, folder / "encoder", half)
    if parts.gate is not None:
        load_gate(parts.gate).save_pretrained(folder / "gate")
    if parts.skips is not None:
        SkipAdapter.from_pretrained(parts.skips).save_pretrained(folder / "skips")


def _save_enhancer(enhancer: nn.Module, folder: Path, half: bool) -> None:
    """Save an enhancer again; a prior that only its name stands for stays a name unless the file is to be small."""
    if isinstance(enhancer, LatentEnhancer):
        if half and adapted_layers(enhancer.unet):
            merge_lora(enhancer.unet)
        (enhancer.half() if half else enhancer).save_pretrained(folder, with_prior=half or enhancer.prior is None)
        return
    (enhancer.half() if half else enhancer).save_pretrained(folder)  # type: ignore[operator]


def _save_decoder(model: PromptableModel, source: Path, folder: Path, half: bool) -> None:
    """Save the tensors that a tuned decoder changes, from our own folder or an official file."""
    if not source.is_file():
        _save_tuned(model, "decoder", source, folder, half)
        return
    from glesam.enhance.official import read_official_decoder

    state = read_official_decoder(source, model)
    tuned = with_tuned_state(model, "decoder", state, sorted(state), str(source))
    save_tuned(tuned, "decoder", folder, sorted(state), half)


def _save_tuned(model: PromptableModel, part: Part, source: Path, folder: Path, half: bool) -> None:
    """Save the tensors that a tuned part changes."""
    save_tuned(with_tuned(model, part, source), part, folder, list(read_config(source)["tensors"]), half)


def _enhancers(folder: Path, rules: Sequence[LevelRule], model: PromptableModel) -> dict[int | None, EnhanceLatent]:
    """The enhancer as it is (key None), and at every timestep that the rules name."""
    enhancer = load_enhancer(folder).float()
    timesteps = {rule.timestep for rule in rules if rule.timestep is not None}
    if not isinstance(enhancer, LatentEnhancer):
        if timesteps:
            raise ModelError(f"expected a diffusion enhancer for rules with timesteps, got another kind in {folder}")
        return {None: enhancer.requires_grad_(False).to(model.device)}
    found: dict[int | None, EnhanceLatent] = {None: fold(enhancer).to(model.device)}
    for timestep in timesteps:
        found[timestep] = fold(enhancer.at(timestep)).to(model.device)
    return found


def _read(folder: Path) -> dict[str, Any]:
    """Read and check `config.json`."""
    config = read_config(folder)
    if config.get("family") != FAMILY:
        raise ModelError(
            f"expected an enhancer's folder (family {FAMILY!r}) in {folder}, got family {config.get('family')!r}; "
            "put trained parts together with `glesam train bundle`"
        )
    if set(config) != _KEYS or config["format"] != FORMAT:
        raise ModelError(
            f"expected {sorted(_KEYS)} of format {FORMAT} in {folder}/{CONFIG_FILE}, got others; save again"
        )
    with building("an enhancer", folder):
        strangers = sorted(set(config["parts"]) - set(PARTS))
    if strangers:
        raise ModelError(f"expected parts of {', '.join(PARTS)} in {folder}/{CONFIG_FILE}, got {strangers[0]!r}")
    return config


def read_rules(path: str | Path) -> tuple[LevelRule, ...]:
    """Read rules by level from a JSON list.

    Raises:
        ModelError: the file is missing, no JSON list, or holds other keys than a `LevelRule` has.
    """
    values = read_json(path, ModelError, what="a JSON list of rules")
    if not isinstance(values, list) or not all(isinstance(value, dict) for value in values):
        raise ModelError(f'expected a JSON list of rules in {path}, such as [{{"above": 0}}], got another JSON value')
    return _rules(values, Path(path))


def _rules(values: list[dict[str, Any]], source: Path) -> tuple[LevelRule, ...]:
    return tuple(checked(LevelRule, value, f"a rule of {shown(source)}", ModelError) for value in values)


def _check_content(parts: Sequence[str], rules: Sequence[LevelRule], model: PromptableModel) -> None:
    """See that there is something to do, and that the model can do it."""
    sizes = [size for rule in rules for size in (rule.image_size, rule.near_size) if size is not None]
    if not set(parts) - {"gate"} and not sizes:
        raise ModelError("expected an enhancer, a decoder, an encoder, skips or an image size, got none; add a part")
    if sizes and model.side_step is None:
        raise ModelError(
            f"expected a compact model, or another that takes images of any size, for rules with an image size, got "
            f"{model.family}; leave it out"
        )
    step = model.side_step or model.image_size
    wrong = [size for size in sizes if size % step or not step <= size <= model.image_size]
    if wrong:
        raise ModelError(f"expected image sizes that are multiples of {step} up to {model.image_size}, got {wrong[0]}")


def _check_base(base: dict[str, Any], model: PromptableModel, folder: Path, other_weights: bool = False) -> None:
    """Compare the base model with the one that the bundle was made for."""
    found = {"family": model.family, "image_size": model.image_size}
    wanted = {key: base.get(key) for key in found}
    if wanted != found:
        raise ModelError(f"expected a base model of {wanted} for {folder}, got {found}; use the model it was made for")
    digest = state_digest(model)
    if digest != base.get("sha256") and other_weights:
        warnings.warn(
            f"the enhancer {folder.name} was made for other weights of {model.family}: images that its gate calls "
            "degraded are answered much as the base model answers them, without what this model learned; clear ones by "
            "this model",
            BundleWarning,
            stacklevel=3,
        )
    elif digest != base.get("sha256"):
        raise ModelError(
            f"expected the base model with digest {str(base.get('sha256'))[:16]} for {folder}, got {digest[:16]}: "
            "other weights of the same family; use the model it was made for, in float32, or name the enhancer by its "
            "model, as in enhancer='compact', to use it on one that was tuned from it"
        )


def _check_files(folder: Path, files: dict[str, str]) -> None:
    """Compare every file with its digest."""
    for name, digest in files.items():
        path = folder / name
        found = sha256(path) if path.is_file() else "no such file"
        if found != digest:
            raise ModelError(f"expected {path} with SHA-256 {digest}, got {found}; copy or train the enhancer again")
