"""Which parts of a model stage 2 trains, and from which earlier ones it starts."""

from __future__ import annotations

from pathlib import Path
from typing import get_args

from glesam.enhance.lora import adapted_layers, lora_parameters
from glesam.enhance.pipeline import EnhancedModel
from glesam.errors import ConfigError
from glesam.models.base import Part as Tunable
from glesam.models.base import PromptableModel
from glesam.models.tuned import image_encoder, mask_decoder, part_of, tunable_state, with_tuned
from glesam.train.config import TrainedPart
from glesam.train.stages.frozen import open_frozen
from glesam.weights.folders import CONFIG_FILE, read_config

TUNABLE: tuple[Tunable, ...] = get_args(Tunable)
TOKEN_PARTS = ("mask_tokens.", "iou_token.", "output_hypernetworks_mlps.", "iou_prediction_head.")
"""Of the mask decoder, what "tokens" trains: the tokens, and the heads that read them."""


def saved_part(init: str | None, part: str) -> Path | None:
    """Folder of a part that stage 2 saved before, or None.

    Args:
        init: what the stage saved, or None.
        part: "decoder", "encoder", "enhancer" or "skips".

    Raises:
        ConfigError: there is nothing of stage 2 in the folder.
    """
    if init is None:
        return None
    names = (*TUNABLE, "enhancer", "skips")
    if not any((Path(init) / name / CONFIG_FILE).is_file() for name in names):
        raise ConfigError(
            f"expected what `glesam train decoder` saved in {init} ({', '.join(names)}), got none of it; "
            "pass the folder `model` of its run"
        )
    folder = Path(init) / part
    return folder if (folder / CONFIG_FILE).is_file() else None


def open_tuned(name: str, init: str | None) -> PromptableModel:
    """Load a model, frozen, with the decoder and the encoder that stage 2 saved before.

    Raises:
        ModelError: unknown model, or weights that do not fit.
        ConfigError: there is nothing of stage 2 in `init`.
    """
    model = open_frozen(name)
    for part in TUNABLE:
        folder = saved_part(init, part)
        if folder is not None:
            model = with_tuned(model, part, folder)
    return model


def changed_tensors(model: PromptableModel, part: Tunable, init: str | None) -> list[str]:
    """Names of a part's tensors that differ from the base model's at the end: those that learn now or learnt before."""
    folder = saved_part(init, part)
    before = set() if folder is None else set(read_config(folder)["tensors"])
    learning = {name for name, value in part_of(model, part).named_parameters() if value.requires_grad}
    return [name for name in tunable_state(model, part) if name in learning or name in before]


def unfreeze(model: EnhancedModel, parts: tuple[TrainedPart, ...], encoder_layers: tuple[str, ...] = ("",)) -> None:
    """Let parts of a frozen model learn; a skip adapter, where there is one, always learns.

    Args:
        model: changed in place.
        parts: what is to learn.
        encoder_layers: see `DecoderConfig`.

    Raises:
        ConfigError: the enhancer or the skips are to learn and there are none, or the encoder has no such layer.
    """
    if "decoder" in parts or "tokens" in parts:
        for name, parameter in mask_decoder(model.base).named_parameters():
            parameter.requires_grad_("decoder" in parts or name.startswith(TOKEN_PARTS))
    if "encoder" in parts:
        _unfreeze_encoder(model.base, encoder_layers)
    if model.skips is not None:
        model.skips.requires_grad_(True)
    elif "skips" in parts:
        raise ConfigError('expected skips to train, got raw ones; set skips to "attenuate" or "branch"')
    if "enhancer" in parts:
        if model.enhancer is None:
            raise ConfigError("expected an enhancer to train, got none; pass its folder as enhancer")
        adapters = lora_parameters(model.enhancer) if adapted_layers(model.enhancer) else model.enhancer.parameters()
        for parameter in adapters:
            parameter.requires_grad_(True)


def _unfreeze_encoder(model: PromptableModel, layers: tuple[str, ...]) -> None:
    """Let the image encoder's tensors learn whose names begin with one of `layers`."""
    named = dict(image_encoder(model).named_parameters())
    unknown = [layer for layer in layers if not any(name.startswith(layer) for name in named)]
    if unknown:
        raise ConfigError(
            f"expected beginnings of the image encoder's tensors in encoder_layers, got {unknown[0]!r}; "
            f"they begin with {', '.join(sorted({name.split('.')[0] for name in named}))}"
        )
    for name, parameter in named.items():
        parameter.requires_grad_(name.startswith(layers))
