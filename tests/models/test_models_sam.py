"""SAM: preprocessing equals transformers' Pillow processor, masks equal `SamModel`, both bit for bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import skimage.data
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from models_tiny import sam_tiny
from transformers import SamConfig, SamModel
from transformers.models.sam.image_processing_pil_sam import SamImageProcessorPil

from glesam.errors import ImageError, PromptError
from glesam.models.base import Embedding, PromptTensors
from glesam.models.sam.sam import SamPromptable


@pytest.fixture(scope="module")
def model() -> SamPromptable:
    return SamPromptable(sam_tiny())


@pytest.fixture(scope="module")
def full_size() -> SamPromptable:
    """A model of 1024-pixel input that costs nothing: only `preprocess` is asked."""
    with torch.device("meta"):
        return SamPromptable(SamModel(SamConfig(vision_config={"num_hidden_layers": 1})))


def random_prompts(batch: int, count: int, points: int, seed: int = 1) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(seed)
    coords = torch.rand(batch, count, points, 2, generator=generator) * 64
    labels = torch.randint(0, 2, (batch, count, points), generator=generator)
    corners = torch.rand(batch, count, 2, 2, generator=generator).sort(dim=2).values * 63
    masks = torch.randn(batch, count, 16, 16, generator=generator) * 3
    return coords, labels, corners.flatten(2), masks


def photos() -> list[np.ndarray]:
    astronaut, coffee, cat = skimage.data.astronaut(), skimage.data.coffee(), skimage.data.cat()
    enlarged = np.repeat(np.repeat(coffee, 3, axis=0), 3, axis=1)
    return [astronaut, coffee, cat, enlarged, cat[:37], coffee[:, :53], astronaut[:333, :7], astronaut[:1, :1]]


@pytest.mark.parametrize("index", range(len(photos())))
def test_preprocess_equals_the_pillow_processor(full_size: SamPromptable, index: int) -> None:
    image = photos()[index]
    expected = SamImageProcessorPil()(image, input_data_format="channels_last", return_tensors="pt")
    pixels, geometry = full_size.preprocess(image)
    assert torch.equal(pixels, expected["pixel_values"])
    assert geometry.original_size == tuple(expected["original_sizes"][0].tolist())
    assert geometry.input_size == tuple(expected["reshaped_input_sizes"][0].tolist())


def test_preprocess_other_input_size(model: SamPromptable) -> None:
    sizes = {"size": {"longest_edge": 64}, "pad_size": {"height": 64, "width": 64}}
    expected = SamImageProcessorPil(**sizes)(skimage.data.coffee(), return_tensors="pt")["pixel_values"]
    assert torch.equal(model.preprocess(skimage.data.coffee())[0], expected)


def test_preprocess_keeps_one_pixel_of_a_hair_thin_image(model: SamPromptable) -> None:
    pixels, geometry = model.preprocess(np.full((1, 500, 3), 200, np.uint8))
    assert geometry.input_size == (1, 64)
    assert pixels.shape == (1, 3, 64, 64)


@settings(max_examples=50, deadline=None)
@given(height=st.integers(1, 300), width=st.integers(1, 300), x=st.floats(0, 1), y=st.floats(0, 1))
@example(height=169, width=249, x=0.0, y=1.0)
def test_coordinates_round_trip(model: SamPromptable, height: int, width: int, x: float, y: float) -> None:
    image = np.zeros((height, width, 3), np.uint8)
    geometry = model.preprocess(image)[1]
    point = torch.tensor([[x * width, y * height]], dtype=torch.float64)
    inside = geometry.to_input(point)
    assert torch.allclose(geometry.to_original(inside), point, atol=1e-9 * max(height, width))
    assert (inside <= torch.tensor(geometry.input_size[::-1], dtype=torch.float64) + 1e-9).all()


@pytest.mark.parametrize(
    "image", [np.zeros((4, 4), np.uint8), np.zeros((4, 4, 4), np.uint8), np.zeros((4, 4, 3)), np.zeros((0, 4, 3), "u1")]
)
def test_preprocess_refuses_other_arrays(model: SamPromptable, image: np.ndarray) -> None:
    with pytest.raises(ImageError, match=r"expected an \(H, W, 3\) uint8"):
        model.preprocess(image)


@torch.no_grad()
@pytest.mark.parametrize("multimask", [False, True])
@pytest.mark.parametrize("kind", ["points", "boxes", "both", "padded"])
def test_masks_equal_sam_model(model: SamPromptable, kind: str, multimask: bool) -> None:
    coords, labels, boxes, _ = random_prompts(2, 3, 4)
    if kind == "padded":
        labels[0, 1, 1:] = labels[1, 2, 3:] = -1
    given = {
        "input_points": None if kind == "boxes" else coords,
        "input_labels": None if kind == "boxes" else labels,
        "input_boxes": boxes if kind in ("boxes", "both") else None,
    }
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    expected = model.model(pixel_values=pixels, multimask_output=multimask, **given)
    prompts = PromptTensors(given["input_points"], given["input_labels"], given["input_boxes"])
    output = model.decode(model.encode(pixels), prompts, multimask)
    assert output.low_res_logits.std() > 0.05
    assert output.low_res_logits.shape == (2, 3, 3 if multimask else 1, 16, 16)
    assert torch.equal(output.low_res_logits, expected.pred_masks)
    assert torch.equal(output.iou, expected.iou_scores)


@torch.no_grad()
@pytest.mark.parametrize("with_points", [False, True])
def test_mask_input_for_each_object(model: SamPromptable, with_points: bool) -> None:
    coords, labels, _, masks = random_prompts(2, 3, 2)
    embedding = model.encode(torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(3)))
    given = (coords, labels) if with_points else (None, None)
    output = model.decode(embedding, PromptTensors(*given, mask_input=masks), True)
    for b in range(2):
        for n in range(3):
            expected = model.model(
                image_embeddings=embedding.latent[b : b + 1],
                input_points=coords[b : b + 1, n : n + 1] if with_points else None,
                input_labels=labels[b : b + 1, n : n + 1] if with_points else None,
                input_masks=masks[b : b + 1, n : n + 1],
            )
            torch.testing.assert_close(output.low_res_logits[b, n], expected.pred_masks[0, 0], atol=1e-5, rtol=1e-5)
            torch.testing.assert_close(output.iou[b, n], expected.iou_scores[0, 0], atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_one_embedding_serves_all(model: SamPromptable) -> None:
    coords, labels, boxes, masks = random_prompts(3, 2, 2)
    embedding = model.encode(torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(4)))
    repeated = Embedding(embedding.latent.repeat(3, 1, 1, 1))
    for prompts in (PromptTensors(coords, labels), PromptTensors(coords, labels, boxes, masks)):
        shared = model.decode(embedding, prompts)
        assert torch.equal(shared.low_res_logits, model.decode(repeated, prompts).low_res_logits)


@torch.no_grad()
def test_encode_is_the_base_model_bit_for_bit(model: SamPromptable) -> None:
    pixels, _ = model.preprocess(skimage.data.cat())
    embedding = model.encode(pixels)
    assert embedding.skips == ()
    assert torch.equal(embedding.latent, model.model.get_image_embeddings(pixels))


def test_gradients_reach_decoder_and_latent(model: SamPromptable) -> None:
    coords, labels, boxes, masks = random_prompts(1, 2, 2)
    latent = torch.randn(1, 32, 4, 4, requires_grad=True)
    model.decode(Embedding(latent), PromptTensors(coords, labels, boxes, masks)).low_res_logits.sum().backward()
    assert latent.grad is not None
    assert latent.grad.abs().sum() > 0
    assert model.model.mask_decoder.mask_tokens.weight.grad.abs().sum() > 0
    model.zero_grad(set_to_none=True)


@torch.no_grad()
def test_bfloat16_keeps_points_exact(model: SamPromptable, tmp_path: Path) -> None:
    model.save_pretrained(tmp_path)
    half = SamPromptable.from_pretrained(tmp_path, dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    coords, labels, boxes, masks = random_prompts(1, 3, 2)
    for prompts in (PromptTensors(coords, labels, boxes), PromptTensors(coords, labels, mask_input=masks)):
        latent = torch.randn(1, 32, 4, 4, generator=torch.Generator().manual_seed(5))
        output, expected = (m.decode(Embedding(latent), prompts) for m in (half, model))
        assert output.low_res_logits.dtype == output.iou.dtype == torch.float32
        torch.testing.assert_close(output.low_res_logits, expected.low_res_logits, atol=0.2, rtol=0.05)
    exact = model.model.shared_image_embedding.positional_embedding
    assert torch.equal(half.model.prompt_encoder.shared_embedding.positional_embedding, exact)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"point_labels": None}, "expected point_labels"),
        ({"point_labels": torch.ones(2, 3, 5, dtype=torch.long)}, "expected point_labels of shape"),
        ({"point_coords": torch.zeros(2, 3, 2)}, "expected point_coords of shape"),
        ({"boxes": torch.zeros(2, 2, 4)}, "expected boxes of shape"),
        ({"mask_input": torch.zeros(2, 3, 8, 8)}, "expected mask_input of shape"),
    ],
)
def test_prompts_that_do_not_fit(model: SamPromptable, change: dict[str, torch.Tensor], message: str) -> None:
    coords, labels, boxes, masks = random_prompts(2, 3, 2)
    fields = {"point_coords": coords, "point_labels": labels, "boxes": boxes, "mask_input": masks, **change}
    with pytest.raises(PromptError, match=message):
        model.decode(Embedding(torch.zeros(2, 32, 4, 4)), PromptTensors(**fields))


def test_sizes_that_do_not_fit(model: SamPromptable) -> None:
    coords, labels, _, _ = random_prompts(2, 3, 2)
    with pytest.raises(PromptError, match="expected an embedding of 1 or 2 images, got 3"):
        model.decode(Embedding(torch.zeros(3, 32, 4, 4)), PromptTensors(coords, labels))
    with pytest.raises(ImageError, match=r"expected pixel values \(B, 3, 64, 64\)"):
        model.encode(torch.zeros(1, 3, 32, 64))


@pytest.mark.slow
@torch.no_grad()
def test_full_vit_b(tmp_path: Path) -> None:
    torch.manual_seed(0)
    config = SamConfig(vision_config={"initializer_range": 0.02})
    reference = SamModel(config).eval()
    model = SamPromptable(reference)
    pixels, geometry = model.preprocess(skimage.data.astronaut())
    coords = geometry.to_input(torch.tensor([[[[200.0, 120.0], [30.0, 400.0]]]]))
    labels = torch.tensor([[[1, 0]]])
    expected = reference(pixel_values=pixels, input_points=coords, input_labels=labels)
    output = model.decode(model.encode(pixels), PromptTensors(coords, labels), True)
    assert torch.equal(output.low_res_logits, expected.pred_masks)
    assert geometry.restore(output.low_res_logits[0]).shape == (1, 3, 512, 512)
