"""The table of docs/models.md: each line with a file of that layout."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from heads_original import HQDecoder, original_hq, original_robust
from models_original import OriginalSam, OriginalSam2
from models_tiny import randomise, sam_tiny, sam_tiny_config
from safetensors.torch import load_file, save_file
from test_models_mobile import OriginalMobileSam
from test_models_original import hiera_config
from torch import Tensor
from typer.testing import CliRunner

from glesam.cli import app
from glesam.errors import ModelError
from glesam.models.check import check_file
from glesam.models.registry import load_model
from glesam.models.sam.layouts import LAYOUTS, recognise
from glesam.models.sam.tinyvit import TinyVitConfig

DOCS = Path(__file__).parents[2] / "docs" / "models.md"
State = dict[str, Tensor]


def sam() -> State:
    return randomise(OriginalSam(sam_tiny_config()), 1).state_dict()


def sam2(version: str) -> State:
    """Zeros: made in no time."""
    with torch.device("meta"):
        shapes = OriginalSam2(hiera_config("tiny")).state_dict()
    newer = ("no_obj_embed_spatial", "obj_ptr_tpos_proj.weight", "obj_ptr_tpos_proj.bias")
    state = {key: torch.zeros(value.shape) for key, value in shapes.items() if key not in newer}
    return state | ({key: torch.zeros(1, 64) for key in newer} if version == "2.1" else {})


def mobile() -> State:
    with torch.device("meta"):
        shapes = OriginalMobileSam(TinyVitConfig(), 256, 1024, 2048, 256).state_dict()
    return {key: torch.zeros(value.shape) for key, value in shapes.items()}


def hq(base: State, prefix: str, sam2: bool, early: int | None) -> State:
    """A full-size file with the decoder of HQ-SAM in the place of its own."""
    with torch.device("meta"):
        shapes = HQDecoder(256, 2048, 256, sam2, 1e-5, early).state_dict()
    return base | {prefix + key: torch.zeros(value.shape) for key, value in shapes.items()}


def hq2() -> dict[str, State]:
    """Its decoder reads no early feature."""
    return {"model": hq(sam2("2.1"), "sam_mask_decoder.", True, None)}


def some(*keys: str) -> State:
    return {key: torch.zeros(2, 2) for key in keys}


EFFICIENT = some(
    "image_encoder.patch_embed.proj.weight",
    "image_encoder.blocks.0.attn.qkv.weight",
    "prompt_encoder.bbox_top_left_embeddings.weight",
)
EDGE = some("image_encoder.features.0.0.c.weight", "image_encoder.neck.0.weight", "mask_decoder.iou_token.weight")
EDGETAM = some("image_encoder.trunk.body.stem.conv1.c.weight", "spatial_perceiver.latents")
SAM3 = some("detector.backbone.vision_backbone.trunk.patch_embed.proj.weight", "tracker.maskmem_tpos_enc")
LORA = some("unet.mid_block.attentions.0.proj_in.lora_A.weight", "unet.mid_block.attentions.0.proj_in.lora_B.weight")

# First words of a line of the table, name of the file, and what is in it.
FILES: dict[str, tuple[str, Callable[[], Any]]] = {
    "`sam_vit_{b,l,h}_*.pth`": ("sam_vit_b_mine.pth", sam),
    "`sam2_hiera_*.pt`": ("sam2_hiera_mine.pt", lambda: {"model": sam2("2.0")}),
    "`sam2.1_hiera_*.pt`": ("sam2.1_hiera_mine.pt", lambda: {"model": sam2("2.1")}),
    "`mobile_sam.pt`": ("mobile_mine.pt", mobile),
    "`epoch_last.pth`": ("epoch_last.pth", lambda: {f"module.{k}": v for k, v in sam().items()}),
    "Lightning's": (
        "last.ckpt",
        lambda: {
            "epoch": 3,
            "state_dict": {f"model.{k}": v for k, v in sam().items()},
            "pytorch-lightning_version": "2",
        },
    ),
    "`.safetensors`": ("mine.safetensors", sam),
    "`model.safetensors`": (
        "model.safetensors",
        lambda: {k: v for k, v in sam_tiny().state_dict().items() if "shared_embedding" not in k},
    ),
    "`sam_hq_vit_{b,l,h}.pth`": ("sam_hq_vit_b.pth", lambda: original_hq().state_dict()),
    "`sam_hq_vit_tiny.pth`": ("sam_hq_vit_tiny.pth", lambda: hq(mobile(), "mask_decoder.", False, 160)),
    "`sam2.1_hq_hiera_large.pt`": ("sam2.1_hq_hiera_large.pt", hq2),
    "`robustsam_checkpoint_*.pth`": ("robustsam_checkpoint_b.pth", lambda: original_robust().state_dict()),
    "`pytorch_lora_weights.safetensors`": ("pytorch_lora_weights.safetensors", lambda: LORA),
    "`edgetam.pt`": ("edgetam.pt", lambda: {"model": EDGETAM}),
    "`efficient_sam_vit{t,s}.pt`": ("efficient_sam_vitt.pt", lambda: {"model": EFFICIENT}),
    "`edge_sam*.pth`": ("edge_sam_3x.pth", lambda: {"model": EDGE}),
    "`sam3.pt`": ("sam3.pt", lambda: {"model": SAM3}),
    "a pickled module,": ("FastSAM-x.pt", lambda: {"model": torch.nn.Conv2d(3, 4, 3), "epoch": 1}),
    "any other": ("resnet.pth", lambda: some("conv1.weight", "fc.bias")),
}


def table() -> dict[str, tuple[str, str]]:
    rows = re.findall(r"^\| (.+) \| (.+) \| (.+) \|$", DOCS.read_text("utf-8"), re.M)[1:]
    return {file: (variant, met) for file, variant, met in rows}


def row_of(words: str) -> tuple[str, str]:
    found = [row for file, row in table().items() if file.startswith(words)]
    assert len(found) == 1, words
    return found[0]


def test_every_line_has_a_file() -> None:
    assert len(table()) == len(FILES)
    assert all(any(file.startswith(words) for words in FILES) for file in table())


@pytest.mark.parametrize("words", FILES)
def test_line_of_the_table(words: str, tmp_path: Path) -> None:
    variant, met = row_of(words)
    name, content = FILES[words]
    file = tmp_path / name
    save_file(content(), file) if file.suffix == ".safetensors" else torch.save(content(), file)
    if variant.startswith("("):
        with pytest.raises(ModelError, match=met):
            load_model(file)
        return
    found = check_file(file)
    assert found.variant.startswith(variant)
    assert found.readable == met.startswith("read")
    if not found.readable:
        with pytest.raises(ModelError, match=re.escape(met)) as caught:
            load_model(file)
        assert "\n" not in str(caught.value)
        assert variant == "unknown" or variant in str(caught.value)


def test_command(tmp_path: Path) -> None:
    state = sam()
    torch.save(state, tmp_path / "mine.pth")
    torch.save({"model": EDGETAM}, tmp_path / "edgetam.pt")
    read = CliRunner().invoke(app, ["models", "check", str(tmp_path / "mine.pth")])
    values = sum(tensor.numel() for tensor in state.values())
    assert read.exit_code == 0
    assert f"{len(state)} tensors, {values / 1e6:.1f} M values" in read.stdout
    foreign = CliRunner().invoke(app, ["models", "check", str(tmp_path / "edgetam.pt")])
    assert foreign.exit_code == 1
    assert "EdgeTAM" in foreign.stdout
    assert "sam2.1-hiera-tiny" in foreign.stdout
    torch.save(some("conv1.weight", "fc.bias"), tmp_path / "resnet.pth")
    unknown = CliRunner().invoke(app, ["models", "check", str(tmp_path / "resnet.pth")])
    assert unknown.exit_code == 1
    assert "variant: unknown (conv1.weight, fc.bias)\nholds:   2 tensors" in unknown.stdout
    torch.save({"model": torch.nn.Conv2d(3, 4, 3)}, tmp_path / "module.pt")
    module = CliRunner().invoke(app, ["models", "check", str(tmp_path / "module.pt")])
    assert (module.exit_code, module.stderr.count("\n")) == (2, 1)
    absent = CliRunner().invoke(app, ["models", "check", str(tmp_path / "absent.pt")])
    assert absent.exit_code == 2
    folder = CliRunner().invoke(app, ["models", "check", str(tmp_path)])
    assert folder.exit_code == 2
    assert "got the folder" in folder.stderr
    assert absent.stderr.count("\n") == 1


def test_rows_are_told_apart() -> None:
    """A file with a broken key is still named, and no row hides a later one."""
    assert recognise(["mask_decoder.x"]) is None
    names = [layout.name for layout in LAYOUTS]
    assert len(names) == len(set(names))
    assert all(layout.files for layout in LAYOUTS)


def test_a_bad_key_of_a_known_model_is_reported(tmp_path: Path) -> None:
    torch.save(sam() | some("mask_decoder.extra"), tmp_path / "mine.pth")
    found = check_file(tmp_path / "mine.pth")
    assert not found.readable
    assert "1 unexpected (mask_decoder.extra)" in found.problem


def test_safetensors_beside_its_config_is_its_folder(tmp_path: Path) -> None:
    from glesam.models.sam.sam import SamPromptable

    SamPromptable(sam_tiny()).save_pretrained(tmp_path)
    assert isinstance(load_model(tmp_path / "model.safetensors"), SamPromptable)


def test_weights_of_a_saved_folder_are_judged_with_their_config(tmp_path: Path) -> None:
    from glesam.models.registry import COMPACT_FOLDER
    from glesam.models.sam.sam import SamPromptable

    SamPromptable(sam_tiny()).save_pretrained(tmp_path)
    for folder, family in ((COMPACT_FOLDER, "compact"), (tmp_path, "sam")):
        file = folder / "model.safetensors"
        found = check_file(file)
        assert (found.readable, found.variant) == (True, f"{family}, in a saved folder"), found.problem
        assert found.tensors == len(load_file(file))
    (tmp_path / "config.json").write_text('{"model_type": "edgetam"}')
    assert "that is EdgeTAM" in check_file(tmp_path / "model.safetensors").problem
    (tmp_path / "config.json").unlink()
    assert "give the folder that holds it" in check_file(tmp_path / "model.safetensors").problem
