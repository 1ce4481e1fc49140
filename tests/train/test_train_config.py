"""Options: files and flags, unknown keys with the nearest name, wrong values in one line."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError

from glesam.cli.train_run import Run, open_data
from glesam.errors import ConfigError
from glesam.train.config import BaseConfig, HeadConfig, PairConfig, SubjectConfig, read_config, write_config


def test_flags_lie_over_the_file_and_what_is_not_given_stays(tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps({"lr": 0.1, "seed": 7}))
    config = read_config(BaseConfig, path, {"lr": 0.2, "val": None})
    assert (config.lr, config.seed, config.ema) == (0.2, 7, BaseConfig().ema)
    write_config(config, tmp_path / "again.json")
    assert read_config(BaseConfig, tmp_path / "again.json", {}) == config


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ('{"backbon": "lite0"}', ["backbon", "did you mean 'backbone'"]),
        ('{"zzz": 1}', ["zzz", "known are"]),
        ('{"lr": "fast"}', ["lr", "fast"]),
        ('{"phases": [{"image_size": 250, "batch_size": 1, "steps": 1}]}', ["phases.0.image_size", "32"]),
        ("{", ["JSON"]),
    ],
)
def test_wrong_options_are_one_line_that_names_them(tmp_path, content, words):
    path = tmp_path / "c.json"
    path.write_text(content)
    with pytest.raises(ConfigError) as error:
        read_config(BaseConfig, path, {})
    assert "\n" not in str(error.value)
    for word in words:
        assert word in str(error.value)


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.json"):
        read_config(BaseConfig, tmp_path / "none.json", {})


@pytest.mark.parametrize("kind", ["hq", "robust"])
def test_configurations_of_heads_leave_out_what_is_kept_aside(kind):
    configs = Path(__file__).parents[2] / "configs"
    config = read_config(HeadConfig, configs / f"compact-{kind}.json", {})
    names = {Path(folder).name for folder in config.data}
    assert (config.kind, config.model) == (kind, "compact")
    assert set(config.kept_aside) == names & set((configs / "kept-aside.txt").read_text().split())
    assert all(Path(folder).parent.name == "train" for folder in config.data)


@pytest.mark.parametrize("options", [{"prompts": 1, "corrected": 1}, {"prompts": 3, "corrected": 5}])
def test_some_prompts_count_by_their_first_answer(options):
    with pytest.raises(ValidationError, match="take more prompts"):
        BaseConfig(**options)
    assert BaseConfig(prompts=2, corrected=1).corrected == 1


def test_a_prompt_has_room_for_a_box():
    for kind in (BaseConfig, PairConfig):
        with pytest.raises(ValidationError, match="slots"):
            kind(slots=1)


def test_offsets_are_numbers_of_sets_that_are_packed():
    assert BaseConfig(offsets={"cups": (0.9, 0.8)}).offsets == {"cups": (0.9, 0.8)}
    with pytest.raises(ValidationError, match="finite"):
        BaseConfig(offsets={"cups": (float("nan"), 0.0)})
    with pytest.raises(ValidationError, match="leave them out"):
        SubjectConfig(offsets={"cups": (0.9, 0.8)})


def test_offsets_of_a_set_that_is_not_trained_on_are_refused(tmp_path):
    for part in ("images", "masks"):
        (tmp_path / "cups" / part).mkdir(parents=True)
        cv2.imwrite(str(tmp_path / "cups" / part / "a.png"), np.ones((8, 8), np.uint8))
    options = BaseConfig(data={str(tmp_path / "cups"): 1.0}, offsets={"cup": (0.9, 0.8)})
    with pytest.raises(ConfigError, match=r"'cup'.*did you mean 'cups'"):
        open_data(options, Run(out=tmp_path / "run", cache=tmp_path / "cache"))
