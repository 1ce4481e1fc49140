"""The authors' files of HQ-SAM and RobustSAM: what in them is the head's, under our names for it, strict both ways.

Such a file holds a whole model; what is left when the head's keys are taken out is the base model's, which its own
loader reads.
"""

from __future__ import annotations

import re
from collections.abc import Container, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from glesam.errors import ModelError
from glesam.heads.base import MaskHead
from glesam.heads.headed import HeadedModel
from glesam.heads.hq import HQHead
from glesam.heads.robust import RobustHead
from glesam.models.base import PromptableModel
from glesam.models.sam.original import from_original, read_checkpoint
from glesam.models.sam.original_names import Rule, mlp3
from glesam.weights.folders import state_digest, take_over


def _cleaned(old: str, new: str, out: str) -> tuple[Rule, ...]:
    """Rows for one of RobustSAM's three blocks."""
    dnc = rf"{old}\.dnc_block_combined"
    mix = rf"{dnc}\.SEMBlock\.maxpool_conv\.0"
    return (
        (rf"{dnc}\.channel_attention\.excitation\.([02])\.(weight|bias)", rf"{new}.excite.\1.\2"),
        (rf"{mix}\.(conv[12])\.weight", rf"{new}.branches.\1.weight"),
        (rf"{mix}\.selector\.fc\.0\.weight", rf"{new}.branches.squeeze.weight"),
        (rf"{mix}\.selector\.att_conv([12])\.(weight|bias)", rf"{new}.branches.choice\1.\2"),
        (rf"{mix}\.BN\.(\w+)", rf"{new}.branches.batch_norm.\1"),
        (rf"{old}\.fgm_block\.conv_layer\.(weight|bias)", rf"{new}.amplitude.\1"),
        (rf"{old}\.conv_layer\.(weight|bias)", rf"{new}.merge.\1"),
        (rf"{old}\.{out}\.([013])\.(weight|bias)", rf"{new}.out.\1.\2"),
    )


HQ_RULES: tuple[Rule, ...] = (
    (r"hf_token\.weight", "token.weight"),
    *mlp3("hf_mlp", "mlp"),
    (r"compress_vit_feat\.([013])\.(weight|bias)", r"compress.\1.\2"),
    (r"embedding_encoder\.([013])\.(weight|bias)", r"encoder.\1.\2"),
    (r"embedding_maskfeature\.([013])\.(weight|bias)", r"pixels.\1.\2"),
)

ROBUST_RULES: tuple[Rule, ...] = (
    (r"custom_robust_token\.weight", "tokens.weight"),
    (r"custom_token_block\.mlp\.([02])\.(weight|bias)", r"token_mlp.\1.\2"),
    *mlp3("robust_mlp", "mlp"),
    *_cleaned("fourier_first_layer_features", "first", "upsample_layer"),
    *_cleaned("fourier_last_layer_features", "last", "upsample_layer"),
    *_cleaned("fourier_mask_features", "pixels", "downsample_layer"),
)

_DECODERS = ("mask_decoder.", "sam_mask_decoder.")
_MARKS = {"hf_token.weight": HQ_RULES, "custom_robust_token.weight": ROBUST_RULES}


@dataclass(frozen=True)
class Split:
    """A whole file taken apart.

    Attributes:
        base: the base model's weights, under the authors' names.
        head: the head, in evaluation mode, with its weights.
    """

    base: dict[str, Tensor]
    head: MaskHead


def split_head(state: Mapping[str, Tensor], source: str | Path) -> Split | None:
    """Take the head out of an original state dict; None where it holds none.

    Args:
        state: weights under the authors' names.
        source: where they come from, for error messages.

    Raises:
        ModelError: keys of the head are missing or of another shape.
    """
    for prefix in _DECODERS:
        for mark, rules in _MARKS.items():
            if prefix + mark in state:
                return _split(state, prefix, rules, str(source))
    return None


def holds_head(keys: Container[str]) -> bool:
    """Whether an original state dict of these keys holds a head."""
    return any(prefix + mark in keys for prefix in _DECODERS for mark in _MARKS)


def head_for(path: str | Path, base: PromptableModel) -> MaskHead:
    """The head of an authors' file, for a model with the same weights as the rest of the file.

    Raises:
        ModelError: the file cannot be read, holds no head, or its own model has other weights than `base`.
    """
    headed = load_original(path, base.device, base.dtype)
    if not isinstance(headed, HeadedModel):
        raise ModelError(
            f"expected a file with a head in {path}, got a model without one; give a file of HQ-SAM or RobustSAM"
        )
    if headed.base.family != base.family or state_digest(headed.base) != state_digest(base):
        raise ModelError(
            f"expected a head for this {base.family} model in {path}, got one whose model has other weights; give the "
            "file as the model, without a head"
        )
    return headed.head


def load_original(
    path: str | Path, device: str | torch.device = "cpu", dtype: torch.dtype = torch.float32
) -> PromptableModel:
    """Load an authors' file, with its head if it holds one.

    Raises:
        ModelError: the file cannot be read, is of another model, or any key is missing or left over.
    """
    state = read_checkpoint(path)
    split = split_head(state, path)
    if split is None:
        return from_original(state, str(path)).place(device, dtype)
    return HeadedModel(from_original(split.base, str(path)), split.head).place(device, dtype)


def _split(state: Mapping[str, Tensor], prefix: str, rules: tuple[Rule, ...], source: str) -> Split:
    """Sort a file's tensors into the base model's and the head's."""
    compiled = [(re.compile(re.escape(prefix) + pattern), new) for pattern, new in rules]
    base: dict[str, Tensor] = {}
    renamed: dict[str, Tensor] = {}
    for key, value in state.items():
        match, new = next(((m, new) for pattern, new in compiled if (m := pattern.fullmatch(key))), (None, ""))
        if match is None:
            base[key] = value  # an unknown key is for the base model's loader to refuse
        else:
            renamed[match.expand(new)] = value
    with torch.device("meta"):
        head = _hq(renamed) if rules is HQ_RULES else _robust(renamed)
    take_over(head, renamed, f"{source} ({head.kind} head)")
    return Split(base, head.eval())


def _hq(state: Mapping[str, Tensor]) -> HQHead:
    """An HQ head of a file's sizes; in the authors' files SAM's own tokens see the head's."""
    early = state.get("compress.0.weight")
    return HQHead(state["token.weight"].shape[1], None if early is None else early.shape[0], joint=True)


def _robust(state: Mapping[str, Tensor]) -> RobustHead:
    """A robust head of a file's sizes."""
    early = state.get("first.out.0.weight")
    return RobustHead(state["tokens.weight"].shape[1], None if early is None else early.shape[0])
