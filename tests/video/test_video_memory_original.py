"""SAM 2's memory from the authors' file: every key under its new name, and clips that are followed by it."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from heads_original import HQDecoder
from torch import Tensor
from transformers import Sam2Config, Sam2VideoConfig, Sam2VideoModel
from video_tiny import SIDE

from glesam.errors import ModelError
from glesam.heads.headed import HeadedModel
from glesam.models.sam import original
from glesam.models.sam import original_names as tables
from glesam.models.sam.original_names import SAM2_MARK
from glesam.prompts.prompts import Prompts
from glesam.video.load import load_tracker
from glesam.video.memory import MemoryTracker, has_memory, load_memory_model
from glesam.video.propagate import MaskPropagation

sys.path.insert(0, str(Path(__file__).parents[1] / "models"))
from models_original import OriginalSam2
from models_tiny import hiera_tiny, randomise, sam2_tiny_config

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
NEWER = ("no_obj_embed_spatial", "obj_ptr_tpos_proj")
"""What SAM 2.0's files do not have."""

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
    keys = {k: v for k, v in memory_of_the_release().items() if version == "2.1" or not k.startswith(NEWER)}
    with torch.device("meta"):
        state = {key: torch.zeros(shape) for key, shape in keys.items()}
        off = {"enable_occlusion_spatial_embedding": False, "enable_temporal_pos_encoding_for_object_pointers": False}
        expected = Sam2VideoModel(Sam2VideoConfig(**({} if version == "2.1" else off))).state_dict()
    found = original.rename(state, original.tables.SAM2_MEMORY_RULES, (), "file")
    images = ("vision_encoder.", "mask_decoder.", "prompt_encoder.", "shared_image", "no_memory_embedding")
    own = {k: v.shape for k, v in expected.items() if not k.startswith(images)}
    assert {k: v.shape for k, v in found.items()} == own


# Of tensors of one shape, which is which: the authors' names, and transformers' for the same role.
ROLES = {
    "no_mem_embed": "no_memory_embedding",
    "no_mem_pos_enc": "no_memory_positional_encoding",
    "no_obj_ptr": "no_object_pointer",
    "obj_ptr_tpos_proj.bias": "temporal_positional_encoding_projection_layer.bias",
    **{f"obj_ptr_proj.layers.{i}.bias": f"object_pointer_proj.{n}.bias" for i, n in enumerate(("proj_in", "layers.0"))},
    "obj_ptr_proj.layers.2.weight": "object_pointer_proj.proj_out.weight",
    "memory_attention.norm.weight": "memory_attention.layer_norm.weight",
    **{f"memory_attention.layers.1.norm{i}.bias": f"memory_attention.layers.1.layer_norm{i}.bias" for i in (1, 2, 3)},
    **{f"memory_attention.layers.2.self_attn.{p}_proj.weight": None for p in "qkv"},
    "memory_attention.layers.2.self_attn.out_proj.weight": "memory_attention.layers.2.self_attn.o_proj.weight",
    **{f"memory_attention.layers.3.cross_attn_image.{p}_proj.bias": None for p in "qkv"},
    "memory_attention.layers.3.cross_attn_image.out_proj.bias": (
        "memory_attention.layers.3.cross_attn_image.o_proj.bias"
    ),
    "memory_encoder.pix_feat_proj.bias": "memory_encoder.feature_projection.bias",
    "memory_encoder.mask_downsampler.encoder.3.bias": "memory_encoder.mask_downsampler.layers.1.conv.bias",
    "memory_encoder.mask_downsampler.encoder.4.weight": "memory_encoder.mask_downsampler.layers.1.layer_norm.weight",
    "memory_encoder.mask_downsampler.encoder.4.bias": "memory_encoder.mask_downsampler.layers.1.layer_norm.bias",
    "memory_encoder.mask_downsampler.encoder.12.bias": "memory_encoder.mask_downsampler.final_conv.bias",
    "memory_encoder.fuser.layers.1.gamma": "memory_encoder.memory_fuser.layers.1.scale",
    "memory_encoder.fuser.layers.1.dwconv.bias": "memory_encoder.memory_fuser.layers.1.depthwise_conv.bias",
    "memory_encoder.fuser.layers.1.norm.weight": "memory_encoder.memory_fuser.layers.1.layer_norm.weight",
    "memory_encoder.fuser.layers.1.pwconv2.bias": "memory_encoder.memory_fuser.layers.1.pointwise_conv2.bias",
}


