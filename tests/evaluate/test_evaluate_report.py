from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from evaluate_helpers import make_row, random_rows
from rich.console import Console

from glesam.degrade.levels import parse_levels
from glesam.errors import DataError
from glesam.evaluate.measure.benchmark import BenchmarkConfig, Results
from glesam.evaluate.measure.model_specs import parse_models
from glesam.evaluate.measure.protocol import parse_prompts
from glesam.evaluate.measure.records import METRICS, Row
from glesam.evaluate.measure.sources import StoredLevels
from glesam.evaluate.report.markdown import markdown_table, with_interval
from glesam.evaluate.report.report import Report, make_report, screen_table, to_markdown, write_report
from glesam.evaluate.report.summary import Cell, compare_models, flat, level_means, summarise


def _report(rows: list[Row], failed: dict[str, str] | None = None, **config: object) -> Report:
    names = {key: ",".join(dict.fromkeys(getattr(row, key) for row in rows)) for key in ("model", "level", "prompt")}
    settings = BenchmarkConfig(
        parse_models([names["model"]]),
        parse_levels([names["level"]]),
        parse_prompts([names["prompt"]]),
        **config,  # type: ignore[arg-type]
    )
    return make_report(settings, Results(rows, failed or {}), ["A note."])


def test_cells_hold_means_over_images_and_objects() -> None:
    rows = random_rows()
    for summary in summarise(rows, 0):
        mine = [r for r in rows if Cell(r.model, r.set, r.level, r.prompt) == summary.cell]
        assert summary.iou.objects == len(mine) == 24
        for metric in METRICS:
            values = [getattr(r, metric) for r in mine]
            per_picture = [np.mean([getattr(r, metric) for r in mine if r.image == i]) for i in {r.image for r in mine}]
            assert summary.metrics[metric].mean_objects == pytest.approx(np.mean(values))
            assert summary.metrics[metric].mean_images == pytest.approx(np.mean(per_picture))
    with pytest.raises(DataError, match="run the benchmark first"):
        summarise([], 0)


def test_psnr_stands_in_the_report_of_runs_with_a_restorer_only() -> None:
    models = ("a", "a@restore=nlm")
    values = {("a", "clear"): np.inf, ("a", "lq1"): 20.0, (models[1], "clear"): 30.0, (models[1], "lq1"): 22.125}
    rows = [make_row(model=m, level=level, psnr=v, image=i) for (m, level), v in values.items() for i in "xy"]
    text = to_markdown(_report(rows), [])
    assert "| s | clear | ∞ | 30.00 |" in text
    assert "| s | lq1 | 20.00 | 22.12 |" in text
    assert "PSNR" not in to_markdown(_report([row for row in rows if row.model == "a"]), [])
    records = {(s.cell.model, s.cell.level): flat(s)["psnr_median"] for s in summarise(rows, 0)}
    assert records == {**values, ("a", "clear"): ""}
    assert flat(summarise([make_row()], 0)[0])["psnr_median"] == ""


def test_every_further_model_is_compared_with_the_first() -> None:
    rows = random_rows(models=("a", "b", "c"))
    found = compare_models(rows, 0)
    assert {(c.first, c.second) for c in found} == {("a", "b"), ("a", "c")}
    assert len(found) == 2 * 2 * 2
    one = next(c for c in found if (c.second, c.level, c.prompt) == ("b", "lq1", "points:1"))
    means = {m: np.mean([r.iou for r in rows if (r.model, r.level, r.prompt) == (m, "lq1", "points:1")]) for m in "ab"}
    assert one.result.difference == pytest.approx(means["b"] - means["a"])


def test_a_report_over_objects_does_not_contradict_itself() -> None:
    rng = np.random.default_rng(0)
    rows = [  # images of one to five objects: the two means differ
        make_row(model=m, set=s, level=level, image=f"p{i}", object_id=o, iou=float(rng.random()), dice=0.5)
        for m in "ab"
        for s in "xy"
        for level in ("clear", "lq1")
        for i in range(5)
        for o in range(i + 1)
    ]
    report = _report(rows, average="objects")
    text = to_markdown(report, [])
    assert "## Differences between models, mean over objects" in text
    assert "## Means over sets and levels, of means over objects" in text
    means = {s.cell: s.iou.mean_objects for s in report.summaries}
    for found in report.comparisons:
        cell = Cell("b", found.set, found.level, found.prompt)
        assert found.result.difference == pytest.approx(means[cell] - means[cell._replace(model="a")])
    for model in "ab":
        clear, low = (np.mean([means[Cell(model, s, level, "points:3")] for s in "xy"]) for level in ("clear", "lq1"))
        assert f"| {model} | points:3 | {low:.4f} / 0.5000 | {clear:.4f} / 0.5000 |" in text
    assert "## Differences between models, mean over images" in to_markdown(_report(rows), [])


def test_how_stored_levels_were_made_is_the_manifests_not_the_runs() -> None:
    rows = random_rows(models=("a",), sets=("built", "flying"))
    report = _report(rows)._replace(stored={"built": StoredLevels("train", 4)})
    line = next(line for line in to_markdown(report, []).splitlines() if line.startswith("* Levels"))
    assert line == "* Levels: clear, lq1; LQSeg recipe test; LQ levels of built as built, recipe train, seed 4"
    alone = _report([row for row in rows if row.set == "built"])._replace(stored={"built": StoredLevels(None, None)})
    assert "* Levels: clear, lq1; LQ levels of built as built, recipe unknown, seed unknown\n" in to_markdown(alone, [])


