"""SAM 2's memory from the authors' file: every key under its new name, and the same masks as from a folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from transformers import Sam2VideoConfig, Sam2VideoModel
from video_tiny import tiny_video_model

from glesam.errors import ModelError
from glesam.models.sam import original
from glesam.models.sam.original_names import SAM2_MARK
from glesam.prompts.prompts import Prompts
from glesam.video.load import load_tracker
from glesam.video.memory import MemoryTracker, has_memory, load_memory_model

# The authors' names of the memory of SAM 2.1, and the numbers of values in Hiera-tiny's file.
MEMORY = {
    "maskmem_tpos_enc": (7, 1, 1, 64),
    "no_mem_pos_enc": (1, 1, 256),
    "no_obj_ptr": (1, 256),
    "no_obj_embed_spatial": (1, 64),
    "mask_downsample.weight": (1, 1, 4, 4),
    "mask_downsample.bias": (1,),
    "obj_ptr_tpos_proj.weight": (64, 256),
    "obj_ptr_tpos_proj.bias": (64,),
    "memory_attention.norm.weight": (256,),
    "memory_attention.norm.bias": (256,),
    "memory_encoder.pix_feat_proj.weight": (256, 256, 1, 1),
    "memory_encoder.pix_feat_proj.bias": (256,),
    "memory_encoder.out_proj.weight": (64, 256, 1, 1),
    "memory_encoder.out_proj.bias": (64,),
    "memory_encoder.mask_downsampler.encoder.12.weight": (256, 256, 1, 1),
    "memory_encoder.mask_downsampler.encoder.12.bias": (256,),
}
NAMES = (
    ("obj_ptr_proj.layers.{}", 3, {"weight": (256, 256), "bias": (256,)}),
    (
        "memory_attention.layers.{}",
        4,
        {
            **{f"self_attn.{p}_proj.weight": (256, 256) for p in ("q", "k", "v", "out")},
            **{f"self_attn.{p}_proj.bias": (256,) for p in ("q", "k", "v", "out")},
            **{f"cross_attn_image.{p}_proj.weight": (256, n) for p, n in zip("qkv", (256, 64, 64), strict=True)},
            **{f"cross_attn_image.{p}_proj.bias": (256,) for p in ("q", "k", "v", "out")},
            "cross_attn_image.out_proj.weight": (256, 256),
            "linear1.weight": (2048, 256),
            "linear1.bias": (2048,),
            "linear2.weight": (256, 2048),
            "linear2.bias": (256,),
            **{f"norm{i}.{leaf}": (256,) for i in (1, 2, 3) for leaf in ("weight", "bias")},
        },
    ),
    (
        "memory_encoder.fuser.layers.{}",
        2,
        {
            "gamma": (256,),
            "dwconv.weight": (256, 1, 7, 7),
            "dwconv.bias": (256,),
            "norm.weight": (256,),
            "norm.bias": (256,),
            "pwconv1.weight": (1024, 256),
            "pwconv1.bias": (1024,),
            "pwconv2.weight": (256, 1024),
            "pwconv2.bias": (256,),
        },
    ),
)


def memory_of_the_release() -> dict[str, tuple[int, ...]]:
    keys = dict(MEMORY)
    for pattern, count, leaves in NAMES:
        keys |= {f"{pattern.format(i)}.{leaf}": shape for i in range(count) for leaf, shape in leaves.items()}
    for i, (inner, outer) in enumerate(((1, 4), (4, 16), (16, 64), (64, 256))):
        place = "memory_encoder.mask_downsampler.encoder.{}"
        keys |= {f"{place.format(3 * i)}.weight": (outer, inner, 3, 3), f"{place.format(3 * i)}.bias": (outer,)}
        keys |= {f"{place.format(3 * i + 1)}.{leaf}": (outer,) for leaf in ("weight", "bias")}
    return keys


@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_every_key_of_the_memory_fits(version: str) -> None:
    newer = ("no_obj_embed_spatial", "obj_ptr_tpos_proj")
    keys = {k: v for k, v in memory_of_the_release().items() if version == "2.1" or not k.startswith(newer)}
    with torch.device("meta"):
        state = {key: torch.zeros(shape) for key, shape in keys.items()}
        off = {"enable_occlusion_spatial_embedding": False, "enable_temporal_pos_encoding_for_object_pointers": False}
        expected = Sam2VideoModel(Sam2VideoConfig(**({} if version == "2.1" else off))).state_dict()
    found = original.rename(state, original.tables.SAM2_MEMORY_RULES, (), "file")
    images = ("vision_encoder.", "mask_decoder.", "prompt_encoder.", "shared_image", "no_memory_embedding")
    own = {k: v.shape for k, v in expected.items() if not k.startswith(images)}
    assert {k: v.shape for k, v in found.items()} == own


def test_the_same_masks_as_from_the_model(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tiny model whose sizes no file tells; all that is read of the file is real."""
    model = tiny_video_model()
    file = tmp_path / "sam2.pt"
    torch.save({"model": {SAM2_MARK: torch.zeros(1), "memory_encoder.x": torch.zeros(1)}}, file)
    state = {k: v.clone() for k, v in model.state_dict().items()}

    def converted(read: dict[str, Tensor], source: str) -> tuple[Sam2VideoConfig, dict[str, Tensor]]:
        assert set(read) == {SAM2_MARK, "memory_encoder.x"}
        return model.config, state

    monkeypatch.setattr(original, "convert_video", converted)
    assert has_memory(file)
    tracker = load_tracker(file)
    assert isinstance(tracker, MemoryTracker)
    frames = np.random.default_rng(1).integers(0, 256, (3, 48, 80, 3), dtype=np.uint8)
    prompts, reference = Prompts([[20, 10]]), MemoryTracker(model)
    for index, frame in enumerate(frames):
        first, second = (t.step(frame) if index else t.start(frame, prompts) for t in (tracker, reference))
        assert np.array_equal(first.logits, second.logits)


def test_missing_keys_are_named(tmp_path: Path) -> None:
    torch.save(
        {"model": {SAM2_MARK: torch.zeros(96, 3, 7, 7), "memory_attention.x": torch.zeros(1)}}, tmp_path / "a.pt"
    )
    with pytest.raises(ModelError, match=r"1 unexpected \(memory_attention.x\)"):
        load_memory_model(tmp_path / "a.pt")