def whole_file() -> dict[str, Tensor]:
    """Every key of a release of SAM 2.1 with random values; only Hiera is tiny."""
    vision = sam2_tiny_config().vision_config
    config = Sam2Config(vision_config={**vision.to_dict(), "fpn_hidden_size": 256})
    images = randomise(OriginalSam2(config), std=0.1).state_dict()
    generator = torch.Generator().manual_seed(2)
    memory = {k: torch.randn(shape, generator=generator) * 0.1 for k, shape in memory_of_the_release().items()}
    state = {k: v for k, v in images.items() if k.startswith(("image_encoder.", "sam_", "no_mem_embed"))} | memory
    state["sam_mask_decoder.pred_obj_score_head.layers.2.bias"].fill_(50.0)  # or else all may be taken for hidden
    return state


@pytest.mark.parametrize("version", ["2.0", "2.1"])
def test_an_authors_file_is_tracked_by_its_memory(
    version: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {k: v for k, v in whole_file().items() if version == "2.1" or not k.startswith(NEWER)}
    torch.save({"model": state}, tmp_path / "mine.pt")
    monkeypatch.setitem(tables.SAM2_SIZES, (8, 5), hiera_tiny())
    convert = original.convert_video

    def at_64_pixels(read: dict[str, Tensor], source: str) -> tuple[Sam2VideoConfig, dict[str, Tensor]]:
        """The size of the input leaves no trace in a file: that of the releases would take long here."""
        config, renamed = convert(read, source)
        config.image_size = config.prompt_encoder_config.image_size = SIDE
        config.vision_config.backbone_config.image_size = [SIDE, SIDE]
        config.vision_config.backbone_feature_sizes = [[SIDE // n, SIDE // n] for n in (4, 8, 16)]
        config.memory_attention_rope_feat_sizes = [SIDE // 16, SIDE // 16]
        return config, renamed

    monkeypatch.setattr(original, "convert_video", at_64_pixels)
    tracker = load_tracker(tmp_path / "mine.pt")
    assert isinstance(tracker, MemoryTracker)
    found = tracker.model.state_dict()
    for theirs, ours in ROLES.items():
        if theirs in state:
            assert torch.equal(found[ours or theirs], state[theirs]), theirs
    first, second = np.random.default_rng(1).integers(0, 256, (2, 48, 80, 3), dtype=np.uint8)
    followed = []
    for point in ([20, 10], [20, 10], [70, 40]):
        tracker.start(first, Prompts([point]))
        followed.append(tracker.step(second).logits)
    # The second frame is always the same: what differs is what is remembered of the first.
    assert np.isfinite(followed).all()
    assert np.array_equal(followed[0], followed[1])
    assert not np.array_equal(followed[0], followed[2])


def test_missing_keys_are_named(tmp_path: Path) -> None:
    torch.save(
        {"model": {SAM2_MARK: torch.zeros(96, 3, 7, 7), "memory_attention.x": torch.zeros(1)}}, tmp_path / "a.pt"
    )
    with pytest.raises(ModelError, match=r"1 unexpected \(memory_attention.x\)"):
        load_memory_model(tmp_path / "a.pt")


def test_a_file_under_a_releases_name_must_be_that_file(tmp_path: Path) -> None:
    file = tmp_path / "sam2.1_hiera_tiny.pt"
    torch.save({"model": {SAM2_MARK: torch.zeros(1), "memory_encoder.x": torch.zeros(1)}}, file)
    with pytest.raises(ModelError, match="with SHA-256 7402e0d8"):
        load_tracker(file)


def test_a_file_with_a_head_is_followed_by_the_previous_mask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """HQ-SAM 2's file holds SAM 2's memory too; what answers is the head, frame by frame."""
    config = Sam2Config(vision_config={**sam2_tiny_config().vision_config.to_dict(), "fpn_hidden_size": 256})
    model = OriginalSam2(config)
    model.sam_mask_decoder = HQDecoder(256, 2048, 256, True, 1e-5, None)
    head = {k: v for k, v in randomise(model, std=0.1).state_dict().items() if re.search(r"\.hf_|maskfeature", k)}
    torch.save(whole_file(), tmp_path / "plain.pt")
    torch.save(whole_file() | head, tmp_path / "headed.pt")
    assert [has_memory(tmp_path / f"{name}.pt") for name in ("plain", "headed")] == [True, False]
    monkeypatch.setitem(tables.SAM2_SIZES, (8, 5), hiera_tiny())
    tracker = load_tracker(tmp_path / "headed.pt")
    assert isinstance(tracker, MaskPropagation)
    assert isinstance(tracker.predictor.model, HeadedModel)
    with pytest.raises(ModelError, match="with memory"):
        load_tracker(tmp_path / "headed.pt", kind="memory")