def test_level_means_weigh_cells_equally() -> None:
    rows = [
        make_row(level=level, set=s, iou=v)
        for level, s, v in (("clear", "x", 0.9), ("lq1", "x", 0.5), ("lq2", "x", 0.3))
    ]
    rows += [make_row(level="lq1", set="y", iou=0.1, image=f"p{i}") for i in range(5)]
    (means,) = level_means(summarise(rows, 0))
    assert (means.clear, means.degraded) == pytest.approx((0.9, 0.3))


def test_files_agree_with_each_other(tmp_path: Path) -> None:
    report = _report(random_rows(), min_share={"": 0.005})
    paths = write_report(report, tmp_path)
    assert [p.name for p in paths] == ["report.md", "per_object.csv", "summary.csv", "summary.json"]
    with (tmp_path / "summary.csv").open() as stream:
        table = list(csv.DictReader(stream))
    content = json.loads((tmp_path / "summary.json").read_text())
    assert len(table) == len(content["summary"]) == 8
    for line, record in zip(table, content["summary"], strict=True):
        assert float(line["iou"]) == record["iou"]
        assert record["iou_low"] <= record["iou"] <= record["iou_high"]
    with (tmp_path / "per_object.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) == 8 * 24
    assert content["config"]["prompts"] == ["points:1", "points:3"]
    assert len(content["comparisons"]) == 4


def test_a_single_image_gives_empty_fields_and_null_not_nan(tmp_path: Path) -> None:
    rows = [make_row(model=m, iou=v) for m, v in (("a", 0.4), ("b", 0.6))]
    write_report(_report(rows), tmp_path)
    for name in ("report.md", "summary.csv", "summary.json"):
        assert "nan" not in (tmp_path / name).read_text().lower()
    content = json.loads((tmp_path / "summary.json").read_text())
    assert content["summary"][0]["iou_low"] is None
    assert content["comparisons"][0]["p_value"] is None


def test_markdown_shows_settings_notes_failures_and_figures() -> None:
    report = _report(random_rows(), {"ecssd/p9 at lq1": "cannot be decoded"}, min_share={"": 0.005}, limit=12)
    text = to_markdown(report, [Path("x/iou_against_level.png")])
    for part in (
        "> A note.",
        "ecssd (12 images, 24 objects of at least 0.50% of the image)",
        "at most 12 images per set",
        "## Left out (1)",
        "* ecssd/p9 at lq1: cannot be decoded",
        "![iou against level](iou_against_level.png)",
        "| ecssd | points:3 | lq1 | b − a |",
        "## Means over sets and levels",
    ):
        assert part in text


def test_markdown_numbers_are_those_of_the_summaries() -> None:
    report = _report(random_rows())
    text = to_markdown(report, [])
    for summary in report.summaries:
        iou = summary.iou
        shown = f"{iou.mean_images:.3f} [{iou.low:.3f}, {iou.high:.3f}] / {summary.metrics['dice'].mean_images:.3f}"
        line = next(
            x for x in text.splitlines() if x.startswith(f"| ecssd | {summary.cell.prompt} | {summary.cell.level} | ")
        )
        assert shown in line


def test_the_papers_numbers_stand_beside_measured_ones_where_they_match() -> None:
    text = to_markdown(_report(random_rows(prompts=("points:3",), levels=("clear", "lq2"))), [])
    assert "### ecssd, points:3" in text
    assert "| GleSAM | paper, table 2 | 0.7944 / 0.8719 |" in text
    assert "| **b** | measured |" in text
    for rows in (random_rows(prompts=("points:2",)), random_rows(sets=("coco_mini",), prompts=("points:3",))):
        assert "Beside the paper" not in to_markdown(_report(rows), [])


def test_table_5_needs_both_sets_and_all_levels() -> None:
    levels = ("clear", "lq1", "lq2", "lq3")
    rows = random_rows(models=("a",), levels=levels, prompts=("points:3",), sets=("ECSSD", "coco"), pictures=3)
    text = to_markdown(_report(rows), [])
    assert "| Ours-FT-D | paper, table 5 | 0.6848 / 0.7825 | 0.8022 / 0.8704 | 0.7435 / 0.8265 |" in text
    degraded = np.mean([r.iou for r in rows if r.level != "clear"])
    assert f"| **a** | measured | {degraded:.4f} /" in text
    assert "paper, table 5" not in to_markdown(_report([r for r in rows if r.level != "lq2"]), [])


def test_screen_table_has_a_column_per_model() -> None:
    console = Console(width=200, record=True, file=open("/dev/null", "w"))  # noqa: SIM115
    console.print(screen_table(_report(random_rows(models=("a", "b")))))
    console.file.close()
    text = console.export_text()
    assert "points:3" in text
    assert text.count("[0.") == 8


def test_markdown_helpers() -> None:
    assert markdown_table(["a", "b"], [["x|y", "1"]], 1) == "| a | b |\n| :-- | --: |\n| x\\|y | 1 |"
    assert with_interval(0.5, float("nan"), float("nan")) == "0.500"
    assert with_interval(0.5, 0.25, 0.75) == "0.500 [0.250, 0.750]"
