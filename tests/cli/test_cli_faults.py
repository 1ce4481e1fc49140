"""What a hostile folder, a full disk or a bad number does to a command: one line, the others done."""

import errno
import json
import os

import cv2
import numpy as np
import pytest
import skimage.data
import tifffile
import torch
from typer.testing import CliRunner

from glesam import Predictor
from glesam.cli import app
from glesam.cli.common import describe
from glesam.common.files import plain_path, write_bytes
from glesam.errors import ConfigError, ModelError, PromptError
from glesam.images.sources import iterate
from glesam.models.sam.original import load_checkpoint
from glesam.train.config import BaseConfig, read_config


def run(*arguments):
    return CliRunner().invoke(app, [*map(os.fspath, arguments)])


def photo(path):
    content = cv2.imencode(".jpg", skimage.data.cat()[:90, :120, ::-1])[1].tobytes()
    with open(os.fsencode(path), "wb") as stream:
        stream.write(content)


def test_names_too_long_hostile_or_no_utf8_cost_one_line_each(tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    for name in (b"b.jpg", b"x" * 250 + b".jpg", b"bad\xff.jpg", b"\x1b]0;owned\x07.jpg"):
        photo(os.fsencode(folder) + b"/" + name)
    os.mkfifo(folder / "pipe.jpg")
    result = run("segment", folder, "--point", "60,40", "--enhance", "off", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert "3 segmented, 0 skipped, 1 failed" in result.stderr
    assert "pipe.jpg" in result.stderr
    assert "\x1b" not in result.stderr
    assert "Traceback" not in result.output
    assert len([name for name in os.listdir(os.fsencode(tmp_path / "out")) if name.endswith(b".mask.png")]) == 3
    assert run("segment", folder, "--point", "60,40", "--enhance", "off", "-o", tmp_path / "out").exit_code == 1


def test_links_to_folders_are_followed_once(tmp_path):
    (tmp_path / "a").mkdir()
    photo(tmp_path / "a" / "x.jpg")
    (tmp_path / "a" / "up").symlink_to(tmp_path)
    (tmp_path / "elsewhere").mkdir()
    photo(tmp_path / "elsewhere" / "y.jpg")
    (tmp_path / "a" / "link").symlink_to(tmp_path / "elsewhere")
    assert sorted(source.name.rsplit("/", 1)[-1] for source in iterate(tmp_path / "a", recursive=True)) == [
        "x.jpg",
        "y.jpg",
    ]


def test_a_full_disk_is_said_with_its_cure():
    assert describe(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))) == "No space left on device; free some space"


def test_files_get_the_rights_of_the_umask_without_changing_it(tmp_path, monkeypatch):
    write_bytes(tmp_path / "a", b"x")
    monkeypatch.setattr(os, "umask", lambda mask: pytest.fail("the umask was changed"))
    write_bytes(tmp_path / "b", b"x")
    assert (tmp_path / "b").stat().st_mode == (tmp_path / "a").stat().st_mode


def test_libraries_get_a_path_that_is_utf8(tmp_path):
    path = tmp_path / os.fsdecode(b"bad\xff.jpg")
    photo(path)
    with plain_path(path) as plain:
        assert str(plain).isascii()
        assert cv2.imread(str(plain)).shape == (90, 120, 3)
    assert not plain.exists()


@pytest.mark.parametrize("value", ["nan", "inf", "-1", "0"])
def test_impossible_limits_of_the_server_are_one_line(value):
    result = run("serve", f"--max-megabytes={value}")
    assert result.exit_code == 2
    assert "expected --max-megabytes above 0" in result.stderr


@pytest.mark.parametrize("values", [[], {"seed": -1}, {"prompts": 0}, {"workers": -3}, {"lr": 0}, {"stepz": 1}, None])
def test_training_options_that_do_not_fit_are_one_line(values, tmp_path):
    path = tmp_path / "c.json"
    path.write_text(json.dumps(values))
    with pytest.raises(ConfigError) as caught:
        read_config(BaseConfig, path, {})
    assert "\n" not in str(caught.value)
    path.write_text("[" * 3000)
    with pytest.raises(ConfigError, match="nested too deeply"):
        read_config(BaseConfig, path, {})


