"""`glesam train`: prior, enhancer, decoder and gate by the command line, each taking what the one before it left."""

import importlib.util
import json

import cv2
import numpy as np
import pytest
import torch
from train_tiny import photo_set
from typer.testing import CliRunner

from glesam.cli import app as glesam
from glesam.cli.train import app
from glesam.models.compact.model import CompactConfig, CompactModel
from glesam.predict.predictor import Predictor


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """Folder with a data set of two photos and a tiny model of random weights."""
    root = tmp_path_factory.mktemp("train")
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / "data" / part).mkdir(parents=True)
    for i in range(2):
        mask = np.zeros((72, 96), np.uint8)
        mask[20:50, 20 + 10 * i : 60] = 1
        image = rng.integers(0, 120, (72, 96, 3)) + 100 * mask[..., None]
        cv2.imwrite(str(root / "data" / "images" / f"{i}.png"), image.astype(np.uint8))
        cv2.imwrite(str(root / "data" / "masks" / f"{i}.png"), mask)
    torch.manual_seed(0)
    CompactModel(CompactConfig("lite0", 64, attention_blocks=1, conv_blocks=1)).save_pretrained(root / "model")
    return root


def write(path, **values):
    path.write_text(json.dumps(values))
    return str(path)


def train(root, verb, *arguments):
    common = ["--data", str(root / "data"), "--cache", str(root / "cache"), "--workers", "0", "--seed", "1"]
    result = CliRunner().invoke(app, [verb, "--out", str(root / verb), *common, *arguments])
    assert result.exit_code == 0, result.output
    return root / verb / "model"


@pytest.mark.parametrize("verb", ["prior", "base", "restorer"])
def test_a_missing_extra_is_one_line_with_the_command(root, verb, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name, *a: None if name == "accelerate" else find(name, *a))
    result = CliRunner().invoke(glesam, ["train", verb, "--out", str(root / "none"), "--data", str(root / "data")])
    assert result.exit_code == 2
    assert result.stderr == (
        "glesam: error: expected the packages of glesam train, got none named accelerate; "
        "run: pip install 'glesam[train]'\n"
    )
    assert not (root / "none").exists()


def test_the_stages_follow_each_other(root):
    small = {"image_size": 64, "batch_size": 2}
    autoencoder = write(root / "a.json", steps=1, channels=[8, 8, 8, 8], image_size=32, batch_size=2)
    unet = {"channels": [16, 16], "attention": [False, True], "heads": 2, "embedding": 8, "sample_steps": 2}
    options = write(root / "p.json", **small, **unet, samples=1)
    prior = train(root, "prior", "--config", options, "--autoencoder-config", autoencoder, "--steps", "1")
    assert (root / "prior" / "samples.png").is_file()
    assert (root / "prior" / "autoencoder" / "reconstructions.png").is_file()
    pairs = write(root / "e.json", **small, model=str(root / "model"), scale=[0.15, 0.2])
    shared = ("--config", pairs, "--val", str(root / "data"), "--steps", "1")
    enhancer = train(
        root,
        "enhancer",
        *shared,
        "--prior",
        str(prior),
        "--alignment-scale",
        "2.5",
        "--cached-pairs",
        "4",
        "--rank",
        "2",
    )
    config = json.loads((enhancer / "config.json").read_text())
    assert (config["alignment_scale"], config["timestep"]) == (2.5, 1)
    assert len(list((root / "cache").glob("latents-*"))) == 1
    decoder = train(root, "decoder", *shared, "--enhancer", str(enhancer), "--train", "tokens")
    assert (decoder / "decoder" / "model.safetensors").is_file()
    few = {"clear_photos": 4, "fit_batches": 2}
    small_gate = write(root / "g.json", **small, **few, model=str(root / "model"), scale=[0.15, 0.2])
    gate = train(root, "gate", "--config", small_gate, "--val", str(root / "data"), "--steps", "1")
    assert json.loads((gate / "config.json").read_text())["family"] == "degradation-gate"
    sizes = root / "rules.json"
    sizes.write_text('[{"above": 0}, {"above": 2, "image_size": 32}]')
    parts = [
        "--enhancer",
        str(enhancer),
        "--decoder",
        str(decoder / "decoder"),
        "--gate",
        str(gate),
        "--rules",
        str(sizes),
    ]
    made = CliRunner().invoke(
        app, ["bundle", "--out", str(root / "bundle"), "--model", str(root / "model"), *parts, "--half"]
    )
    assert made.exit_code == 0, made.output
    photo = root / "data" / "images" / "0.png"
    seen = [
        "segment",
        str(photo),
        "--point",
        "40,30",
        "--model",
        str(root / "model"),
        "--json",
        "-o",
        str(root / "out.json"),
    ]
    used = CliRunner().invoke(glesam, [*seen, "--enhancer", str(root / "bundle"), "--enhance", "on"])
    assert used.exit_code == 0, used.output
    info = json.loads((root / "out.json").read_text())["info"]
    assert info["enhanced"] is True
    assert "+" in info["weights"]
    refused = CliRunner().invoke(glesam, [*seen, "--enhancer", str(enhancer), "--overwrite"])
    assert refused.exit_code == 2
    assert "glesam train bundle" in refused.output
    again = CliRunner().invoke(app, ["gate", "--out", str(root / "gate"), "--resume", "--cache", str(root / "cache")])
    assert again.exit_code == 0, again.output
    logged = [json.loads(line) for line in (root / "gate" / "log.jsonl").read_text().splitlines()]
    assert sum("loss" in line for line in logged) == 1


