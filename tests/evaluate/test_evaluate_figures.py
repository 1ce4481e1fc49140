"""Figures are checked for what they draw from: files, cases chosen, masks blended; their look was checked by eye."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from evaluate_helpers import FakeLoader, make_folder, make_row, random_rows

from glesam.data.base import object_ids
from glesam.degrade.levels import parse_levels
from glesam.draw import figures as drawing
from glesam.errors import ConfigError
from glesam.evaluate.measure.benchmark import BenchmarkConfig, Probe, probes, run_benchmark
from glesam.evaluate.measure.model_specs import parse_models
from glesam.evaluate.measure.protocol import parse_prompts
from glesam.evaluate.measure.records import Row
from glesam.evaluate.measure.sources import open_source
from glesam.evaluate.report import figures, gallery
from glesam.evaluate.report.gallery import Case, choose_cases, draw_gallery, overlay, prepare
from glesam.evaluate.report.summary import summarise


@pytest.fixture(autouse=True)
def _coarse_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Few pixels: drawing is what takes time here."""
    monkeypatch.setattr(drawing, "DPI", 30)


def _draw(rows: list[Row], out: Path) -> list[str]:
    return [path.name for path in figures.draw_figures(rows, summarise(rows, 0), out)]


def _shape(path: Path) -> tuple[int, ...]:
    image = cv2.imread(str(path))
    assert image is not None
    assert image.std() > 5
    return image.shape


def test_all_figures_of_a_full_run(tmp_path: Path) -> None:
    names = _draw(random_rows(), tmp_path)
    assert names == ["iou_against_level.png", "iou_against_clicks.png", "iou_against_sharpness.png"]
    for name in names:
        assert _shape(tmp_path / name)[0] > 100


def test_same_rows_same_bytes(tmp_path: Path) -> None:
    summaries = summarise(random_rows(prompts=("box",)), 0)
    one, two = (figures.draw_levels(summaries, tmp_path / name) for name in ("a.png", "b.png"))
    assert one.read_bytes() == two.read_bytes()


def test_marks_of_two_levels_lie_at_their_ticks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr(figures, "save", lambda figure, path: seen.append(figure))
    wanted = [s for s in summarise(random_rows(), 0) if s.cell.level in ("clear", "lq1")]
    figures.draw_levels(wanted, tmp_path / "x.png")
    (panel, *_) = seen[0].axes
    places = np.concatenate([line.get_xdata() for line in panel.get_lines() if len(line.get_xdata())])
    low, high = panel.get_xlim()
    assert list(panel.get_xticks()) == [0, 1]
    assert np.abs(places - np.rint(places)).max() / (high - low) < 0.15


def test_only_what_the_run_has_data_for_is_drawn(tmp_path: Path) -> None:
    assert _draw(random_rows(levels=("clear",), prompts=("box",), pictures=3), tmp_path) == []
    assert _draw(random_rows(levels=("clear", "lq1"), prompts=("box",), pictures=2), tmp_path) == [
        "iou_against_level.png"
    ]


def test_kinds_and_single_images_and_equal_values_are_drawn(tmp_path: Path) -> None:
    kinds = tuple(f"robustseg:kind{i}:3" for i in range(7))
    rows = random_rows(levels=kinds, pictures=1)
    assert "iou_against_level.png" in _draw(rows, tmp_path)
    flat = [make_row(image=f"p{i}", iou=1.0, sharpness=0.0) for i in range(12)]
    assert _draw(flat, tmp_path) == ["iou_against_sharpness.png"]


def test_density_sums_to_one_and_peaks_where_the_points_are() -> None:
    points = np.array([[2.0, 0.9]] * 30 + [[1.0, 0.1]] * 5)
    grid = figures._density(points, 0.0, 3.0)
    assert grid.sum() == pytest.approx(1.0)
    row, column = np.unravel_index(grid.argmax(), grid.shape)
    assert (row + 0.5) / grid.shape[0] == pytest.approx(0.9, abs=0.03)
    assert 3.0 * (column + 0.5) / grid.shape[1] == pytest.approx(2.0, abs=0.08)


