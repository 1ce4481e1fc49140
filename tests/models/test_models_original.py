"""Original files: every key is renamed by the tables, and the renamed model computes what the original does."""

from __future__ import annotations

import itertools
import re
from pathlib import Path
from typing import Any

import pytest
import torch
import transformers
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from models_original import OriginalSam, OriginalSam2
from models_tiny import hiera_tiny, randomise, sam2_tiny_config, sam_tiny_config
from torch import Tensor, nn
from transformers import Sam2Config, Sam2Model, SamConfig, SamModel

from glesam.errors import ModelError
from glesam.models.base import Embedding, PromptTensors
from glesam.models.sam import original_names as tables
from glesam.models.sam.original import convert, convert_video, load_checkpoint, read_checkpoint
from glesam.models.sam.sam import SamPromptable
from glesam.models.sam.sam2 import Sam2Promptable

VIT = {
    "b": {},
    "l": {
        "hidden_size": 1024,
        "num_hidden_layers": 24,
        "num_attention_heads": 16,
        "global_attn_indexes": [5, 11, 17, 23],
    },
    "h": {
        "hidden_size": 1280,
        "num_hidden_layers": 32,
        "num_attention_heads": 16,
        "global_attn_indexes": [7, 15, 23, 31],
    },
}
MEMORY_KEYS = re.compile("memory_|maskmem|no_mem_pos|no_obj|mask_downsample|obj_ptr")
WINDOWS, LARGE_WINDOWS = [8, 4, 14, 7], [8, 4, 16, 8]
HIERA = {  # width, heads, blocks, global blocks, windows, background
    "tiny": (96, 1, [1, 2, 7, 2], [5, 7, 9], WINDOWS, 7),
    "small": (96, 1, [1, 2, 11, 2], [7, 10, 13], WINDOWS, 7),
    "base-plus": (112, 2, [2, 3, 16, 3], [12, 16, 20], WINDOWS, 14),
    "large": (144, 2, [2, 6, 36, 4], [23, 33, 43], LARGE_WINDOWS, 7),
}


def hiera_config(size: str) -> Sam2Config:
    width, heads, blocks, global_blocks, windows, background = HIERA[size]
    widths = [width * factor for factor in (1, 2, 4, 8)]
    backbone = {
        "model_type": "sam2_hiera_det_model",
        "hidden_size": width,
        "num_attention_heads": heads,
        "blocks_per_stage": blocks,
        "embed_dim_per_stage": widths,
        "num_attention_heads_per_stage": [heads * factor for factor in (1, 2, 4, 8)],
        "window_size_per_stage": windows,
        "window_positional_embedding_background_size": [background, background],
        "global_attention_blocks": global_blocks,
    }
    vision = {"model_type": "sam2_vision_model", "backbone_config": backbone, "backbone_channel_list": widths[::-1]}
    return Sam2Config(vision_config=vision)


def sizes(config: Any) -> dict[str, Any]:
    """A config without what says nothing about the model: versions, ids, dtype."""
    skip = {
        "transformers_version",
        "_name_or_path",
        "architectures",
        "dtype",
        "id2label",
        "label2id",
        "initializer_range",
    }
    return {k: sizes(v) if isinstance(v, dict) else v for k, v in config.items() if k not in skip}


