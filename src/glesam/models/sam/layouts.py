"""Checkpoints recognised by their keys: what a file is, whether glesam reads it, and what to use instead if not.

A new variant is a row of `LAYOUTS`. Rows are tried in order, so that a variant stands before what it is a variant of.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from glesam.models.sam.original_names import MOBILE_MARK, SAM2_MARK, SAM_MARK


@dataclass(frozen=True)
class CheckpointLayout:
    """A kind of checkpoint.

    Attributes:
        name: of the variant.
        marks: regular expressions; each must match a key of the file in full.
        accepts: what the model takes, for those that glesam reads.
        instead: what to do with a file that glesam does not read; empty where it reads it.
        files: names under which the authors give it out.
        types: `model_type` of transformers' folders of such a model that glesam does not read.
    """

    name: str
    marks: tuple[str, ...]
    accepts: str = "points, boxes, masks"
    instead: str = ""
    files: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


_SAM, _SAM2, _MOBILE = re.escape(SAM_MARK), re.escape(SAM2_MARK), re.escape(MOBILE_MARK)
_SMALLER = "use mobile-sam or compact, which are as small"
_HQ, _ROBUST = r"(sam_)?mask_decoder\.(hf_token|hf_mlp)\..+", r"mask_decoder\.(custom_robust_token|robust_mlp)\..+"

LAYOUTS: tuple[CheckpointLayout, ...] = (
    CheckpointLayout("HQ-SAM 2", (_HQ, _SAM2), files=("sam2.1_hq_hiera_large.pt",)),
    CheckpointLayout("Light HQ-SAM", (_HQ, _MOBILE), files=("sam_hq_vit_tiny.pth",)),
    CheckpointLayout(
        "HQ-SAM",
        (_HQ, _SAM),
        files=("sam_hq_vit_b.pth", "sam_hq_vit_l.pth", "sam_hq_vit_h.pth"),
        types=("sam_hq",),
    ),
    CheckpointLayout(
        "RobustSAM", (_ROBUST, _SAM), files=tuple(f"robustsam_checkpoint_{size}.pth" for size in ("b", "l", "h"))
    ),
    CheckpointLayout(
        "EdgeTAM",
        (r"image_encoder\.trunk\.body\..+",),
        instead="use sam2.1-hiera-tiny, which tracks too, or transformers' EdgeTamModel outside glesam",
        files=("edgetam.pt",),
        types=("edgetam", "edgetam_video"),
    ),
    CheckpointLayout(
        "EfficientSAM",
        (r"prompt_encoder\.bbox_top_left_embeddings\.weight",),
        instead=_SMALLER,
        files=("efficient_sam_vitt.pt", "efficient_sam_vits.pt"),
    ),
    CheckpointLayout("EdgeSAM", (r"image_encoder\.features\.0\..+",), instead=_SMALLER, files=("edge_sam_3x.pth",)),
    CheckpointLayout(
        "SAM 3",
        (r"(sam3_model\.|detector_model\.|detector\.).+",),
        instead="use sam2.1-hiera-large for points and boxes; see docs/models.md for SAM 3 through transformers",
        files=("sam3.pt", "sam3.1_multiplex.pt"),
        types=("sam3", "sam3_video", "sam3_tracker", "sam3_tracker_video", "sam3_lite_text"),
    ),
    CheckpointLayout(
        "SAM 2.1",
        (_SAM2, r"no_obj_embed_spatial"),
        "points, boxes, masks; clips",
        files=tuple(f"sam2.1_hiera_{size}.pt" for size in ("tiny", "small", "base_plus", "large")),
    ),
    CheckpointLayout(
        "SAM 2.0",
        (_SAM2,),
        "points, boxes, masks; clips",
        files=tuple(f"sam2_hiera_{size}.pt" for size in ("tiny", "small", "base_plus", "large")),
    ),
    CheckpointLayout("MobileSAM", (_MOBILE,), files=("mobile_sam.pt",)),
    CheckpointLayout(
        "SAM", (_SAM,), files=("sam_vit_b_01ec64.pth", "sam_vit_l_0b3195.pth", "sam_vit_h_4b8939.pth", "epoch_last.pth")
    ),
    CheckpointLayout(
        "LoRA of a diffusion U-Net (GleSAM's enhancer)",
        (r".*\.(lora_A|lora\.down)\.weight",),
        instead="it belongs to an enhancer: see docs/enhance.md",
        files=("pytorch_lora_weights.safetensors",),
    ),
    CheckpointLayout(
        "a model in transformers' names",
        (r"vision_encoder\..+",),
        instead="give the folder that holds it and its config.json",
        files=("model.safetensors",),
    ),
    CheckpointLayout(
        "a YOLO network, perhaps FastSAM",
        (r"(model\.)?0\.conv\.weight",),
        instead="use compact or mobile-sam with --everything",
        files=("FastSAM-x.pt", "FastSAM-s.pt"),
    ),
)


def recognise(keys: Iterable[str]) -> CheckpointLayout | None:
    """The first layout whose marks are all among the keys of a file; None for an unknown one."""
    # One text, one key a line: a search each instead of a loop over a thousand keys.
    text = "\n".join(keys)
    for layout in LAYOUTS:
        if all(re.search(rf"^(?:{mark})$", text, re.MULTILINE) for mark in layout.marks):
            return layout
    return None


def known_as(name: str) -> CheckpointLayout | None:
    """The layout that goes by a name, however it is written: the variant's own, a file's, or a transformers type."""
    wanted = plain(name)
    return next((each for each in LAYOUTS if wanted in _names(each)), None)


def _names(layout: CheckpointLayout) -> set[str]:
    return {plain(name) for name in (layout.name, *layout.types, *(file.rsplit(".", 1)[0] for file in layout.files))}


def plain(name: str) -> str:
    """Letters and digits of a name, small."""
    return re.sub(r"[^a-z0-9]", "", name.lower())


def advice(layout: CheckpointLayout | None) -> str:
    """What to do with a file that glesam does not read."""
    if layout is None:
        return "give an original SAM, SAM 2 or MobileSAM file, or a folder that glesam saved"
    return layout.instead


def advice_without_file(layout: CheckpointLayout | None) -> str:
    """What to do with a folder of transformers, or a name, that glesam does not read but knows; empty for no layout."""
    if layout is None:
        return ""
    cure = layout.instead or f"give the path of its authors' file, such as {layout.files[0]}"
    return f"that is {layout.name}: {cure}"
