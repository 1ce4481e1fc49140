"""Options: files and flags, unknown keys with the nearest name, wrong values in one line."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from pydantic import ValidationError
from typer.testing import CliRunner

from glesam.cli.train import app
from glesam.cli.train_run import Run, open_data
from glesam.errors import ConfigError
from glesam.train.config import (
    BaseConfig,
    DecoderConfig,
    GainConfig,
    HeadConfig,
    PairConfig,
    RestorerConfig,
    SubjectConfig,
    TextConfig,
    read_config,
    write_config,
)


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


@pytest.fixture
def cups(tmp_path):
    """A set of twenty images."""
    for part in ("images", "masks"):
        (tmp_path / "cups" / part).mkdir(parents=True)
        for number in range(20):
            cv2.imwrite(str(tmp_path / "cups" / part / f"{number}.png"), np.ones((8, 8), np.uint8))
    return tmp_path / "cups"


def packed(cups, *aside):
    options = BaseConfig(data={str(cups): 1.0}, kept_aside=aside)
    return open_data(options, Run(out=cups.parent / "run", cache=cups.parent / "cache"))[0][0].names


@pytest.mark.parametrize("given", ["cups", "cups/", "{folder}", "{folder}/", "./cups/"])
def test_a_set_is_kept_aside_by_name_and_by_folder(cups, given, capsys):
    names = packed(cups, given.format(folder=cups))
    digests = {str(number): hashlib.sha256(str(number).encode()).hexdigest() for number in range(20)}
    assert names == sorted(name for name, digest in digests.items() if int(digest, 16) % 5)
    assert len(names) < 20
    assert "warning" not in capsys.readouterr().err


def test_names_of_no_set_are_told_and_refused_where_none_is_one(cups, capsys):
    assert len(packed(cups, "cups", "saucers/")) < 20
    assert "warning: kept_aside names sets that are not trained on: saucers/" in capsys.readouterr().err
    with pytest.raises(ConfigError, match=r"trained on in kept_aside, got cup/; did you mean 'cups'\?"):
        packed(cups, "cup/")
    assert len(packed(cups)) == 20


@pytest.mark.parametrize("share", [0.0, -1.0, float("nan"), float("inf")])
def test_shares_of_sets_are_finite_and_above_0(share):
    with pytest.raises(ConfigError, match=rf"the share of b/cups is {share:g}, and shares are .* leave the set out"):
        read_config(BaseConfig, None, {"data": {"a": 1.0, "b/cups": share}})


UNUSED = [
    (HeadConfig, {"inference_size": 256}),
    (HeadConfig, {"slots": 3}),
    (HeadConfig, {"as_clear": ["real:haze"]}),
    (RestorerConfig, {"scale": [0.5, 1.0]}),
    (RestorerConfig, {"inference_size": 256}),
    (RestorerConfig, {"model": "sam-vit-b"}),
    (DecoderConfig, {"cached_pairs": 4}),
    (GainConfig, {"batch_size": 3}),
    (SubjectConfig, {"val": "set"}),
    (TextConfig, {"val": "set"}),
]


@pytest.mark.parametrize(("kind", "option"), UNUSED)
def test_options_that_a_stage_has_no_use_for_are_refused_in_files(tmp_path, kind, option):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(option))
    with pytest.raises(ConfigError, match=rf"{next(iter(option))} is .*, and this stage has no use for it; leave it"):
        read_config(kind, path, {})
    write_config(kind(), path)  # a run's own file names all options, with their defaults
    assert read_config(kind, path, {}) == kind()


@pytest.mark.parametrize(
    ("verb", "option"), [("head", "--inference-size"), ("restorer", "--scale"), ("decoder", "--cached-pairs")]
)
def test_options_that_a_stage_has_no_use_for_are_no_flags(tmp_path, verb, option):
    result = CliRunner().invoke(app, [verb, "--out", str(tmp_path), option, "64"])
    assert result.exit_code == 2
    assert "No such option" in result.output