def test_trend_is_the_median_in_bins() -> None:
    x = np.linspace(0, 3, 80)
    sharp, ious = figures._trend(np.stack([x, x / 3], axis=1)[::-1])
    assert len(sharp) == 8
    np.testing.assert_allclose(np.array(sharp) / 3, ious)
    assert sharp == sorted(sharp)


def test_missing_matplotlib_names_the_extra(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(ConfigError, match=r"pip install 'glesam\[evaluate\]'"):
        drawing.require_matplotlib()
    with pytest.raises(ConfigError, match="--no-figures"):
        figures.draw_levels(summarise(random_rows(), 0), tmp_path / "x.png")


def test_cases_are_the_extremes_one_per_image() -> None:
    rows = [make_row(image=f"p{i}", object_id=o, iou=i / 10 + o / 100) for i in range(6) for o in (1, 2)]
    best, worst = choose_cases(rows, 2)
    assert [(c.image, c.object_id) for c in best] == [("p5", 2), ("p4", 2)]
    assert [(c.image, c.object_id) for c in worst] == [("p0", 1), ("p1", 1)]
    assert choose_cases(rows[::-1], 2) == (best, worst)


def test_cases_of_several_models_go_by_their_mean() -> None:
    rows = [
        make_row(model=m, image=i, iou=v)
        for m, i, v in (("a", "x", 1.0), ("b", "x", 0.0), ("a", "y", 0.6), ("b", "y", 0.6))
    ]
    best, worst = choose_cases(rows, 1)
    assert (best[0].image, worst[0].image) == ("y", "x")


def test_one_object_is_in_one_list_only() -> None:
    best, worst = choose_cases([make_row()])
    assert best == [Case("s", "clear", "points:3", "p", 1)]
    assert worst == []


def test_gallery_of_a_run(tmp_path: Path) -> None:
    source = open_source(str(make_folder(tmp_path / "toy")))
    config = BenchmarkConfig(
        parse_models(["m60,m10"]),
        parse_levels(["clear,robustseg:elastic:3"]),
        parse_prompts(["points:3,noisy-box:0.2"]),
    )
    rows = run_benchmark(config, [source], tmp_path / "out", FakeLoader()).rows
    paths = draw_gallery(config, [source], rows, tmp_path / "out", FakeLoader())
    assert [p.name for p in paths] == ["gallery_best.png", "gallery_worst.png"]
    for path in paths:
        assert _shape(path)[1] == pytest.approx(30 * 2.8 * 4, abs=1)


def test_a_case_is_prepared_alone_and_as_it_was_measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = open_source(str(make_folder(tmp_path / "toy")))
    config = BenchmarkConfig(parse_models(["m60"]), parse_levels(["lq1"]), parse_prompts(["noisy-box:0.2"]))
    sample = source.load("p01", config.levels[0], 0, "test")
    every = probes(sample, config.prompts[0], object_ids(sample.mask), 0)  # as the benchmark asks
    made: list[int] = []

    def counted(*arguments: Any) -> list[Probe]:
        made.extend(arguments[2])
        return probes(*arguments)

    monkeypatch.setattr(gallery, "probes", counted)
    for probe in every:
        drawn = prepare(config, [source], Case("toy", "lq1", "noisy-box:0.2", "p01", probe.object_id))
        assert np.array_equal(drawn.probe.truth, probe.truth)
        assert np.array_equal(drawn.probe.prompt.box, probe.prompt.box)
    assert made == [probe.object_id for probe in every]  # one mask for each case


def test_overlay_tints_inside_and_dims_outside() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)
    mask = np.zeros((40, 40), bool)
    mask[10:30, 10:30] = True
    result = overlay(image, mask, "#FF0000")
    assert result[20, 20].tolist() == [169, 55, 55]
    assert result[2, 2].tolist() == [60, 60, 60]
    assert result[10, 20].tolist() == [255, 255, 255]
    assert (image == 100).all()
    assert overlay(image, np.zeros((40, 40), bool), "#FF0000").max() == 60