def original_tiny(family: str, monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    if family == "sam":
        return randomise(OriginalSam(sam_tiny_config()), 7)
    monkeypatch.setitem(tables.SAM2_SIZES, (8, 5), hiera_tiny())
    return randomise(OriginalSam2(sam2_tiny_config()), 7)


@pytest.mark.parametrize("size", VIT)
def test_sam_sizes_are_recognised_and_every_key_fits(size: str) -> None:
    config = SamConfig(vision_config=VIT[size])
    with torch.device("meta"):
        original, expected = OriginalSam(config), SamModel(config).state_dict()
    found = convert(original.state_dict(), "file")
    assert found.model_class is SamPromptable
    assert sizes(found.config.to_dict()) == sizes(config.to_dict())
    expected.pop("prompt_encoder.shared_embedding.positional_embedding")
    assert {k: v.shape for k, v in found.state.items()} == {k: v.shape for k, v in expected.items()}


@pytest.mark.parametrize("size", HIERA)
def test_sam2_sizes_are_recognised_and_every_key_fits(size: str) -> None:
    config = hiera_config(size)
    with torch.device("meta"):
        original, expected = OriginalSam2(config), Sam2Model(config).state_dict()
    found = convert(original.state_dict(), "file")
    assert found.model_class is Sam2Promptable
    assert sizes(found.config.to_dict()) == sizes(config.to_dict())
    expected.pop("prompt_encoder.shared_embedding.positional_embedding")
    assert {k: v.shape for k, v in found.state.items()} == {k: v.shape for k, v in expected.items()}


def tokens_of(encoder: Any, points: Tensor, labels: Tensor, box: Tensor | None, sam2: bool) -> Tensor:
    """Sparse tokens of one object in the authors' order: SAM 2 puts a box's corners first and always pads."""
    clicks = [(*p, int(label)) for p, label in zip(points.tolist(), labels.tolist(), strict=True)]
    corners = [] if box is None else [(*box[:2].tolist(), 2), (*box[2:].tolist(), 3)]
    padding = [(0.0, 0.0, -1)] if sam2 or box is None else []
    ordered = [*corners, *clicks, *padding] if sam2 else [*clicks, *padding, *corners]
    return torch.stack([encoder.token(*item) for item in ordered])


@torch.no_grad()
@pytest.mark.parametrize(
    ("with_points", "with_box", "with_mask"), [*itertools.product([True], *[[False, True]] * 2), (False, False, True)]
)
@pytest.mark.parametrize("family", ["sam", "sam2"])
def test_decoder_computes_what_the_original_does(
    family: str, with_points: bool, with_box: bool, with_mask: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original, sam2 = original_tiny(family, monkeypatch), family == "sam2"
    torch.save({"model": original.state_dict()} if sam2 else original.state_dict(), tmp_path / "weights.pth")
    converted = convert(read_checkpoint(tmp_path / "weights.pth"), "weights.pth")
    # SAM 2's image and latent sizes leave no trace in its file: give the decoder those of the tiny model.
    config = sam2_tiny_config() if sam2 else converted.config
    model = converted.model_class.from_state(config, converted.state, "weights.pth")
    encoder = original.sam_prompt_encoder if sam2 else original.prompt_encoder
    decoder = original.sam_mask_decoder if sam2 else original.mask_decoder

    generator = torch.Generator().manual_seed(8)
    latent, mask = torch.randn(1, 32, 4, 4, generator=generator), torch.randn(1, 1, 16, 16, generator=generator)
    maps = [torch.randn(1, 32, n, n, generator=generator) for n in (16, 8)]
    skips = (decoder.conv_s0(maps[0]), decoder.conv_s1(maps[1])) if sam2 else ()
    points, labels = torch.rand(3, 2, generator=generator) * 64, torch.tensor([1, 0, 1])
    box = torch.tensor([5.0, 9.5, 40.0, 61.0]) if with_box else None
    dense = encoder.mask_downscaling(mask) if with_mask else encoder.no_mask_embed.weight.view(1, -1, 1, 1)
    # A mask alone has no tokens at all.
    sparse = tokens_of(encoder, points, labels, box, sam2)[None] if with_points else torch.zeros(1, 0, 32)
    expected, expected_iou = decoder(latent, encoder.grid(4), sparse, dense, skips)

    prompts = PromptTensors(
        points[None, None] if with_points else None,
        labels[None, None] if with_points else None,
        None if box is None else box[None, None],
        mask if with_mask else None,
    )
    output = model.decode(Embedding(latent, skips), prompts, multimask=True)
    assert expected.std() > 0.05
    torch.testing.assert_close(output.low_res_logits[0], expected[:, 1:], atol=1e-4, rtol=0)
    torch.testing.assert_close(output.iou[0], expected_iou[:, 1:], atol=1e-5, rtol=0)


@torch.no_grad()
def test_neck_and_blocks_of_sam(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    original = original_tiny("sam", monkeypatch)
    torch.save(original.state_dict(), tmp_path / "weights.pth")
    model = load_checkpoint(tmp_path / "weights.pth")
    grid = torch.randn(1, 4, 4, 24, generator=torch.Generator().manual_seed(9))
    expected = original.image_encoder.neck(grid.permute(0, 3, 1, 2))
    torch.testing.assert_close(model.model.vision_encoder.neck(grid), expected, atol=1e-4, rtol=1e-4)
    for ours, block in zip(model.model.vision_encoder.layers, original.image_encoder.blocks, strict=True):
        assert torch.equal(ours.layer_norm1.weight, block.norm1.weight)
        assert torch.equal(ours.layer_norm2.bias, block.norm2.bias)
        assert torch.equal(ours.attn.rel_pos_h, block.attn.rel_pos_h)
        assert torch.equal(ours.attn.rel_pos_w, block.attn.rel_pos_w)
    assert model.encode(torch.randn(1, 3, 64, 64)).latent.std() > 0.05
    assert model.model.shared_image_embedding.positional_embedding is (
        model.model.prompt_encoder.shared_embedding.positional_embedding
    )


@torch.no_grad()
def test_blocks_of_sam2(monkeypatch: pytest.MonkeyPatch) -> None:
    original = original_tiny("sam2", monkeypatch)
    state = convert(original.state_dict(), "weights").state
    trunk = original.image_encoder.trunk
    for i, block in enumerate(trunk.blocks):
        prefix = f"vision_encoder.backbone.blocks.{i}"
        assert torch.equal(state[f"{prefix}.layer_norm1.weight"], block.norm1.weight)
        assert torch.equal(state[f"{prefix}.layer_norm2.weight"], block.norm2.weight)
        assert torch.equal(state[f"{prefix}.mlp.proj_in.weight"], block.mlp.layers[0].weight)
        assert torch.equal(state[f"{prefix}.mlp.proj_out.weight"], block.mlp.layers[1].weight)
    for kind, embedding in enumerate(original.sam_prompt_encoder.point_embeddings):
        assert torch.equal(state["prompt_encoder.point_embed.weight"][kind], embedding.weight[0])
    assert torch.equal(state["no_memory_embedding"], original.no_mem_embed)
    for i, conv in enumerate(original.image_encoder.neck.convs):
        assert torch.equal(state[f"vision_encoder.neck.convs.{i}.weight"], conv.conv.weight)


def test_prefix_of_distributed_training_is_taken_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    state = original_tiny("sam", monkeypatch).state_dict()
    torch.save({f"module.{k}": v for k, v in state.items()}, tmp_path / "epoch_last.pth")
    model = load_checkpoint(tmp_path / "epoch_last.pth", dtype=torch.bfloat16)
    assert model.dtype == torch.bfloat16
    expected = state["mask_decoder.iou_token.weight"].bfloat16()
    assert torch.equal(model.model.mask_decoder.iou_token.weight, expected)


@pytest.mark.parametrize(
    ("remove", "add", "message"),
    [
        (
            ["mask_decoder.iou_token.weight", "mask_decoder.mask_tokens.weight"],
            {},
            "2 missing .*iou_token.*mask_tokens",
        ),
        ([], {"image_encoder.extra.weight": torch.zeros(1)}, r"1 unexpected \(image_encoder.extra.weight\)"),
        ([], {"mask_decoder.transformer.layers.0.norm5.bias": torch.zeros(1)}, "1 unexpected .*norm5"),
        ([], {"mask_decoder.transformer.layers.7.norm1.bias": torch.zeros(1)}, "1 unexpected .*layers.7.layer_norm1"),
        ([], {"mask_decoder.mask_tokens.weight": torch.zeros(5, 32)}, r"1 of another shape .*\(5, 32\) for \(4, 32\)"),
        (["image_encoder.pos_embed"], {}, "full set of keys .*image_encoder.pos_embed"),
        (["image_encoder.patch_embed.proj.weight"], {}, "expected the key image_encoder.patch_embed"),
    ],
)
def test_strict_both_ways(
    remove: list[str], add: dict[str, Tensor], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = {k: v for k, v in original_tiny("sam", monkeypatch).state_dict().items() if k not in remove}
    torch.save({**state, **add}, tmp_path / "weights.pth")
    with pytest.raises(ModelError, match=message) as caught:
        load_checkpoint(tmp_path / "weights.pth")
    assert "\n" not in str(caught.value)


def test_sam2_variants_and_gaps_are_named(monkeypatch: pytest.MonkeyPatch) -> None:
    state = original_tiny("sam2", monkeypatch).state_dict()
    gap = {k: v for k, v in state.items() if k != "sam_prompt_encoder.point_embeddings.2.weight"}
    with pytest.raises(ModelError, match=r"1 missing \(prompt_encoder.point_embed.2.weight\)"):
        convert(gap, "weights")
    monkeypatch.delitem(tables.SAM2_SIZES, (8, 5))
    with pytest.raises(ModelError, match=r"expected Hiera of width x blocks .* got 8 x 5"):
        convert(state, "weights")


def test_no_two_rows_match_the_same_key(monkeypatch: pytest.MonkeyPatch) -> None:
    import re

    for family, rules in (("sam", tables.SAM_RULES), ("sam2", tables.SAM2_RULES)):
        for key in original_tiny(family, monkeypatch).state_dict():
            assert sum(re.fullmatch(pattern, key) is not None for pattern, _ in rules) <= 1, key


class Evil:
    """An object whose unpickling would run code."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("code ran",)


@pytest.mark.parametrize("content", [Evil(), {"model": 3}, [1, 2], {}, {"weights": torch.zeros(2), "note": "text"}])
def test_files_of_other_things(content: object, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    torch.save(content, tmp_path / "weights.pt")
    with pytest.raises(ModelError, match=r"expected (a PyTorch file|a state dict|weights alone)"):
        load_checkpoint(tmp_path / "weights.pt")
    assert "code ran" not in capsys.readouterr().out


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(content=st.binary(max_size=200))
def test_foreign_bytes(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "weights.pt").write_bytes(content)
    with pytest.raises(ModelError) as caught:
        load_checkpoint(tmp_path / "weights.pt")
    assert "\n" not in str(caught.value)


def test_missing_and_truncated_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ModelError, match=r"got .*No such file"):
        load_checkpoint(tmp_path / "absent.pth")
    torch.save(original_tiny("sam", monkeypatch).state_dict(), tmp_path / "weights.pth")
    content = (tmp_path / "weights.pth").read_bytes()
    (tmp_path / "half.pth").write_bytes(content[: len(content) // 2])
    with pytest.raises(ModelError, match="expected a PyTorch file"):
        load_checkpoint(tmp_path / "half.pth")


@pytest.mark.slow
@pytest.mark.timeout(1800)
@torch.no_grad()
@pytest.mark.parametrize("family", ["sam", "sam2"])
def test_full_size_files(family: str, tmp_path: Path) -> None:
    """ViT-B and Hiera-tiny through a file on disk to masks.

    The encoder is transformers', configured as the authors' code; the decoder is written out from the papers.
    """
    config, sam2 = SamConfig() if family == "sam" else hiera_config("tiny"), family == "sam2"
    original = OriginalSam2(config) if sam2 else OriginalSam(config)
    randomise(original, 11, std=0.03)
    for part in (
        (original.sam_mask_decoder, original.sam_prompt_encoder)
        if sam2
        else (
            original.mask_decoder,
            original.prompt_encoder,
        )
    ):
        randomise(part, 13, std=0.1)  # logits that say something
    torch.save({"model": original.state_dict()} if sam2 else original.state_dict(), tmp_path / "weights.pt")
    model = load_checkpoint(tmp_path / "weights.pt")
    pixels = torch.randn(1, 3, 1024, 1024, generator=torch.Generator().manual_seed(12))
    embedding = model.encode(pixels)
    with torch.device("meta"):
        vision = (Sam2Model if sam2 else SamModel)(config).vision_encoder
    prefix = "vision_encoder."
    state = {k.removeprefix(prefix): v for k, v in model.model.state_dict().items() if k.startswith(prefix)}
    vision.load_state_dict(state, assign=True)
    decoder = original.sam_mask_decoder if sam2 else original.mask_decoder
    encoder = original.sam_prompt_encoder if sam2 else original.prompt_encoder
    if sam2:
        stride4, stride8, stride16 = vision.eval()(pixels).fpn_hidden_states
        latent, skips = (
            stride16 + original.no_mem_embed.view(1, -1, 1, 1),
            (decoder.conv_s0(stride4), decoder.conv_s1(stride8)),
        )
    else:
        latent, skips = vision.eval()(pixels).last_hidden_state, ()
    points, labels = torch.tensor([[500.0, 400.0], [20.5, 900.0]]), torch.tensor([1, 0])
    sparse = tokens_of(encoder, points, labels, None, sam2)[None]
    dense = encoder.no_mask_embed.weight.view(1, -1, 1, 1)
    expected, expected_iou = decoder(latent, encoder.grid(64), sparse, dense, skips)
    output = model.decode(embedding, PromptTensors(points[None, None], labels[None, None]), multimask=True)
    logits, want = output.low_res_logits[0], expected[:, 1:]
    assert want.std() > 0.05
    torch.testing.assert_close(logits, want, atol=1e-4, rtol=0)
    torch.testing.assert_close(output.iou[0], expected_iou[:, 1:], atol=1e-5, rtol=0)
    both, either = ((logits > 0) & (want > 0)).sum(), ((logits > 0) | (want > 0)).sum()
    assert both / either >= 0.9999


@pytest.mark.parametrize("size", HIERA)
def test_sam2_for_clips_has_the_image_models_sizes(size: str) -> None:
    """The memory's own keys are in tests of the video room."""
    config = hiera_config(size)
    with torch.device("meta"):
        image_keys = {k: v for k, v in OriginalSam2(config).state_dict().items() if not MEMORY_KEYS.match(k)}
        converted, state = convert_video(image_keys, "file")
        expected = transformers.Sam2VideoModel(converted).state_dict()
    assert sizes(converted.vision_config.to_dict()) == sizes(config.vision_config.to_dict())
    assert not converted.enable_occlusion_spatial_embedding
    prefixes = (
        "vision_encoder.",
        "mask_decoder.",
        "prompt_encoder.point",
        "prompt_encoder.mask",
        "no_memory_embedding",
    )
    own = {k: v.shape for k, v in expected.items() if k.startswith(prefixes)}
    assert {k: v.shape for k, v in state.items() if k.startswith(prefixes)} == own
