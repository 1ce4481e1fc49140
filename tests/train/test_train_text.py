"""The text stage from folder to words: what it asks for, what it reads, and that a run can be used."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from tiny_clip import save_tokenizer, tiny

from glesam.data.base import is_kept_aside
from glesam.errors import ConfigError, ModelError
from glesam.text.clip import load_text_model
from glesam.text.sources import load_word_source
from glesam.train.config import TextConfig
from glesam.train.loop import Trainer
from glesam.train.stages.text import TextStage, text_losses


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """A tiny CLIP in `clip`, and twelve images of dogs (left) and cups (right) in `data`."""
    tiny("clip").save_pretrained(tmp_path / "clip")
    save_tokenizer(tmp_path / "clip")
    for part in ("images", "masks"):
        (tmp_path / "data" / part).mkdir(parents=True)
    rng, labels = np.random.default_rng(0), {}
    for index in range(12):
        mask = np.zeros((24, 32), np.uint8)
        mask[6:18, 4:14], mask[6:18, 18:28] = 1, 2
        Image.fromarray(rng.integers(0, 255, (24, 32, 3), np.uint8)).save(tmp_path / "data/images" / f"{index}.png")
        Image.fromarray(mask).save(tmp_path / "data/masks" / f"{index}.png")
        labels[str(index)] = {"1": "dog", "2": "cup"}
    (tmp_path / "data/labels.json").write_text(json.dumps(labels))
    return tmp_path


def _config(world: Path, **options: object) -> TextConfig:
    values = {"text_model": str(world / "clip"), "data": {str(world / "data"): 1.0}, "steps": 2, "batch_size": 2}
    small = {"blocks": 1, "width": 8, "window": 2, "warmup": 1, "sam": "random"}
    return TextConfig.model_validate({**values, **small, **options})


def test_batches_hold_truth_of_the_classes_asked_for_and_leave_out_what_is_kept_aside(world: Path) -> None:
    stage = TextStage(_config(world), load_text_model(world / "clip"))
    assert not any(is_kept_aside(name) for name in stage.sets[0].names(False, 99, 0))
    assert all(is_kept_aside(name) for name in stage.sets[0].names(True, 99, 0))
    item = stage.batches(0)[1]
    assert item["image"].shape == (2, 12, 4, 4)
    assert item["guide0"].shape == (2, 16, 4, 4)
    dog = stage.texts[0][stage.sets[0].words.index("dog")]
    place = int((item["texts"] - dog).abs().sum(dim=1).argmin())
    expected = np.zeros((16, 16), bool)
    expected[4:12, 2:7] = True  # the mask in the text model's square, which has half the columns and 2/3 of the rows
    np.testing.assert_array_equal(item["truth"][0, place].numpy() > 0, expected)


def test_a_run_is_saved_with_its_text_model_and_finds_words(world: Path) -> None:
    config = _config(world)
    Trainer(TextStage(config, load_text_model(world / "clip")), world / "run").run()
    source = load_word_source(world / "run/model")
    image = np.random.default_rng(1).integers(0, 255, (24, 32, 3), np.uint8)
    dog, cup = source.maps(image, ["dog", "cup"])
    assert dog.values.shape == (16, 16)
    assert dog.presence == pytest.approx(float(dog.values.max()))
    again = source.maps(image, ["cup", "dog"])
    np.testing.assert_allclose(again[1].values, dog.values, atol=1e-5)
    np.testing.assert_allclose(again[0].values, cup.values, atol=1e-5)


@pytest.mark.parametrize("changed", ["nothing", "labels", "model"])
def test_a_run_is_resumed_on_its_images_and_its_text_model_only(world: Path, changed: str) -> None:
    config = _config(world)
    Trainer(TextStage(config, load_text_model(world / "clip")), world / "run").run()
    model = load_text_model(world / "clip")
    if changed == "labels":
        text = (world / "data/labels.json").read_text()
        (world / "data/labels.json").write_text(text.replace("cup", "mug"))
    elif changed == "model":
        with torch.no_grad():
            next(model.module.parameters()).view(-1)[0] += 1e-3
    said = {"labels": "images and masks that the run in .* got others in data;", "model": "expected the frozen weights"}
    if changed in said:
        with pytest.raises(ConfigError, match=said[changed]):
            Trainer(TextStage(config, model), world / "run", resume=True)
    else:
        assert Trainer(TextStage(config, model), world / "run", resume=True).step == 2


def test_losses_are_the_formulas() -> None:
    torch.manual_seed(0)
    logits, truth = torch.randn(2, 3, 4, 4), torch.zeros(2, 3, 4, 4)
    truth[0, 1, :2] = 1
    found = text_losses(logits, [logits[:, :, ::2, ::2]], truth, aside=0)
    p = torch.sigmoid(logits)
    bce = -(truth * p.log() + (1 - truth) * (1 - p).log()).mean()
    dice = 1 - (2 * p[0, 1, :2].sum() + 1) / (p[0, 1].sum() + 8 + 1)
    torch.testing.assert_close(found["loss"], bce + dice)


def test_wrong_use_is_one_line(world: Path) -> None:
    model = load_text_model(world / "clip")
    with pytest.raises(ConfigError, match="expected data to train on"):
        TextStage(_config(world, data={}), model)
    tiny("clipseg").save_pretrained(world / "clipseg")
    save_tokenizer(world / "clipseg")
    clipseg = load_text_model(world / "clipseg")
    with pytest.raises(ModelError, match="got CLIPSeg"):
        clipseg.dense(np.zeros((8, 8, 3), np.uint8), 2)
