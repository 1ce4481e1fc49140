"""Text models in transformers' layouts, tiny and random, against what transformers' own forward gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from safetensors.torch import load_file, save_file
from tiny_clip import TEXT, VISION, WORDS, save_tokenizer, tiny

from glesam.errors import ModelError
from glesam.text.clip import PROMPT, load_text_model


@pytest.fixture(params=["clip", "siglip", "clipseg"])
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Any, Path]:
    model = tiny(request.param)
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    return request.param, model, tmp_path


def image() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)


def test_maps_have_the_grid_of_the_patches_and_do_not_depend_on_other_words(saved: tuple[str, Any, Path]) -> None:
    family, _, folder = saved
    source = load_text_model(folder)
    dog, cup = source.maps(image(), ["dog", "cup"])
    assert dog.values.shape == ((352, 352) if family == "clipseg" else (4, 4))
    assert (dog.values.min(), dog.values.max()) == (0, 1)
    assert 0 <= dog.presence <= 1
    cup_first, *_, dog_last = source.maps(image(), ["cup", "red", "dog"])
    np.testing.assert_allclose(dog_last.values, dog.values, atol=1e-5)
    assert cup_first.presence == pytest.approx(cup.presence, abs=1e-6)


@torch.inference_mode()
def test_clip_is_the_cosine_of_projected_patches_and_text(tmp_path: Path) -> None:
    model = tiny("clip")
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    source = load_text_model(tmp_path)
    mean, deviation = source._mean.numpy().ravel(), source._deviation.numpy().ravel()
    pixels = torch.from_numpy(((image() / 255 - mean) / deviation).transpose(2, 0, 1)[None]).float()
    states = model.vision_model(pixels).last_hidden_state[0, 1:]
    patches = F.layer_norm(
        states, (16,), model.vision_model.post_layernorm.weight, model.vision_model.post_layernorm.bias
    ) @ model.visual_projection.weight.T  # fmt: skip
    ids = torch.tensor([[1, *(4 + WORDS.index(w) for w in PROMPT.format("dog").replace(".", " .").split()), 2]])
    text = model.text_model(input_ids=ids).pooler_output @ model.text_projection.weight.T
    cosine = F.cosine_similarity(patches, text).reshape(4, 4).numpy()
    expected = (cosine - cosine.min()) / (cosine.max() - cosine.min())
    np.testing.assert_allclose(source.maps(image(), ["dog"])[0].values, expected, atol=1e-4)


def test_a_siglip_image_of_one_patch_is_its_own_patch(tmp_path: Path) -> None:
    torch.manual_seed(0)
    vision = VISION | {"patch_size": 32}
    text = TEXT | {"max_position_embeddings": 16}
    model = transformers.SiglipModel(transformers.SiglipConfig(text_config=text, vision_config=vision)).eval()
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    source = load_text_model(tmp_path)
    with torch.inference_mode():
        patches, whole = source._patches(source._pixels(image()))
    np.testing.assert_allclose(patches[:, 0, 0], whole, atol=1e-5)


@pytest.mark.parametrize(("content", "said"), [('{"model_type": "bert"}', "'bert'"), ("{", "expected JSON in")])
def test_other_folders_are_refused_in_one_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ModelError, match=said) as caught:
        load_text_model(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_folder_without_weights_or_that_is_not_there_is_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "clip"}')
    with pytest.raises(ModelError, match="expected weights and tokenizer"):
        load_text_model(tmp_path)
    with pytest.raises(ModelError, match="openai/clip-vit-base-patch16"):
        load_text_model(tmp_path / "none")


def test_keys_that_are_missing_are_told(saved: tuple[str, Any, Path]) -> None:
    _, _, folder = saved
    path = folder / "model.safetensors"
    weights = load_file(path)
    name = next(key for key in weights if "vision_model.post_layernorm" in key)
    del weights[name]
    save_file(weights, path, metadata={"format": "pt"})
    with pytest.raises(ModelError, match=f"1 that do not fit, first .*{name.rpartition('.')[2]}"):
        load_text_model(folder)
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(ModelError, match="get all its files"):
        load_text_model(folder)


def test_large_images_are_averaged_as_they_shrink(tmp_path: Path) -> None:
    tiny("clip").save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    stripes = np.zeros((640, 640, 3), np.uint8)
    stripes[:, ::2] = 255  # two pixels in each of 20: all of one colour where others are skipped
    source = load_text_model(tmp_path)
    grey = (source._pixels(stripes) * source._deviation + source._mean)[..., 4:-4]
    assert (grey - 0.5).abs().max() < 0.05


@torch.inference_mode()
@pytest.mark.parametrize(
    ("size", "side"), [({"height": 48, "width": 48}, 48), ({"shortest_edge": 40}, 40), (64, 64), (None, 352)]
)
def test_clipseg_sees_images_at_the_size_of_its_own_preprocessing(tmp_path: Path, size: Any, side: int) -> None:
    """Released folders name 224 in `config.json`, the size of the CLIP inside, and are run at 352."""
    model = tiny("clipseg")
    model.save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    if size is not None:
        (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    square, mean, deviation = {"height": side, "width": side}, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]
    processor = getattr(transformers, "ViTImageProcessorPil", transformers.ViTImageProcessor)(
        size=square, resample=3, image_mean=mean, image_std=deviation
    )
    given = np.random.default_rng(1).integers(0, 255, (60, 80, 3), np.uint8)
    pixels = processor(given, return_tensors="pt")["pixel_values"]
    source = load_text_model(tmp_path)
    np.testing.assert_allclose(source._pixels(given), pixels, atol=1e-4)
    logits = model(pixel_values=pixels, **source._tokens(PROMPT.format("dog"))).logits
    found = source.maps(given, ["dog"])[0]
    assert found.values.shape == (side, side)
    assert found.presence == pytest.approx(float(torch.sigmoid(logits).max()), abs=1e-5)


@pytest.mark.parametrize("size", [{"height": 352, "width": 224}, 0, "352", [352], 10**6, {"longest_edge": 352}, True])
def test_sizes_of_clipseg_that_are_no_square_are_refused(tmp_path: Path, size: Any) -> None:
    tiny("clipseg").save_pretrained(tmp_path)
    save_tokenizer(tmp_path)
    (tmp_path / "preprocessor_config.json").write_text(json.dumps({"size": size}))
    with pytest.raises(ModelError, match="expected one side of 1 to 2048 pixels as size"):
        load_text_model(tmp_path)
