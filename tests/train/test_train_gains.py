"""The gate by gain: versions and measurements against computing them apart, the fit on gains that are known."""

import hashlib
import json
from dataclasses import replace

import cv2
import numpy as np
import pytest
import torch
from train_tiny import photo_set, tiny_model
from typer.testing import CliRunner

from glesam.cli.train import app
from glesam.data.base import Sample
from glesam.enhance.bundle import Parts, load_gate, write_bundle
from glesam.enhance.gains import GainGate
from glesam.enhance.pipeline import LevelRule
from glesam.errors import ConfigError, DataError
from glesam.evaluate.metrics import iou
from glesam.models.compact.model import CompactModel
from glesam.predict.predictor import Predictor
from glesam.train.config import GainConfig
from glesam.train.feed.pack import pack
from glesam.train.gains.fit import MARGINS, as_table, fit, margins_for
from glesam.train.gains.measure import Measured, measure, measure_version
from glesam.train.gains.quality import regrets, reliability
from glesam.train.gains.run import train_gain_gate
from glesam.train.gains.versions import Versions, condition_group, mosaic


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    root = tmp_path_factory.mktemp("gain")
    data = photo_set(root / "photos")
    base = CompactModel.from_pretrained(tiny_model(root / "model"))
    rules = [LevelRule(0, image_size=32)]
    # The smaller square is all that restoring does here.
    GainGate().save_pretrained(root / "unused")
    write_bundle(root / "bundle", base, Parts(gate=root / "unused"), rules)
    return root, pack(data, root / "packs"), base


def config(root, **changes):
    values = {"data": {str(root / "photos"): 1.0}, "model": str(root / "model"), "enhancer": str(root / "bundle")}
    return GainConfig(**{**values, "versions": 20, "fit_steps": 40, "folds": 2, **changes})


def test_versions_depend_on_seed_and_number_and_name_their_condition(place):
    root, packed, _ = place
    options = config(root, levels={"clear": 1.0, "lq3": 1.0, "real:haze:4": 1.0})
    stream = Versions([packed], [1.0], options)
    made = [stream.version(i, options) for i in range(40)]
    again = stream.version(7, options)
    assert np.array_equal(made[7].sample.image, again.sample.image)
    assert {m.condition for m in made} == {"clear", "lq3", "real:haze:4", "mixed"}
    levels = {m.condition: m.level for m in made}
    assert (levels["clear"], levels["lq3"], levels["real:haze:4"]) == (0.0, 3.0, pytest.approx(2.4))
    for each in made:
        height, width = each.sample.mask.shape
        assert each.sample.image.shape == (height, width, 3)
        assert len(each.objects) <= options.objects
        for one in each.objects:
            assert (each.sample.mask == one).sum() >= max(16, 0.003 * height * width)
    sizes = {max(m.sample.mask.shape) for m in made}
    assert min(sizes) < 112 < max(sizes)


def fold(name, folds):
    """The rule, written out."""
    return (int(hashlib.sha256(f"fold\0{name}".encode()).hexdigest()[:16], 16) >> 1) % folds


def test_images_of_a_mosaic_are_of_one_fold(place, monkeypatch):
    """An image beside one of another fold would be judged by a gate that was fitted on it."""
    root, packed, _ = place
    seen = []
    monkeypatch.setattr(
        "glesam.train.gains.versions.mosaic", lambda samples, *grid: seen.append(samples) or mosaic(samples, *grid)
    )
    options = config(root, mosaic=1.0, levels={"clear": 1.0})
    stream = Versions([packed], [1.0], options)
    made = [stream.version(index, options) for index in range(20)]
    sets = [{sample.name for sample in samples} for samples in seen]
    assert all(len({fold(name, options.folds) for name in names}) == 1 for names in sets)
    assert max(map(len, sets)) > 1
    assert {fold(name, options.folds) for names in sets for name in names} == {0, 1}
    for version, samples in zip(made, seen, strict=True):
        assert version.sample.name == samples[0].name
        table = as_table([Measured(0, version.sample.name, "clear", 0.0, [0.5, 0.5], [0.5, 0.5], [0.0])] * 8, 1)
        assert len(table.fold) == 8


