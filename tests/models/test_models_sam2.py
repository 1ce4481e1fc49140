"""SAM 2: squash-resize equals the formula, latents, skips and masks equal `Sam2Model`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from models_tiny import sam2_tiny
from PIL import Image
from transformers import Sam2Config, Sam2Model

from glesam.models.base import Embedding, PromptTensors
from glesam.models.sam.sam2 import Sam2Promptable


@pytest.fixture(scope="module")
def model() -> Sam2Promptable:
    return Sam2Promptable(sam2_tiny())


def random_prompts(batch: int, count: int, points: int) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(1)
    coords = torch.rand(batch, count, points, 2, generator=generator) * 64
    labels = torch.randint(0, 2, (batch, count, points), generator=generator)
    corners = torch.rand(batch, count, 2, 2, generator=generator).sort(dim=2).values * 63
    return coords, labels, corners.flatten(2), torch.randn(batch, count, 16, 16, generator=generator) * 3


def triangle_weights(source: int, target: int) -> np.ndarray:
    """`(target, source)`: bilinear with antialias, from its definition."""
    scale = source / target
    radius = max(scale, 1.0)
    centres = (np.arange(target) + 0.5) * scale
    distance = np.abs(np.arange(source)[None] + 0.5 - centres[:, None])
    weights = np.clip(1 - distance / radius, 0, None)
    return weights / weights.sum(1, keepdims=True)


def by_formula(image: np.ndarray, side: int) -> np.ndarray:
    rows, columns = triangle_weights(image.shape[0], side), triangle_weights(image.shape[1], side)
    resized = np.einsum("ih,hwc,jw->cij", rows, image / 255, columns, optimize=True)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    return (resized - mean[:, None, None]) / std[:, None, None]


def photos() -> list[np.ndarray]:
    coffee, cat = skimage.data.coffee(), skimage.data.cat()
    return [skimage.data.astronaut(), coffee, cat[:, :41], coffee[:29], coffee[:50, :40], cat[::-1, ::-1][:1, :1]]


@pytest.mark.parametrize("index", range(len(photos())))
def test_preprocess_equals_the_formula(model: Sam2Promptable, index: int) -> None:
    image = photos()[index]
    pixels, geometry = model.preprocess(image)
    assert np.abs(pixels[0].numpy() - by_formula(image, 64)).max() < 2e-5
    assert (geometry.original_size, geometry.input_size) == (image.shape[:2], (64, 64))


def test_preprocess_at_full_size_equals_pillow_on_floats() -> None:
    with torch.device("meta"):
        model = Sam2Promptable(Sam2Model(Sam2Config()))
    image = np.repeat(np.repeat(skimage.data.coffee(), 3, axis=0), 3, axis=1)[:1100, :1777]
    pixels, _ = model.preprocess(image)
    for channel, (mean, std) in enumerate(((0.485, 0.229), (0.456, 0.224), (0.406, 0.225))):
        plane = Image.fromarray((image[..., channel] / 255).astype(np.float32))
        expected = (np.asarray(plane.resize((1024, 1024), Image.Resampling.BILINEAR)) - mean) / std
        assert np.abs(pixels[0, channel].numpy() - expected).max() < 2e-5


def test_coordinates_round_trip(model: Sam2Promptable) -> None:
    _, geometry = model.preprocess(skimage.data.coffee())
    points = torch.tensor([[0.0, 0.0], [599.0, 399.0], [17.3, 250.9]], dtype=torch.float64)
    assert torch.allclose(geometry.to_original(geometry.to_input(points)), points, atol=1e-9)
    assert torch.allclose(geometry.to_input(points[1]), torch.tensor([599 * 64 / 600, 399 * 64 / 400]).double())


@torch.no_grad()
def test_latent_and_skips_equal_the_reference(model: Sam2Promptable) -> None:
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    embedding = model.encode(pixels)
    stride4, stride8, stride16 = model.model.get_image_embeddings(pixels)
    assert [tuple(m.shape) for m in (embedding.latent, *embedding.skips)] == [
        (2, 32, 4, 4),
        (2, 4, 16, 16),
        (2, 8, 8, 8),
    ]
    assert torch.equal(embedding.latent, stride16)
    assert torch.equal(embedding.skips[0], stride4)
    assert torch.equal(embedding.skips[1], stride8)


@torch.no_grad()
@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kind", ["points", "boxes", "both", "padded"])
def test_masks_equal_sam2_model(model: Sam2Promptable, kind: str, multimask: bool) -> None:
    coords, labels, boxes, _ = random_prompts(2, 3, 4)
    if kind == "padded":
        labels[0, 1, 1:] = labels[1, 2, 3:] = -1
    given = {
        "input_points": None if kind == "boxes" else coords,
        "input_labels": None if kind == "boxes" else labels,
        "input_boxes": boxes if kind in ("boxes", "both") else None,
    }
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3))
    expected = model.model(pixel_values=pixels, multimask_output=multimask, **given)
    prompts = PromptTensors(given["input_points"], given["input_labels"], given["input_boxes"])
    output = model.decode(model.encode(pixels), prompts, multimask)
    assert output.low_res_logits.std() > 0.05
    assert output.low_res_logits.shape == (2, 3, 3 if multimask else 1, 16, 16)
    assert torch.equal(output.low_res_logits, expected.pred_masks)
    assert torch.equal(output.iou, expected.iou_scores)
    assert output.object_score is not None
    assert torch.equal(output.object_score, expected.object_score_logits[..., 0])
    assert output.object_score.std() > 0


@torch.no_grad()
def test_mask_input_for_each_object(model: Sam2Promptable) -> None:
    coords, labels, _, masks = random_prompts(2, 3, 2)
    embedding = model.encode(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(4)))
    output = model.decode(embedding, PromptTensors(coords, labels, mask_input=masks), True)
    for b in range(2):
        for n in range(3):
            expected = model.model(
                image_embeddings=[m[b : b + 1] for m in (*embedding.skips, embedding.latent)],
                input_points=coords[b : b + 1, n : n + 1],
                input_labels=labels[b : b + 1, n : n + 1],
                input_masks=masks[b : b + 1, n : n + 1],
            )
            torch.testing.assert_close(output.low_res_logits[b, n], expected.pred_masks[0, 0], atol=1e-4, rtol=1e-4)
            torch.testing.assert_close(output.iou[b, n], expected.iou_scores[0, 0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_one_embedding_serves_all(model: Sam2Promptable) -> None:
    coords, labels, boxes, masks = random_prompts(3, 2, 2)
    embedding = model.encode(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(5)))
    repeated = Embedding(embedding.latent.repeat(3, 1, 1, 1), tuple(s.repeat(3, 1, 1, 1) for s in embedding.skips))
    for prompts in (PromptTensors(coords, labels), PromptTensors(coords, labels, boxes, masks)):
        shared = model.decode(embedding, prompts)
        assert torch.equal(shared.low_res_logits, model.decode(repeated, prompts).low_res_logits)


@torch.no_grad()
def test_bfloat16_decodes_every_kind_of_prompt(model: Sam2Promptable, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    half = Sam2Promptable.from_pretrained(tmp_path, dtype=torch.bfloat16)
    coords, labels, boxes, masks = random_prompts(1, 2, 2)
    exact = model.model.shared_image_embedding.positional_embedding
    assert torch.equal(half.model.prompt_encoder.shared_embedding.positional_embedding, exact)
    embedding = model.encode(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(6)))
    assert half.encode(torch.randn(1, 3, 64, 64)).latent.dtype == torch.bfloat16
    for prompts in (PromptTensors(coords, labels, boxes), PromptTensors(mask_input=masks)):
        output, expected = (m.decode(embedding, prompts, True) for m in (half, model))
        assert output.low_res_logits.dtype == torch.float32
        error = (output.low_res_logits - expected.low_res_logits).abs().mean()
        assert error < 0.05 * expected.low_res_logits.abs().mean()


@pytest.mark.slow
@torch.no_grad()
def test_full_hiera_tiny() -> None:
    torch.manual_seed(0)
    reference = Sam2Model(Sam2Config()).eval()
    model = Sam2Promptable(reference)
    pixels, geometry = model.preprocess(skimage.data.coffee())
    coords = geometry.to_input(torch.tensor([[[[300.0, 120.0], [30.0, 350.0]]]]))
    labels = torch.tensor([[[1, 0]]])
    expected = reference(pixel_values=pixels, input_points=coords, input_labels=labels)
    embedding = model.encode(pixels)
    output = model.decode(embedding, PromptTensors(coords, labels), True)
    assert embedding.latent.shape == (1, 256, 64, 64)
    assert [tuple(s.shape) for s in embedding.skips] == [(1, 32, 256, 256), (1, 64, 128, 128)]
    assert torch.equal(output.low_res_logits, expected.pred_masks)
    assert geometry.restore(output.low_res_logits[0]).shape == (1, 3, 400, 600)