def test_the_autoencoder_notes_its_data_as_they_are_and_keeps_its_own_options(tmp_path, monkeypatch):
    seen = {}

    def note(stage, run):
        seen[stage.name] = (stage, run)
        run.out.mkdir(parents=True, exist_ok=True)
        (run.out / "config.json").write_text(stage.config.model_dump_json())

    monkeypatch.setattr("glesam.cli.train.train_stage", note)
    monkeypatch.setattr("glesam.train.stages.prior.PriorStage", lambda options, packs, folder: _Noted(options))
    own = write(tmp_path / "a.json", seed=5, workers=3, kept_aside=["elsewhere"], image_size=32, channels=[8, 8, 8, 8])
    options = write(tmp_path / "p.json", seed=7, workers=2, offsets={"data": [0.5, 0.25]}, image_size=64)
    photo_set(tmp_path / "data")
    words = ["prior", "--data", str(tmp_path / "data"), "--cache", str(tmp_path / "c"), "--config", options]
    words += ["--out", str(tmp_path / "run"), "--kept-aside", "data"]

    def noted(*more):
        result = CliRunner().invoke(app, [*words, *more])
        assert result.exit_code == 0, result.output
        config, prior = (seen[name][0].config for name in ("autoencoder", "prior"))
        assert (config.data, config.kept_aside, config.offsets) == (prior.data, prior.kept_aside, prior.offsets)
        assert (config.kept_aside, config.offsets) == (("data",), {"data": (0.5, 0.25)})
        return config.seed, config.workers

    assert noted("--autoencoder-config", own) == (5, 3)
    assert noted("--resume") == (5, 3), "the file of the autoencoder's run is its own"
    assert noted("--autoencoder-config", own, "--seed", "9") == (9, 3)
    assert noted() == (7, 2)


class _Noted:
    name = "prior"

    def __init__(self, config):
        self.config = config


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["enhancer", "--timestep", "-1"], "timestep"),
        (["enhancer", "--kind", "transformer"], "residual-cnn"),
        (["enhancer", "--level-timesteps", "1,2,x,4"], "level_timesteps"),
        (["decoder", "--train", "nothing"], "tokens"),
        (["gate"], "pass --data"),
    ],
)
def test_wrong_options_end_in_one_line(tmp_path, arguments, words):
    result = CliRunner().invoke(app, [*arguments, "--out", str(tmp_path)])
    assert result.exit_code == 2
    assert words in result.output
    assert len(result.output.strip().splitlines()) == 1


def test_restorer_of_degraded_images(root):
    options = {"batch_size": 2, "widths": [8, 8], "warmup": 1, "val_images": 1, "levels": {"lq1": 1}}
    config = write(root / "r.json", image_size=32, **options)
    folder = train(root, "restorer", "--config", config, "--steps", "2", "--val", str(root / "data"))
    assert "val/psnr_lq3" in (root / "restorer" / "log.jsonl").read_text()
    saved = json.loads((folder / "config.json").read_text())
    assert saved == {"family": "restoration-unet", "widths": [8, 8], "depth": 2}


def test_a_head_is_trained_and_hung_on_its_model(root):
    options = {"batch_size": 2, "warmup": 1, "levels": {"lq1": 1}, "model": str(root / "model"), "points": 3}
    config = write(root / "h.json", image_size=64, **options)
    head = train(root, "head", "--config", config, "--kind", "hq", "--steps", "1")
    predictor = Predictor.from_pretrained(root / "model", head=head)
    assert predictor.model.head_kind == "hq"
    predictor.set_image(np.zeros((48, 64, 3), np.uint8))
    assert predictor.predict(points=[[20, 20]], multimask=True).candidates.shape == (1, 3, 48, 64)
