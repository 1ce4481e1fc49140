"""Off, on and auto side by side: against numbers computed apart, and the command on a set in conditions."""

import csv
import json

import cv2
import numpy as np
import pytest
from train_tiny import tiny_model
from typer.testing import CliRunner

from glesam.cli import app
from glesam.enhance.bundle import Parts, write_bundle
from glesam.enhance.gains import GainGate
from glesam.enhance.pipeline import LevelRule
from glesam.errors import ConfigError, DataError
from glesam.evaluate.measure.model_specs import parse_models
from glesam.evaluate.measure.records import COLUMNS, Row
from glesam.evaluate.report.modes import mode_cells, mode_groups, mode_section
from glesam.evaluate.report.wins import choose_wins
from glesam.models.compact.model import CompactModel

MODELS = "compact@enhance=off,compact@enhance=on,compact@enhance=auto"


def row(model, image, iou, object_id=1, set="s"):
    values = dict.fromkeys(COLUMNS, 0.0) | {"model": model, "set": set, "level": "clear", "prompt": "box"}
    return Row(**{**values, "image": image, "object_id": object_id, "iou": iou, "psnr": None})


def rows():
    truth = {"off": [0.5, 0.6, 0.9], "on": [0.7, 0.8, 0.7], "auto": [0.7, 0.6, 0.9]}
    return [row(f"compact@enhance={mode}", f"i{n}", iou) for mode, ious in truth.items() for n, iou in enumerate(ious)]


def test_cells_hold_means_gain_and_regret():
    specs = parse_models([MODELS, "other@enhance=off"])
    (labels,) = mode_groups(specs)
    assert labels == {mode: f"compact@enhance={mode}" for mode in ("off", "on", "auto")}
    (cell,) = mode_cells(rows(), labels, 0)
    assert cell.means == pytest.approx((2.0 / 3, 2.2 / 3, 2.2 / 3))
    assert cell.gain.difference == pytest.approx(0.2 / 3)
    assert cell.regret.difference == pytest.approx(0.0, abs=1e-12)
    text = mode_section(rows(), specs, 0)
    assert "| s | box | clear | 3 | 0.667 | 0.733 | 0.733 |" in text
    assert "| **mean over the lines** |" in text
    assert mode_section(rows(), parse_models(["compact@enhance=off,compact@enhance=on"]), 0) == ""


def test_wins_and_losses_are_the_largest_changes_one_an_image():
    more = [row("off", "a", 0.5, 1), row("off", "a", 0.5, 2), row("off", "b", 0.5), row("off", "c", 0.5)]
    more += [row("on", "a", 0.9, 1), row("on", "a", 0.8, 2), row("on", "b", 0.2), row("on", "c", 0.5)]
    wins, losses = choose_wins(more, "off", "on")
    assert [(case.image, case.object_id) for case in wins] == [("a", 1)]
    assert [case.image for case in losses] == ["b"]


def acdc(root, conditions=("fog", "night"), split="val"):
    rng = np.random.default_rng(0)
    for condition in conditions:
        image, labels = rng.integers(0, 255, (64, 96, 3), dtype=np.uint8), np.full((64, 96), 255, np.uint8)
        labels[10:40, 8:30], labels[30:60, 50:90], labels[0:3, 0:5] = 13, 0, 11
        labels[10:40, 60:80] = 13
        for top, name, pixels in (("rgb_anon", "f1_rgb_anon", image), ("gt", "f1_gt_labelTrainIds", labels)):
            folder = root / top / condition / split / "GOPR1"
            folder.mkdir(parents=True)
            cv2.imwrite(str(folder / f"{name}.png"), pixels)
    return root


def test_patches_of_a_class_are_objects_and_seams_and_ignored_ones_are_not(tmp_path):
    from glesam.data.readers.registry import open_dataset

    data = open_dataset(acdc(tmp_path / "a"))
    assert data.names == ["fog__f1", "night__f1"]
    mask = data[0].mask
    assert sorted(np.unique(mask)) == [0, 1, 2, 3]
    # The second car covers the road's corner; largest first.
    assert [int((mask == one).sum()) for one in (1, 2, 3)] == [30 * 40 - 10 * 20, 30 * 22, 30 * 20]
    assert open_dataset(tmp_path / "a", split="night/val").names == ["night__f1"]
    with pytest.raises(DataError, match="night/val"):
        open_dataset(tmp_path / "a", split="dusk")
    (tmp_path / "b" / "rgb_anon").mkdir(parents=True)
    (tmp_path / "b" / "gt").mkdir()
    with pytest.raises(DataError, match="expected fog, night, rain, snow"):
        open_dataset(tmp_path / "b")


