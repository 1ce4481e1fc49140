"""Options: files and flags, unknown keys with the nearest name, wrong values in one line."""

import hashlib
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_layouts import coco, pairs
from pydantic import ValidationError
from typer.testing import CliRunner

from glesam.cli.train import app
from glesam.cli.train_run import Run, open_data, read_run
from glesam.errors import ConfigError, DataError
from glesam.train.card import card
from glesam.train.config import (
    AutoencoderConfig,
    BaseConfig,
    DecoderConfig,
    EnhancerConfig,
    GainConfig,
    GateConfig,
    HeadConfig,
    PairConfig,
    PriorConfig,
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


@pytest.mark.parametrize("given", ["{root}/DUTS", "{root}/DUTS@TR", "duts-tr"])
def test_a_set_whose_reader_has_another_name_is_kept_aside_by_its_folder_too(tmp_path, given):
    pairs(tmp_path / "DUTS", "DUTS-TR-Image", "DUTS-TR-Mask", [str(number) for number in range(20)])
    pairs(tmp_path / "other" / "DUTS", "images", "masks", [str(number) for number in range(20)])
    data = {f"{tmp_path}/DUTS@TR": 1.0, f"{tmp_path}/other/DUTS": 1.0}
    options = BaseConfig(data=data, kept_aside=[given.format(root=tmp_path)])
    packs = open_data(options, Run(out=tmp_path / "run", cache=tmp_path / "cache"))[0]
    expected = [n for n in map(str, range(20)) if int(hashlib.sha256(n.encode()).hexdigest(), 16) % 5]
    assert packs[0].names == sorted(expected)
    assert (len(packs[1]), packs[1].name) == (20 - (given[-4:] == "DUTS") * (20 - len(expected)), "DUTS")


def test_a_set_that_is_kept_aside_as_a_whole_is_told(tmp_path):
    names = [n for n in map(str, range(40)) if int(hashlib.sha256(n.encode()).hexdigest(), 16) % 5 == 0]
    pairs(tmp_path / "few", "images", "masks", names)
    options = BaseConfig(data={str(tmp_path / "few"): 1.0}, kept_aside=["few"])
    with pytest.raises(DataError, match=rf"images of few to train on, got {len(names)}, all of them kept aside"):
        open_data(options, Run(out=tmp_path / "run", cache=tmp_path / "cache"))


def test_the_split_of_a_set_is_named_with_its_share(tmp_path):
    for split in ("train2017", "val2017"):
        coco(tmp_path / "coco", split)
    words = [f"{tmp_path}/coco@train2017:0.7", f"{tmp_path}/coco@val2017"]
    given = {"out": tmp_path / "run", "cache": tmp_path / "c", "val": words[1]}
    run, options = read_run(BaseConfig, None, given, words)
    assert list(options.data.values()) == [0.7, 1.0]
    packs, val = open_data(options, run)
    assert [pack.name for pack in packs] == ["instances_train2017", val.name]
    assert "* coco@train2017: 41% of the views\n* coco@val2017: 59% of the views" in card(options)


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
    (GainConfig, {"val": "set"}),
    (GainConfig, {"ema": 0.5}),
    (GainConfig, {"clip": 2.0}),
    (GainConfig, {"warmup": 3}),
    (GainConfig, {"hold": 0.5}),
    (SubjectConfig, {"val": "set"}),
    (SubjectConfig, {"kept_aside": ["set"]}),
    (TextConfig, {"val": "set"}),
    (TextConfig, {"kept_aside": ["set"]}),
    (PriorConfig, {"val": "set"}),
    (AutoencoderConfig, {"val_images": 3}),
    # Latents are kept whatever is said of prompts, which they do not have.
    (EnhancerConfig, {"prompts": 2}),
    (GateConfig, {"slots": 3}),
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
    ("verb", "option"),
    [
        ("head", "--inference-size"),
        ("restorer", "--scale"),
        ("decoder", "--cached-pairs"),
        ("gain", "--val"),
        ("prior", "--val"),
        ("subject", "--kept-aside"),
        ("enhancer", "--prompts"),
    ],
)
def test_options_that_a_stage_has_no_use_for_are_no_flags(tmp_path, verb, option):
    result = CliRunner().invoke(app, [verb, "--out", str(tmp_path), option, "64"])
    assert result.exit_code == 2
    assert "No such option" in result.output
