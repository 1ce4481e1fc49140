"""Exported graphs against the torch model, called the way its own interface calls it."""

from pathlib import Path

import pytest
import torch
from diffusers import UNet2DConditionModel

from glesam.enhance.gains import GainGate
from glesam.enhance.gate import DegradationGate
from glesam.enhance.gle import LatentEnhancer
from glesam.enhance.pipeline import LevelRule, Restoration
from glesam.enhance.skips import SkipAdapter
from glesam.errors import ConfigError, ModelError
from glesam.export.folder import export_enhancer
from glesam.export.graphs import graphs
from glesam.export.onnx import write_onnx
from glesam.export.openvino import write_openvino
from glesam.models.base import FINE, Embedding, PromptTensors
from glesam.models.compact.model import CompactConfig, CompactModel
from glesam.models.exported.sessions import GraphSession, open_session

pytest.importorskip("onnx")

FORMATS = {"onnx": ("onnxruntime", ".onnx", write_onnx), "openvino": ("openvino", ".xml", write_openvino)}


@pytest.fixture(params=FORMATS)
def opened(request: pytest.FixtureRequest, tmp_path: Path):
    """Write a graph in one format and open it."""
    package, suffix, writer = FORMATS[request.param]
    pytest.importorskip(package)

    def make(graph) -> GraphSession:
        writer(graph, tmp_path / f"graph{suffix}")
        return open_session(tmp_path / f"graph{suffix}", request.param)

    return make


def maps(count: int, side: int = 8, seed: int = 0) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    sizes = ((256, side), (32, 4 * side), (64, 2 * side))
    return tuple(torch.randn(count, c, s, s, generator=generator) for c, s in sizes)


