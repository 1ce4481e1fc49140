"""Sections as the field prints them, from rows whose means are known."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from evaluate_helpers import make_folder, make_row

from glesam.data.base import is_kept_aside
from glesam.degrade.levels import CLEAR
from glesam.errors import ConfigError, DataError
from glesam.evaluate.measure.benchmark import BenchmarkConfig, Results, run_benchmark
from glesam.evaluate.measure.model_specs import parse_model, parse_models
from glesam.evaluate.measure.protocol import parse_prompt, parse_prompts
from glesam.evaluate.measure.sources import open_source
from glesam.evaluate.report.domains import domain_section
from glesam.evaluate.report.field import mean_iou_by_size, published, published_section, size_section
from glesam.evaluate.report.interactive import interactive_section, shown
from glesam.evaluate.report.report import make_report, to_markdown
from glesam.evaluate.report.summary import summarise

AREAS = (1023, 1024, 9215, 9216)
IOUS = (0.2, 0.4, 0.6, 0.9)


def test_sizes_are_those_of_coco() -> None:
    rows = [make_row(object_id=i, area=a, iou=v) for i, (a, v) in enumerate(zip(AREAS, IOUS, strict=True))]
    means = mean_iou_by_size(rows)
    assert means["small"] == (pytest.approx(0.2), 1)
    assert means["medium"] == (pytest.approx(0.5), 2)
    assert means["large"] == (pytest.approx(0.9), 1)
    assert means["all"] == (pytest.approx(0.525), 4)
    assert "0.500 (2)" in size_section(rows)
    assert not size_section(rows[:1])


def test_published_numbers_stand_beside_boxes_on_coco_alone() -> None:
    rows = [make_row(set="coco_mini", prompt="box", level="clear", area=a, iou=0.74) for a in AREAS]
    text = published_section(rows, {"coco_mini": 0.0})
    lines = [line for line in text.splitlines() if line.startswith("|")][2:]
    assert [line.split("|")[1].strip() for line in lines][:3] == ["EdgeSAM", f"**{rows[0].model}**", "EfficientSAM-Ti"]
    assert len(lines) == len(published()[1]) + 1
    assert not published_section(rows, {"coco_mini": 0.005})
    for change in ({"prompt": "points:3"}, {"set": "ecssd"}, {"level": "lq2"}):
        assert not published_section(
            [make_row(**{"set": "coco_mini", "prompt": "box", **change})], {"coco_mini": 0.0, "ecssd": 0.0}
        )


def test_corrective_clicks_are_summed_up_by_object() -> None:
    ious = {"a": [0.5, 0.86, 0.92, 0.91], "b": [0.7, 0.8, 0.84, 0.84]}
    rows = [
        make_row(image=image, prompt=f"clicks:{n}", iou=value, boundary_iou=value / 2)
        for image, values in ious.items()
        for n, value in enumerate(values, 1)
    ]
    text = interactive_section(rows)
    cells = [cell.strip() for cell in text.splitlines()[-1].strip("|").split("|")]
    assert cells[3:] == ["2", "0.600 / 0.300", "0.880 / 0.440", "0.875 / 0.438", "3.00", "3.50"]
    assert not interactive_section([make_row(prompt="points:3")])
    assert shown(["box", *(f"clicks:{n}" for n in range(1, 8))]) == [
        "box",
        "clicks:1",
        "clicks:3",
        "clicks:5",
        "clicks:7",
    ]


def test_domains_have_a_line_each_and_their_mean() -> None:
    rows = [
        make_row(set=name, iou=value, boundary_iou=value / 2)
        for name, value in zip("abc", (0.3, 0.6, 0.9), strict=True)
    ]
    last = domain_section(summarise(rows, 0), "images").splitlines()[-1]
    assert last == "| **mean over sets** | 3 | 0.600 / 0.300 |"
    assert not domain_section(summarise(rows[:2], 0), "images")


@pytest.mark.parametrize("average", ["images", "objects"])
def test_domains_are_averaged_as_the_report_is(average: str) -> None:
    drawn = np.random.default_rng(0).random((3, 4))
    rows = [  # the second image of each set has three objects, the first one
        make_row(set=name, image="p" if i == 0 else "q", object_id=i, iou=value, boundary_iou=value / 2)
        for name, values in zip("abc", drawn, strict=True)
        for i, value in enumerate(values.tolist())
    ]
    means = {"images": (drawn[:, 0] + drawn[:, 1:].mean(axis=1)) / 2, "objects": drawn.mean(axis=1)}[average]
    config = BenchmarkConfig(parse_models(["a"]), (CLEAR,), parse_prompts(["points:3"]), average=average)
    text = to_markdown(make_report(config, Results(rows, {})), [])
    section = text.split(f"## By set, IoU / boundary IoU, mean over {average}\n\n")[1].split("\n\n")[0].splitlines()
    assert section[2:] == [
        *(f"| {name} | 4 | {mean:.3f} / {mean / 2:.3f} |" for name, mean in zip("abc", means, strict=True)),
        f"| **mean over sets** | 12 | {means.mean():.3f} / {means.mean() / 2:.3f} |",
    ]


def test_one_image_in_five_is_kept_aside_by_its_plain_name(tmp_path: Path) -> None:
    names = [f"x{i}" for i in range(200)]
    expected = [int(hashlib.sha256(name.encode()).hexdigest(), 16) % 5 == 0 for name in names]
    assert [is_kept_aside(f"folder/{name}.jpg") for name in names] == expected
    for dotted in ("a.rf.3", "b.rf.17", "c.v2"):  # dots of a name are no ending
        assert is_kept_aside(dotted) == (int(hashlib.sha256(dotted.encode()).hexdigest(), 16) % 5 == 0)
    root = make_folder(tmp_path / "set", count=12)
    whole, part = open_source(str(root)), open_source(str(root), kept_aside=True)
    assert part.names == [name for name in whole.names if is_kept_aside(name)]
    lone = make_folder(tmp_path / "lone", count=1)
    if not is_kept_aside(open_source(str(lone)).names[0]):
        with pytest.raises(DataError, match="kept aside"):
            open_source(str(lone), kept_aside=True)


def test_models_may_be_measured_as_the_decoder_leaves_them() -> None:
    spec = parse_model("compact@enhance=off@refine=off")
    assert (spec.name, spec.enhance, spec.refine) == ("compact", "off", "off")
    with pytest.raises(ConfigError, match="expected refine auto or off"):
        parse_model("compact@refine=maybe")


def test_clicks_are_a_prompt_that_gives_a_row_after_each(tmp_path: Path) -> None:
    from glesam import Predictor

    assert str(parse_prompt("clicks:10")) == "clicks:10"
    source = open_source(str(make_folder(tmp_path / "set", count=2)))
    config = BenchmarkConfig(parse_models(["compact"], "off"), (CLEAR,), parse_prompts(["clicks:2"]), average="objects")
    results = run_benchmark(
        config, [source], tmp_path / "out", lambda spec: Predictor.from_pretrained("compact", enhance="off")
    )
    assert sorted({row.prompt for row in results.rows}) == ["clicks:1", "clicks:2"]
    assert all(row.area == round(row.area_share * 60 * 80) for row in results.rows)
    text = to_markdown(make_report(config, results), [])
    assert "## Corrective clicks" in text
    assert "mean over objects" in text
    assert np.isfinite([row.iou for row in results.rows]).all()