@pytest.mark.parametrize(("name", "meant"), [("box", "boxes"), ("point_coords", "points"), ("point_labels", "labels")])
def test_arguments_by_other_names_are_told(name, meant):
    predictor = Predictor.from_pretrained("compact", enhance="off")
    predictor.set_image(skimage.data.cat()[:90, :120])
    with pytest.raises(PromptError, match=f"got '{name}'.*'{meant}'"):
        predictor.predict(**{name: [1, 2, 3, 4]})


@pytest.mark.parametrize(
    "state",
    [
        {"image_encoder.patch_embed.proj.weight": torch.zeros(())},
        {"image_encoder.patch_embed.proj.weight": torch.zeros(4, 3, 2, 2)},
        {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(())},
        {"image_encoder.trunk.patch_embed.proj.weight": torch.zeros(0)},
        {1: torch.zeros(1)},
        {},
    ],
)
def test_hostile_weight_files_are_one_line(state, tmp_path):
    torch.save(state, tmp_path / "x.pth")
    with pytest.raises(ModelError) as caught:
        load_checkpoint(tmp_path / "x.pth")
    assert "\n" not in str(caught.value)


def test_prompts_with_a_mark_of_byte_order_are_read(tmp_path):
    photo(tmp_path / "a.jpg")
    (tmp_path / "p.json").write_text('{"a.jpg": [{"points": [[75, 50]]}]}', encoding="utf-8-sig")
    arguments = ("segment", tmp_path / "a.jpg", "--prompts", tmp_path / "p.json", "--enhance", "off")
    assert run(*arguments, "-o", tmp_path / "out").exit_code == 0


def test_sixteen_bits_of_low_range_are_segmented_with_a_word(tmp_path):
    values = skimage.data.cat()[:90, :120, 0].astype(np.uint16) * 16
    cv2.imwrite(str(tmp_path / "a.png"), values)
    assert run("segment", tmp_path / "a.png", "--point", "60,40", "-o", tmp_path / "out").exit_code == 0


def test_range_and_bands_are_chosen_and_written(tmp_path):
    values = np.zeros((40, 60, 5), np.uint16)
    values[..., 3] = np.linspace(0, 4080, 60)
    tifffile.imwrite(tmp_path / "a.tif", values, photometric="minisblack", planarconfig="contig")
    arguments = ("segment", tmp_path / "a.tif", "--box", "20,5,50,30", "--enhance", "off", "--json", "--overlay")
    assert run(*arguments, "--range", "0,4080", "--bands", "4,4,1", "-o", tmp_path / "out").exit_code == 0
    told = json.loads((tmp_path / "out" / "a.mask.json").read_text())["info"]["reading"]
    assert told == {"range": [0, 4080], "bands": [4, 4, 1]}
    shown = cv2.imread(str(tmp_path / "out" / "a.overlay.png"))[38]  # BGR, below the box
    np.testing.assert_allclose(shown[:, 2], np.linspace(0, 255, 60), atol=1)
    assert not shown[:, 0].any()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--range", "9,1"), "whose low value is below"),
        (("--bands", "0,1,2"), "three numbers of bands from 1"),
        (("--bands", "4,3,2"), "bands of 1 to 3 for"),
    ],
)
def test_ranges_and_bands_that_do_not_fit_are_one_line(tmp_path, options, told):
    photo(tmp_path / "a.jpg")
    result = run("segment", tmp_path / "a.jpg", "--point", "5,5", *options, "-o", tmp_path / "out")
    assert result.exit_code in (1, 2)
    assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("degrade", "{}/images", "--level", "1", "--workers", "1", "-o", "{}/out"),
        ("data", "check", "{}", "--contact-sheet", "{}/sheet.png"),
        ("data", "build", "{}", "--levels", "1", "--workers", "1", "-o", "{}/out"),
    ],
)
def test_every_verb_shows_names_without_what_a_terminal_acts_on(tmp_path, words):
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for name in (b"bad\xff", b"\x1b]0;owned\x07", b"cut\x1b]0;owned\x07"):
        path = os.fsencode(tmp_path / "images") + b"/" + name + b".jpg"
        photo(path)
        if name.startswith(b"cut"):
            os.truncate(path, 60)
        content = cv2.imencode(".png", np.tri(90, 120, dtype=np.uint8))[1].tobytes()
        with open(os.fsencode(tmp_path / "masks") + b"/" + name + b".png", "wb") as stream:
            stream.write(content)
    result = run(*(word.format(tmp_path) for word in words))
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit)
    assert r"cut\x1b]0;owned" in result.output
    assert "\x1b]" not in result.output