def test_an_empty_fold_is_found_before_anything_is_measured(place, tmp_path, monkeypatch):
    root, packed, _ = place
    monkeypatch.setattr("glesam.train.gains.run.measure", lambda *_: pytest.fail("measured"))
    count = len({fold(f"photos/{name}", 50) for name in packed.names})
    with pytest.raises(DataError, match=rf"each of 50 folds, got 6 that fall into {count} .* or fewer --folds"):
        train_gain_gate(config(root, folds=50), [packed], tmp_path)


def test_a_mosaic_holds_each_image_and_all_objects():
    first = Sample("a", np.full((10, 12, 3), 10, np.uint8), np.pad(np.ones((4, 4), np.int32), ((0, 6), (0, 8))))
    second = Sample("b", np.full((20, 24, 3), 90, np.uint8), np.pad(np.full((8, 8), 2, np.int32), ((0, 12), (0, 16))))
    made = mosaic([first, second, second, first], 2, 2)
    assert made.image.shape == (20, 24, 3)
    assert (made.image[:10, :12] == 10).all()
    assert (made.image[:10, 12:] == 90).all()
    assert sorted(np.unique(made.mask)) == [0, 1, 3, 5, 6]
    assert (made.mask == 3).sum() == 16


def test_what_is_measured_is_what_the_predictor_gives(place):
    root, packed, _ = place
    options = config(root, levels={"lq3": 1.0}, mixing=0.0)
    version = next(
        v for i in range(20) if len((v := Versions([packed], [1.0], options).version(i, options)).objects) == 2
    )
    predictor = Predictor.from_pretrained(root / "model", enhancer=root / "bundle")
    found = measure_version(predictor, version)
    for mode, got in (("off", found.off), ("on", found.on)):
        other = Predictor.from_pretrained(root / "model", enhance=mode, enhancer=root / "bundle")
        other.set_image(version.sample.image)
        wanted = []
        for one in version.objects:
            truth = version.sample.mask == one
            x, y, width, height = cv2.boundingRect(truth.astype(np.uint8))
            wanted.append(iou(other.predict(boxes=[x, y, x + width, y + height]).masks[0], truth))
        assert got[1] == pytest.approx(np.mean(wanted), abs=1e-4)
    assert measure_version(predictor, version, least_box=1.0).off[1] is None


def test_a_stopped_run_goes_on_with_what_it_measured(place, tmp_path):
    root, packed, _ = place
    options, stream = config(root), Versions([packed], [1.0], config(root))
    predictor = Predictor.from_pretrained(root / "model", enhance="off", enhancer=root / "bundle")
    whole = measure(predictor, stream, options, tmp_path)
    (file,) = tmp_path.glob("gains-*.jsonl")
    text = file.read_bytes()
    lines = text.splitlines(keepends=True)
    changed = json.loads(lines[0]) | {"level": 9.0}
    file.write_bytes(json.dumps(changed).encode() + b"\n" + b"".join(lines[1:8]) + lines[8][:30])
    again = measure(predictor, stream, options, tmp_path)
    assert again[0].level == 9.0  # read, not measured
    assert again[1:] == whole[1:]
    measure(predictor, stream, options.model_copy(update={"seed": 4, "versions": 20}), tmp_path)
    assert len(list(tmp_path.glob("gains-*.jsonl"))) == 2
    measure(predictor, stream, options.model_copy(update={"folds": 3}), tmp_path)  # mosaics are other ones
    assert len(list(tmp_path.glob("gains-*.jsonl"))) == 3


def known_gains(count=400, seed=0):
    """Versions whose gain for clicks is a feature, and for boxes its opposite; a third is clear, without gain."""
    rng = np.random.default_rng(seed)
    gate = GainGate((4,), 0, hidden=16)
    features = rng.normal(size=(count, gate.centre.shape[0])).astype(np.float32)
    clear = np.arange(count) % 3 == 0
    features[clear, 0] = -2 + 0.1 * features[clear, 0]
    gain = np.clip(0.1 * features[:, 0], -0.2, 0.2)
    measured = []
    for i in range(count):
        noise = rng.normal(0, 0.02, 2)
        off = [0.5, 0.5 if i % 7 else None]
        on = [0.5 + gain[i] + noise[0], 0.5 - gain[i] + noise[1] if i % 7 else None]
        condition = "clear" if clear[i] else "lq3"
        measured.append(Measured(i, f"image {i}", condition, 0.0 if clear[i] else 3.0, off, on, features[i].tolist()))
    return gate, measured