def test_conditions_of_a_split_are_measured_apart_too(tmp_path):
    from glesam.evaluate.measure.sources import open_sources

    root = acdc(acdc(tmp_path / "a"), ("night",), "train")
    for path in root.glob("*/night/train/GOPR1/f1_*"):
        path.rename(path.with_name(path.name.replace("f1", "t1")))
    named = {
        word: [(s.name, s.names) for s in open_sources([f"{root}{word}"])] for word in ("", "@val", "@night/train")
    }
    assert named[""] == named["@val"] == [("acdc-fog", ["fog__f1"]), ("acdc-night", ["night__f1"])]
    assert named["@night/train"] == [("acdc-night", ["night__t1"])]
    (night,) = open_sources([f"{root}@night"])
    (learned,) = open_sources([f"dark={root}@night/train"])
    assert (night.names, learned.name) == (["night__f1"], "dark-night")
    assert night.origin != learned.origin
    with pytest.raises(DataError, match="dusk"):
        open_sources([f"{root}@dusk"])


def test_bdd_semantic_labels_are_read(tmp_path):
    from glesam.data.readers.registry import open_dataset

    for part in ("images/10k/val", "labels/sem_seg/masks/val"):
        (tmp_path / part).mkdir(parents=True)
    cv2.imwrite(str(tmp_path / "images/10k/val/x.jpg"), np.zeros((40, 60, 3), np.uint8))
    labels = np.full((40, 60), 255, np.uint8)
    labels[10:30, 10:30] = 13
    cv2.imwrite(str(tmp_path / "labels/sem_seg/masks/val/x.png"), labels)
    data = open_dataset(tmp_path)
    assert data.name == "bdd100k-semantic-val"
    assert (data[0].mask == 1).sum() == 400
    cv2.imwrite(str(tmp_path / "labels/sem_seg/masks/val/x.png"), np.zeros((40, 60, 3), np.uint8))
    with pytest.raises(DataError, match="not the coloured ones"):
        data[0]


def test_the_preset_measures_each_condition_in_three_modes(tmp_path, monkeypatch):
    monkeypatch.setattr("glesam.draw.figures.DPI", 30)  # few pixels: drawing is what takes time here
    base = CompactModel.from_pretrained(tiny_model(tmp_path / "base"))
    GainGate().save_pretrained(tmp_path / "gate")
    write_bundle(tmp_path / "bundle", base, Parts(gate=tmp_path / "gate"), [LevelRule(0, image_size=32)])
    root = acdc(tmp_path / "acdc")
    options = ["evaluate", "--preset", "real", "--out", str(tmp_path / "out"), "--models"]
    made = CliRunner().invoke(app, [*options, f"{tmp_path / 'base'}+{tmp_path / 'bundle'}", "--data", str(root)])
    assert made.exit_code == 0, made.output
    with (tmp_path / "out" / "per_object.csv").open() as stream:
        found = list(csv.DictReader(stream))
    assert {r["set"] for r in found} == {"acdc-fog", "acdc-night"}
    assert {r["model"].rpartition("=")[2] for r in found} == {"off", "on", "auto"}
    report = (tmp_path / "out" / "report.md").read_text()
    assert "## Off, on and auto" in report
    assert json.loads((tmp_path / "out" / "summary.json").read_text())["config"]["levels"] == ["clear"]
    assert (tmp_path / "out" / "wins.png").is_file() or (tmp_path / "out" / "losses.png").is_file()


def test_without_data_the_preset_names_the_layouts():
    from glesam.evaluate.report.presets import find_preset, require_sets

    with pytest.raises(ConfigError, match=r"ACDC = rgb_anon/CONDITION.*BDD-100K") as caught:
        require_sets(find_preset("real"), [])
    assert "\n" not in str(caught.value)