@pytest.mark.parametrize(
    ("opened", "prompt_maps"), [("onnx", False), ("onnx", True), ("openvino", True)], indirect=["opened"]
)
def test_decoder_equals_decode_for_any_number_of_prompts_points_and_images(small_models, opened, prompt_maps):
    model = small_models[prompt_maps]
    session = opened(graphs(model)["decoder"])
    generator = torch.Generator().manual_seed(1)
    for images, prompts, points, boxed, masked in [
        (1, 1, 1, False, False),
        (1, 5, 3, False, True),
        (1, 3, 0, True, False),
        (3, 3, 2, True, True),
        (1, 2, 12, False, False),
    ]:
        latent, skip4, skip8 = maps(images)
        coords = torch.rand(prompts, points, 2, generator=generator) * 128
        labels = torch.randint(-1, 2, (prompts, points), generator=generator)
        corners = torch.tensor([20.0, 30.0, 90.0, 80.0]) + torch.rand(prompts, 4, generator=generator) * 10
        masks = torch.randn(prompts, 32, 32, generator=generator)
        # Our interface: B images with one prompt each, or one image with M prompts.
        shape = (images, 1) if images > 1 else (1, prompts)
        tensors = PromptTensors(
            coords.view(*shape, points, 2) if points else None,
            labels.view(*shape, points) if points else None,
            corners.view(*shape, 4) if boxed else None,
            masks.view(*shape, 32, 32) if masked else None,
        )
        with torch.no_grad():
            embedding = Embedding(latent, (skip4, skip8))
            single, three = (model.decode(embedding, tensors, multi) for multi in (False, True))
        if boxed:
            coords = torch.cat([corners.view(prompts, 2, 2), coords], dim=1)
            labels = torch.cat([torch.tensor([2, 3]).expand(prompts, 2), labels], dim=1)
        logits, iou = session(
            latent=latent,
            skip4=skip4,
            skip8=skip8,
            point_coords=coords,
            point_labels=labels,
            mask_input=masks,
            has_mask=torch.full((prompts,), float(masked)),
        )
        wanted = torch.cat([single.low_res_logits, three.low_res_logits], dim=2).flatten(0, 1)
        torch.testing.assert_close(logits, wanted, atol=1e-4, rtol=1e-4)
        torch.testing.assert_close(iou, torch.cat([single.iou, three.iou], dim=2).flatten(0, 1), atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("opened", ["onnx"], indirect=True)
def test_some_prompts_of_one_call_have_a_mask_input_and_some_have_none(small_models, opened):
    model = small_models[True]
    session = opened(graphs(model)["decoder"])
    latent, skip4, skip8 = maps(1)
    coords, labels = torch.tensor([[[60.0, 50.0]], [[60.0, 50.0]]]), torch.ones(2, 1, dtype=torch.long)
    masks = torch.randn(2, 32, 32, generator=torch.Generator().manual_seed(2)) * 5
    fixed = {"latent": latent, "skip4": skip4, "skip8": skip8, "point_coords": coords, "point_labels": labels}
    both, _ = session(**fixed, mask_input=masks, has_mask=torch.tensor([1.0, 0.0]))
    with torch.no_grad():
        for index, mask in ((0, masks[None, :1]), (1, None)):
            prompts = PromptTensors(coords[None, :1], labels[None, :1], mask_input=mask)
            wanted = model.decode(Embedding(latent, (skip4, skip8)), prompts).low_res_logits[0, 0, 0]
            torch.testing.assert_close(both[index, 0], wanted, atol=1e-4, rtol=1e-4)
    assert (both[0] - both[1]).abs().max() > 1e-2  # the mask input matters at all


def test_encoder_takes_any_batch_and_other_sizes(small_models, opened):
    model = small_models[False]
    session = opened(graphs(model)["encoder"])
    for batch, side in ((1, 128), (3, 128), (1, 64)):
        pixels = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            wanted = model.encode(pixels)
        for ours, theirs in zip(session(pixel_values=pixels), (wanted.latent, *wanted.skips), strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)


def small_enhancer(channels: int = 16) -> LatentEnhancer:
    """A random U-Net of two levels with cross-attention."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        unet = UNet2DConditionModel(
            sample_size=8,
            in_channels=channels,
            out_channels=channels,
            block_out_channels=(32, 64),
            layers_per_block=1,
            down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
            up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
            cross_attention_dim=32,
            attention_head_dim=4,
            norm_num_groups=8,
        ).eval()
    text = torch.randn(1, 7, 32, generator=torch.Generator().manual_seed(5))
    return LatentEnhancer(unet, text, timestep=200, alignment_scale=3.0).eval()


@pytest.mark.parametrize(("runtime", "suffix"), [("onnx", ".onnx"), ("openvino", ".xml")])
def test_enhancer_alone_equals_the_unfolded_unet_for_other_batches_and_sizes(tmp_path, runtime, suffix):
    pytest.importorskip(FORMATS[runtime][0])
    enhancer = small_enhancer()
    error = export_enhancer(enhancer, tmp_path / f"enhancer{suffix}", size=(8, 8))
    assert error < 1e-3
    session = open_session(tmp_path / f"enhancer{suffix}", runtime)
    for batch, side in ((1, 8), (3, 8), (1, 12), (2, 9)):  # 9 is no multiple of the U-Net's stride
        latent = torch.randn(batch, 16, side, side, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            wanted = enhancer(latent)
        assert (wanted - latent).abs().max() > 0.1
        torch.testing.assert_close(session(latent=latent)[0], wanted, atol=1e-3, rtol=1e-3)


def test_enhancer_alone_refuses_another_suffix(tmp_path):
    with pytest.raises(ConfigError, match=r"\.onnx or \.xml"):
        export_enhancer(small_enhancer(), tmp_path / "enhancer.pt")


@pytest.mark.parametrize(("opened", "kind"), [("onnx", "attenuate"), ("openvino", "branch")], indirect=["opened"])
def test_skips_and_gate_equal_torch(small_models, opened, kind):
    adapter = SkipAdapter(kind)
    generator = torch.Generator().manual_seed(4)
    for parameter in adapter.parameters():
        parameter.data = torch.randn(parameter.shape, generator=generator) * 0.1
    gate = DegradationGate()
    parts = graphs(small_models[False], Restoration(gate=gate, skips=adapter.eval()))
    latent, skip4, skip8 = maps(3)
    level = torch.tensor([0.0, 1.5, 3.0])
    with torch.no_grad():
        wanted = adapter(Embedding(latent, (skip4, skip8)), level).skips
    found = opened(parts["skips"])(latent=latent, skip4=skip4, skip8=skip8, level=level)
    for ours, theirs in zip(found, wanted, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(opened(parts["gate"])(latent=latent)[0], gate.levels(latent), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(("opened", "early"), [("onnx", 16), ("openvino", 0)], indirect=["opened"])
def test_a_gate_by_gain_equals_torch_at_any_size(small_models, opened, early):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(6)
        gate = GainGate((256, 32, 64), early).eval()
    session = opened(graphs(small_models[False], Restoration(gate=gate, rules=[LevelRule(image_size=64)]))["gate"])
    for side in (8, 6):
        latent, skip4, skip8 = maps(1, side, seed=side)
        pixels = torch.randn(1, 3, 16 * side - 5, 16 * side, generator=torch.Generator().manual_seed(side))
        extras = {FINE: torch.randn(1, early, 8 * side, 8 * side)} if early else {}
        verdict = gate.verdict(Embedding(latent, (skip4, skip8), extras), pixels)
        inputs = {"early": extras[FINE]} if early else {}
        level, gains = session(latent=latent, skip4=skip4, skip8=skip8, pixel_values=pixels, **inputs)
        assert float(level[0]) == pytest.approx(verdict.level, abs=1e-4)
        assert gains[0].tolist() == pytest.approx(verdict.gains, abs=1e-4)


def test_parts_that_cannot_be_exported_are_named(small_models):
    with pytest.raises(ModelError, match="DegradationGate to export"):
        graphs(small_models[False], Restoration(gate=lambda latent: True))
    with pytest.raises(ModelError, match="torch module"):
        graphs(small_models[False], Restoration(lambda latent: latent))


@pytest.fixture(scope="module")
def fine_model():
    """A small model that looks twice and draws masks at stride 2, with random weights where others start at zero."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        config = CompactConfig("lite0", 128, 1, 1, prompt_maps=True, coarse=True, fine=True)
        model = CompactModel(config).eval().requires_grad_(False)
        zeros = [*model.encoder.coarse.children(), model.prompt_maps.coarse, model.prompt_maps.fine]
        for layer in (*zeros, model.encoder.skip4, model.encoder.skip8, model.fine.pick[-1]):
            torch.nn.init.normal_(layer.weight, std=0.1)
    return model


def test_a_second_look_and_fine_masks_are_exported(fine_model, opened):
    parts = graphs(fine_model)
    encoder = opened(parts["encoder"])
    for rows, columns in ((128, 128), (96, 128), (128, 32)):
        pixels = torch.randn(1, 3, rows, columns, generator=torch.Generator().manual_seed(rows))
        wanted = fine_model.encode(pixels)
        maps_there = (wanted.latent, *wanted.skips, wanted.extras[FINE])
        for ours, theirs in zip(encoder(pixel_values=pixels), maps_there, strict=True):
            torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=1e-3)
    decoder = opened(parts["decoder"])
    coords, labels = torch.tensor([[[20.0, 30.0], [90.0, 28.0]], [[60.0, 20.0], [5.0, 8.0]]]), torch.ones(2, 2).long()
    logits, _, fine = decoder(
        latent=wanted.latent,
        skip4=wanted.skips[0],
        skip8=wanted.skips[1],
        early=wanted.extras[FINE],
        point_coords=coords,
        point_labels=labels,
        mask_input=torch.zeros(2, 32, 8),
        has_mask=torch.zeros(2),
    )
    single = fine_model.decode(wanted, PromptTensors(coords[None], labels[None]))
    torch.testing.assert_close(logits[:, :1], single.low_res_logits[0, ..., :8], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(fine[:, :1], single.fine[0, ..., :16], atol=1e-3, rtol=1e-3)
    assert (fine - torch.nn.functional.interpolate(logits, scale_factor=2, mode="bilinear")).abs().max() > 1e-2
