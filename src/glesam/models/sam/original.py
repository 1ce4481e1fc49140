"""The authors' weight files (`sam_vit_*.pth`, `sam2*_hiera_*.pt`, `mobile_sam.pt`) as glesam models, all keys used."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from glesam.common.messages import one_line
from glesam.errors import GlesamError, ModelError
from glesam.models.sam import original_names as tables
from glesam.models.sam.base import WrappedModel
from glesam.models.sam.layouts import advice, recognise
from glesam.models.sam.mobile import MobileSamPromptable, mobile_config
from glesam.models.sam.reading import read_checkpoint as read_checkpoint
from glesam.models.sam.sam import SamPromptable
from glesam.models.sam.sam2 import Sam2Promptable
from glesam.weights.folders import brief


@dataclass(frozen=True)
class Converted:
    """An original file in transformers' terms.

    Attributes:
        model_class: the wrapper of its family.
        config: transformers' config, recognised from the tensors' shapes.
        state: weights under transformers' names.
    """

    model_class: type[WrappedModel]
    config: Any
    state: dict[str, Tensor]


def load_checkpoint(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> WrappedModel:
    """Load an original weight file of SAM or SAM 2; its size is recognised from the tensors' shapes.

    Args:
        path: `.pth` or `.pt` file. Only tensors are read from it, never code.
        device: where the weights go.
        dtype: floating type of the weights.

    Raises:
        ModelError: the file cannot be read, is of another model, or any key is missing or left over.
    """
    return from_original(read_checkpoint(path), str(path)).place(device, dtype)


def from_original(state: Mapping[str, Tensor], source: str) -> WrappedModel:
    """Build a model from an original state dict, on the CPU in float32.

    Args:
        state: weights under the authors' names.
        source: where they come from, for error messages.

    Raises:
        ModelError: another model's keys, or any key is missing or left over.
    """
    try:
        converted = convert(state, source)
        return converted.model_class.from_state(converted.config, converted.state, source)
    except GlesamError:
        raise
    except Exception as error:  # sizes that fit nothing lead transformers' configurations to any type of error
        raise ModelError(
            f"expected an original SAM or SAM 2 file in {source}, its tensors fit no model ({brief(error)}); "
            "download it again"
        ) from error


def convert(state: Mapping[str, Tensor], source: str) -> Converted:
    """Recognise family and size of an original state dict and give it transformers' names.

    Args:
        state: weights under the authors' names.
        source: where they come from, for error messages.

    Raises:
        ModelError: another model's keys, an unknown size, or keys that no row of the tables names.
    """
    layout = recognise(state)
    if layout is None or not layout.instead:
        for family in FAMILIES:
            if family.mark in state:
                renamed = rename(state, family.rules, family.ignored, source)
                return Converted(family.model_class, family.config(state, source), family.finish(renamed, source))
    marks = f"{tables.SAM_MARK} (SAM), {tables.SAM2_MARK} (SAM 2) or {tables.MOBILE_MARK} (MobileSAM)"
    if layout is None:
        some = f"{len(state)} other keys ({', '.join(list(state)[:3])}, ...)"
        raise ModelError(f"expected the key {marks} in {source}, got {some}; {advice(None)}")
    raise ModelError(f"expected SAM, SAM 2 or MobileSAM in {source}, got {layout.name}; {advice(layout)}")


def convert_video(state: Mapping[str, Tensor], source: str) -> tuple[Any, dict[str, Tensor]]:
    """As `convert`, for SAM 2 with the memory that tracks objects through clips.

    Returns:
        A `Sam2VideoConfig`, and the weights under transformers' names.

    Raises:
        ModelError: see `convert`.
    """
    renamed = rename(state, tables.SAM2_RULES + tables.SAM2_MEMORY_RULES, (), source)
    # What SAM 2.1 has over 2.0.
    config = transformers.Sam2VideoConfig(
        vision_config=sam2_config(state, source).vision_config.to_dict(),
        enable_occlusion_spatial_embedding="no_obj_embed_spatial" in state,
        enable_temporal_pos_encoding_for_object_pointers="obj_ptr_tpos_proj.weight" in state,
    )
    return config, stack_tables(renamed, source)


def rename(
    state: Mapping[str, Tensor], rules: tuple[tables.Rule, ...], ignored: tuple[str, ...], source: str
) -> dict[str, Tensor]:
    """Rename every key by the one rule that matches it in full; ignored keys are left out.

    Raises:
        ModelError: keys that nothing matches; they are counted and the first are named.
    """
    skip = re.compile("|".join(ignored) or "(?!)")
    compiled = [(re.compile(pattern), new) for pattern, new in rules]
    renamed: dict[str, Tensor] = {}
    unknown = []
    for key, value in state.items():
        if skip.fullmatch(key):
            continue
        match, new = next(((m, new) for pattern, new in compiled if (m := pattern.fullmatch(key))), (None, ""))
        if match is None:
            unknown.append(key)
        else:
            renamed[match.expand(new)] = value
    if unknown:
        raise ModelError(
            f"expected only SAM's or SAM 2's own keys in {source}, got {len(unknown)} unexpected "
            f"({', '.join(unknown[:3])}); use the authors' file, or convert this variant to a transformers folder"
        )
    return renamed


def stack_tables(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """Join the tables that transformers holds as one, as `rename` left them.

    Raises:
        ModelError: a part is missing.
    """
    for target, parts in tables.SAM2_STACKED.items():
        missing = [part for part in parts if part not in state]
        if missing:
            raise ModelError(
                f"expected {len(parts)} parts of {target} in {source}, got {len(missing)} missing "
                f"({', '.join(missing)}); download the file again"
            )
        state[target] = torch.cat([state.pop(part) for part in parts])
    return state


def sam_config(state: Mapping[str, Tensor], source: str) -> Any:
    """Read SAM's sizes off its tensors: all of them leave a trace there, so any size of ViT will do.

    Raises:
        ModelError: a key that tells a size is missing.
    """
    try:
        vision = _vision_sizes(state)
        width = vision["output_channels"]
        mask_channels = state["prompt_encoder.mask_downscaling.3.weight"].shape[0]
        decoder_mlp = state["mask_decoder.transformer.layers.0.mlp.lin1.weight"].shape[0]
        iou_hidden = state["mask_decoder.iou_prediction_head.layers.0.weight"].shape[0]
    except (KeyError, ValueError) as error:
        raise ModelError(
            f"expected SAM's full set of keys in {source}, got {one_line(error)}; download it again"
        ) from error
    shared = {name: vision[name] for name in ("image_size", "patch_size")}
    prompts = {"hidden_size": width, **shared, "mask_input_channels": mask_channels}
    decoder = {"hidden_size": width, "mlp_dim": decoder_mlp, "iou_head_hidden_dim": iou_hidden}
    return transformers.SamConfig(vision_config=vision, prompt_encoder_config=prompts, mask_decoder_config=decoder)


def _vision_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    """Sizes of the image encoder; a `KeyError` or `ValueError` where a key is missing."""
    hidden, _, patch, _ = state[tables.SAM_MARK].shape
    blocks = 1 + max(int(m[1]) for k in state if (m := re.match(r"image_encoder\.blocks\.(\d+)\.", k)))
    rel_pos = [state[f"image_encoder.blocks.{i}.attn.rel_pos_h"].shape for i in range(blocks)]
    grid = state["image_encoder.pos_embed"].shape[1]
    output_channels = state["image_encoder.neck.0.weight"].shape[0]
    # Relative positions number 2 * side - 1: a block's side is its window's, or the whole grid's if it is global.
    whole = 2 * grid - 1
    local = [shape[0] for shape in rel_pos if shape[0] != whole]
    return {
        "hidden_size": hidden,
        "num_hidden_layers": blocks,
        "num_attention_heads": hidden // rel_pos[0][1],
        "mlp_dim": state["image_encoder.blocks.0.mlp.lin1.weight"].shape[0],
        "image_size": grid * patch,
        "patch_size": patch,
        "output_channels": output_channels,
        "num_pos_feats": output_channels // 2,
        "window_size": (local[0] + 1) // 2 if local else 0,
        "global_attn_indexes": [i for i, shape in enumerate(rel_pos) if shape[0] == whole],
    }


def sam2_config(state: Mapping[str, Tensor], source: str) -> Any:
    """Look SAM 2's size up by the width and number of Hiera's blocks.

    Raises:
        ModelError: none of tiny, small, base-plus and large.
    """
    width = state[tables.SAM2_MARK].shape[0]
    numbers = {int(m[1]) for k in state if (m := re.match(r"image_encoder\.trunk\.blocks\.(\d+)\.", k))}
    sizes = tables.SAM2_SIZES.get((width, len(numbers)))
    if sizes is None:
        known = ", ".join(f"{w} x {n}" for w, n in tables.SAM2_SIZES)
        raise ModelError(
            f"expected Hiera of width x blocks {known} in {source}, got {width} x {len(numbers)}; "
            "convert this variant to a transformers folder"
        )
    widths = [width * 2**stage for stage in range(4)]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": width,
        "num_attention_heads": sizes["num_attention_heads_per_stage"][0],  # type: ignore[index]
        "embed_dim_per_stage": widths,
        **sizes,
    }
    vision = {"model_type": "sam2_vision_model", "backbone_config": backbone, "backbone_channel_list": widths[::-1]}
    return transformers.Sam2Config(vision_config=vision)


def _as_renamed(state: dict[str, Tensor], source: str) -> dict[str, Tensor]:
    """For families in which every tensor keeps its own name."""
    return state


@dataclass(frozen=True)
class Family:
    """How the authors' files of one family are read.

    Attributes:
        mark: a key that no other family has.
        model_class: the wrapper.
        rules: names; see `original_names`.
        ignored: keys that are left out.
        config: reads the sizes off the tensors.
        finish: what is left to do after renaming.
    """

    mark: str
    model_class: type[WrappedModel]
    rules: tuple[tables.Rule, ...]
    ignored: tuple[str, ...]
    config: Callable[[Mapping[str, Tensor], str], Any]
    finish: Callable[[dict[str, Tensor], str], dict[str, Tensor]] = _as_renamed


FAMILIES = (
    Family(tables.SAM_MARK, SamPromptable, tables.SAM_RULES, tables.SAM_IGNORED, sam_config),
    Family(tables.MOBILE_MARK, MobileSamPromptable, tables.MOBILE_RULES, tables.MOBILE_IGNORED, mobile_config),
    Family(tables.SAM2_MARK, Sam2Promptable, tables.SAM2_RULES, tables.SAM2_IGNORED, sam2_config, stack_tables),
)
"""The families that are read; a new one is a row."""
