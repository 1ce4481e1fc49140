"""The stored numbers against relations that the paper itself states or implies."""

from __future__ import annotations

import numpy as np
import pytest

from glesam.errors import ConfigError
from glesam.evaluate.report.paper import (
    canonical_set,
    matching,
    paper_numbers,
    paper_source,
    table_names,
    table_title,
)
from glesam.evaluate.report.paper_table import paper_sections
from glesam.evaluate.report.presets import PRESETS, find_preset, missing_sets, require_sets


def _value(table: str, method: str, set_name: str, level: str, prompt: str | None = "points:3") -> tuple[float, float]:
    found = [
        n for n in paper_numbers(table) if (n.method, n.set, n.level, n.prompt) == (method, set_name, level, prompt)
    ]
    assert len(found) == 1
    return found[0].iou, found[0].dice


def test_every_cell_is_there_once_and_plausible() -> None:
    numbers = paper_numbers()
    assert {t: len(paper_numbers(t)) for t in table_names()} == {
        "table1": 54,
        "table2": 54,
        "table5": 18,
        "table10": 5,
        "table13": 24,
    }
    assert len({(n.table, n.method, n.set, n.level, n.prompt) for n in numbers}) == len(numbers)
    # A mean Dice lies above the mean IoU and below what one common value would give (2J / (1 + J) is concave).
    assert all(n.iou < n.dice <= 2 * n.iou / (1 + n.iou) + 1e-3 for n in numbers)


def test_harder_levels_are_lower() -> None:
    for table in ("table1", "table2", "table13"):
        cells = {(n.method, n.set, n.prompt, n.level): n.iou for n in paper_numbers(table)}
        for method, set_name, prompt, _ in cells:
            one, two, three = (cells[method, set_name, prompt, f"lq{i}"] for i in (1, 2, 3))
            assert one > two > three


@pytest.mark.parametrize(("row5", "row2"), [("SAM", "SAM"), ("Ours-FT-D", "GleSAM")])
def test_table_5_is_the_mean_of_table_2(row5: str, row2: str) -> None:
    cells = [_value("table2", row2, s, f"lq{i}") for s in ("ECSSD", "COCO") for i in (1, 2, 3)]
    np.testing.assert_allclose(_value("table5", row5, "ECSSD+COCO", "lq mean"), np.mean(cells, axis=0), atol=1.5e-4)


def test_the_average_of_table_5_is_the_mean_of_its_columns() -> None:
    for method in {n.method for n in paper_numbers("table5")}:
        lq, clear, average = (_value("table5", method, "ECSSD+COCO", x) for x in ("lq mean", "clear", "average"))
        np.testing.assert_allclose(average, np.mean([lq, clear], axis=0), atol=1.1e-4)


def test_spot_checks() -> None:
    assert _value("table1", "GleSAM2", "ThinObject-5K", "lq1") == (0.8527, 0.9072)
    assert _value("table2", "RobustSAM", "COCO", "lq2") == (0.4956, 0.6087)
    assert _value("table13", "SAM2", "ECSSD", "lq1", "noisy-box:0.2") == (0.7421, 0.8313)
    pixel = {n.method: n.pixel_accuracy for n in paper_numbers("table10")}
    assert pixel == {"SAM": 0.9911, "RobustSAM": 0.9930, "GleSAM": 0.9933, "SAM2": 0.9922, "GleSAM2": 0.9947}


def test_names_of_sets() -> None:
    assert canonical_set("ecssd") == canonical_set("ECSSD") == "ECSSD"
    assert canonical_set("Thin-Object 5K") == "ThinObject-5K"
    assert canonical_set("coco_mini") is None


def test_matching_needs_set_level_and_prompt() -> None:
    assert {n.table for n in matching("ecssd", "lq2", "points:3")} == {"table2"}
    assert {n.table for n in matching("ecssd", "lq2", "box")} == {"table13"}
    assert {n.table for n in matching("bdd100k", "clear", "points:3")} == {"table10"}
    assert matching("ecssd", "lq2", "points:2") == matching("my photos", "lq2", "points:3") == []


def test_titles_and_unknown_tables() -> None:
    assert "2503.12507" in paper_source()
    assert all(table_title(name) for name in table_names())
    with pytest.raises(ConfigError, match="did you mean 'table"):
        paper_numbers("table22")


def test_no_measured_number_no_section() -> None:
    assert paper_sections([]) == []


def test_presets_with_numbers_name_sets_levels_and_prompts_of_their_table() -> None:
    for name in ("table1", "table2", "table13"):
        preset, numbers = PRESETS[name], paper_numbers(name)
        assert set(preset.sets) == {n.set for n in numbers}
        assert {str(level) for level in preset.levels} == {n.level for n in numbers}
        assert {str(spec) for spec in preset.prompts} == {n.prompt for n in numbers}
        assert preset.note == ""


def test_presets_without_numbers_say_so() -> None:
    assert "No number of the paper is stored for table3" in PRESETS["table3"].note
    assert len(PRESETS["table3"].levels) == 16
    assert [spec.count for spec in PRESETS["clicks"].prompts] == list(range(1, 11))


def test_a_missing_set_is_named_with_its_layout() -> None:
    preset = find_preset("table2")
    assert missing_sets(preset, ["ecssd"]) == ["COCO"]
    with pytest.raises(ConfigError, match="--data coco=DIR with") as caught:
        require_sets(preset, ["ecssd", "coco_mini"])
    assert "images/NAME.jpg + masks/NAME.png" in str(caught.value)
    assert "--partial" in str(caught.value)
    for preset in PRESETS.values():
        require_sets(preset, [*preset.sets, "mine"])
        require_sets(preset, ["mine"], partial=True)
        if preset.sets:
            with pytest.raises(ConfigError, match="expected the data sets"):
                require_sets(preset, [])
    with pytest.raises(ConfigError, match="did you mean 'table1"):
        find_preset("tabel1")
