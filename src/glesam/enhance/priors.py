"""Diffusion priors: read a diffusers U-Net, the schedule that it was trained with, and its empty prompt's embedding.

No model is built in: any folder or hub id in diffusers' layout will do, a whole pipeline (`unet/`, `scheduler/`,
`text_encoder/`, `tokenizer/`) or a U-Net alone.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from glesam.common.documents import expect_object, read_json
from glesam.common.messages import one_line
from glesam.enhance.schedule import NoiseSchedule
from glesam.errors import ModelError
from glesam.weights.folders import brief, check_loaded

if TYPE_CHECKING:
    from diffusers import UNet2DConditionModel

EMBEDDING_KEY = "text_embedding"


def load_prior(prior: str | Path) -> UNet2DConditionModel:
    """Load the U-Net of a prior.

    Args:
        prior: a pipeline's folder or hub id (its `unet` part is taken), or a U-Net's own folder or hub id.

    Returns:
        The U-Net, in the type of its file, for evaluation.

    Raises:
        ModelError: nothing is there, or it is no `UNet2DConditionModel`.
    """
    from diffusers import UNet2DConditionModel

    config = _read_part(prior, "unet", "config.json") or _read_part(prior, "", "config.json")
    if config is None or config[1].get("_class_name") != "UNet2DConditionModel":
        found = "no U-Net there" if config is None else f"a {config[1].get('_class_name')}"
        raise ModelError(f"expected a UNet2DConditionModel at {prior}, got {found}; check the folder or hub id")
    try:
        unet, info = UNet2DConditionModel.from_pretrained(
            str(prior), subfolder=config[0] or None, output_loading_info=True
        )
    except Exception as error:  # diffusers raises many types for damaged folders
        raise ModelError(f"expected a U-Net's weights at {prior}, got: {brief(error)}; fetch them again") from error
    check_loaded(info, "a U-Net", prior)
    return unet.eval()


def load_schedule(prior: str | Path, stated: NoiseSchedule | None = None) -> NoiseSchedule:
    """Read the noise schedule that a prior was trained with, from its `scheduler_config.json`.

    A U-Net's weights do not tell noise prediction from velocity prediction, so a prior without that file needs the
    caller's word.

    Args:
        prior: as for `load_prior`; for a pipeline's `unet` folder the neighbouring `scheduler` folder is read too.
        stated: the schedule as the caller knows it; must agree with the file where there is one.

    Raises:
        ModelError: the schedule is unknown or cannot be followed, or `stated` contradicts it.
    """
    found = _read_part(prior, "scheduler", "scheduler_config.json") or _read_part(prior, "", "scheduler_config.json")
    if found is None and Path(prior).is_dir():
        found = _read_part(Path(prior).resolve().parent, "scheduler", "scheduler_config.json")
    schedule = stated if found is None else NoiseSchedule.from_scheduler_config(found[1])
    if schedule is None:
        raise ModelError(
            f"expected a scheduler_config.json with the prior {prior}, got none; pass schedule=NoiseSchedule(...) "
            "with the prediction type that the prior was trained for"
        )
    if stated not in (None, schedule):
        raise ModelError(f"expected the prior's own {schedule}, got {stated}; leave schedule out")
    return schedule


def empty_prompt_embedding(model_folder: str | Path) -> Tensor:
    """Embed the empty prompt with a pipeline's own CLIP text encoder, padded to its full length.

    To be computed once and stored: the enhancer holds the result, and never loads a text encoder.

    Args:
        model_folder: folder or hub id with `tokenizer` and `text_encoder`.

    Returns:
        `(1, L, D)` float32, the last hidden state; L = 77, D = 1024 for Stable Diffusion 2.1, 768 for 1.5.

    Raises:
        ModelError: the tokenizer or the text encoder is missing.
    """
    from transformers import CLIPTextModel, CLIPTokenizer

    try:
        tokenizer = CLIPTokenizer.from_pretrained(str(model_folder), subfolder="tokenizer")
        encoder, info = CLIPTextModel.from_pretrained(
            str(model_folder), subfolder="text_encoder", output_loading_info=True
        )
    except Exception as error:  # transformers raises many types for damaged folders
        raise ModelError(
            f"expected tokenizer and text_encoder at {model_folder}, got: {brief(error)}; "
            "pass text_embedding, or a prior that has them"
        ) from error
    check_loaded(info, "a text encoder", model_folder)
    encoder = encoder.float().eval()
    # A tokenizer without a length of its own reports a huge one.
    length = min(tokenizer.model_max_length, encoder.config.max_position_embeddings)
    tokens = tokenizer("", padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    with torch.inference_mode():
        hidden: Tensor = encoder(tokens.input_ids).last_hidden_state
    return hidden.clone()


def read_text_embedding(path: str | Path) -> Tensor:
    """Read a stored text embedding.

    Args:
        path: a `.safetensors` file with one tensor, or with one named `text_embedding`.

    Returns:
        The tensor, `(1, L, D)` or `(L, D)`.

    Raises:
        ModelError: the file is missing, no safetensors file, or does not say which tensor is meant.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    try:
        tensors: dict[str, Tensor] = load_file(str(path))
    except (OSError, SafetensorError) as error:
        raise ModelError(
            f"expected a text embedding in safetensors format, got {path}: {one_line(error)}; check it"
        ) from error
    if EMBEDDING_KEY in tensors:
        return tensors[EMBEDDING_KEY]
    if len(tensors) != 1:
        raise ModelError(f"expected {path} to hold one tensor, got {len(tensors)}; name the one {EMBEDDING_KEY!r}")
    return next(iter(tensors.values()))


def _read_part(prior: str | Path, part: str, name: str) -> tuple[str, dict[str, Any]] | None:
    """Read a JSON file of a folder or hub id: `(part, content)`, or None where it does not exist."""
    path = Path(prior) / part / name if Path(prior).is_dir() else _fetch(str(prior), f"{part}/{name}".lstrip("/"))
    if path is None or not path.is_file():
        return None
    return part, expect_object(read_json(path, ModelError), f"{path}; fetch the prior again", ModelError)


def _fetch(repository: str, name: str) -> Path | None:
    """One file of a hub repository, from the cache or the hub; None where neither has it."""
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, HfHubHTTPError, HFValidationError

    try:
        return Path(hf_hub_download(repository, name))
    except EntryNotFoundError:
        return None
    except (HfHubHTTPError, HFValidationError) as error:
        raise ModelError(f"expected a folder or hub id, got {repository!r}: {brief(error)}; check the name") from error