def test_a_gate_that_was_fitted_decides_as_the_gains_are():
    gate, measured = known_gains()
    options = GainConfig(folds=4, fit_steps=400)
    table = as_table(measured, 4)
    fitted = fit(table, gate, options)
    truth = table.gains.numpy()
    for kind in range(2):
        known = ~np.isnan(truth[:, kind])
        assert np.corrcoef(fitted.gains[known, kind].numpy(), truth[known, kind])[0, 1] > 0.9
    rows = {(r.prompt, r.condition): r for r in regrets(table, fitted)}
    row = rows["points", "all"]
    assert row.auto > max(row.off, row.on) + 0.01
    assert row.regret < 0
    assert row.oracle >= row.auto
    assert rows["points", "clear"].off - rows["points", "clear"].auto <= options.clear_loss + 1e-6
    # Boxes of clear images win by restoring here, and so they are restored.
    assert rows["boxes", "clear"].restored > 0.9
    with torch.no_grad():
        _, again = fitted.gate.answers(table.features)
    assert np.corrcoef(again[:, 0].numpy(), truth[:, 0])[0, 1] > 0.9


def test_margins_are_those_of_brute_force():
    rng = np.random.default_rng(1)
    expected = rng.normal(0.01, 0.03, (300, 2))
    gains = expected + rng.normal(0, 0.05, (300, 2))
    gains[::9, 1] = np.nan
    clear = np.arange(300) < 100
    found = margins_for(expected, gains, clear, 0.001)
    for kind in range(2):
        best = None
        for margin in MARGINS:
            won = [g for e, g in zip(expected[:, kind], gains[:, kind], strict=True) if e > margin and not np.isnan(g)]
            quiet = [
                g if e > margin else 0.0
                for e, g, c in zip(expected[:, kind], gains[:, kind], clear, strict=True)
                if c and not np.isnan(g)
            ]
            if np.mean(quiet) >= -0.001 and (best is None or sum(won) >= best[0]):
                best = sum(won), margin
        assert found[kind] == pytest.approx(best[1])
    assert margins_for(expected * 0 + 1, expected * 0 - 1, clear, 0.001) == (1.0, 1.0)


def test_reliability_bins_are_means_of_equal_parts():
    expected = np.arange(80.0)
    gains = expected / 100
    gains[::2] = np.nan
    bins = reliability(expected, gains, 4)
    assert [b.count for b in bins] == [10] * 4
    for b in bins:
        assert b.found == pytest.approx(b.expected / 100)
        assert b.half > 0


def test_the_command_leaves_a_gate_and_its_numbers(place, tmp_path):
    root, *_ = place
    options = {"data": {str(root / "photos"): 1.0}, "versions": 20, "folds": 2, "fit_steps": 40}
    (tmp_path / "c.json").write_text(json.dumps(options))
    arguments = ["gain", "--config", str(tmp_path / "c.json"), "--model", str(root / "model"), "--enhancer"]
    arguments += [str(root / "bundle"), "--cache", str(root / "packs"), "--out", str(tmp_path / "run")]
    made = CliRunner().invoke(app, arguments)
    assert made.exit_code == 0, made.output
    assert "margin_points" in made.output
    run = tmp_path / "run"
    gate = load_gate(run / "model")
    document = json.loads((run / "gate.json").read_text())
    assert document["margins"] == dict(zip(("points", "boxes"), gate.margins, strict=True))
    assert (run / "gate.md").read_text().count("\n") == 2 + len(document["regret"])
    assert (run / "reliability.png").stat().st_size > 1000


def test_what_cannot_be_measured_is_refused(place, tmp_path):
    root, packed, base = place
    with pytest.raises(DataError, match=r"at least 12 versions with objects that count, got 0 of 0; take more"):
        as_table([], 3)
    _, measured = known_gains(30)
    alike = [replace(one, name="image 0") for one in measured]
    with pytest.raises(DataError, match=r"in each of 3 folds, got them in 1; take more --versions"):
        as_table(alike, 3)
    plain = Predictor(base)
    with pytest.raises(ConfigError, match="expected an enhancer"):
        measure(plain, Versions([packed], [1.0], config(root)), config(root), tmp_path)
    assert condition_group("real:haze:3") == "real:haze"
    assert condition_group("lq3") == "lq3"
