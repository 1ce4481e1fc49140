"""`glesam segment --text`, `--everything --label` and `glesam words`, end to end."""

from __future__ import annotations

import csv
import json
import shutil
import socket
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from glesam.cli import app
from glesam.masks.formats import PNG_KEY

PHOTOS = Path(__file__).parents[2] / "examples" / "photos"


def run(*arguments: str | Path) -> tuple[int, str]:
    result = CliRunner().invoke(app, [str(argument) for argument in arguments])
    return result.exit_code, result.output


def test_text_gives_named_objects_in_every_output(tmp_path: Path) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    shutil.copy(PHOTOS / "chelsea.jpg", photos / "cat.jpg")
    code, output = run("segment", photos, "--text", "cat; submarine", "--json", "--polygons", "-o", out)
    assert code == 0, output
    assert "expected to find submarine in cat.jpg, found none" in output
    document = json.loads((out / "cat.mask.json").read_text())
    assert document["categories"] == [{"id": 1, "name": "cat"}]
    features = json.loads((out / "cat.mask.geojson").read_text())["features"]
    assert {feature["properties"]["class"] for feature in features} == {"cat"}
    with (out / "results.csv").open(newline="") as stream:
        assert {row["class_name"] for row in csv.DictReader(stream)} == {"cat"}


def test_cat_cup_and_person_in_images_of_packages_are_named_in_one_command_without_a_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The images are scikit-image's own; no installed package brings a dog or a car."""

    def refuse(*_: object) -> None:
        raise AssertionError("expected no connection")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    code, output = run("segment", PHOTOS, "--text", "cat; cup; person", "-o", tmp_path)
    assert code == 0, output
    # Between the eyes, on the rim, on the face; and beside each of them.
    wanted = {
        "chelsea": ("cat", (220, 130), (440, 20)),
        "coffee": ("cup", (250, 240), (560, 30)),
        "astronaut": ("person", (220, 110), (320, 60)),
    }
    for name, (word, on, beside) in wanted.items():
        with Image.open(tmp_path / f"{name}.mask.png") as mask:
            names = dict(enumerate(json.loads(str(mask.info[PNG_KEY]))["class_names"], 1))
            assert names.get(mask.getpixel(on)) == word
            assert names.get(mask.getpixel(beside)) is None


def test_everything_with_labels_writes_the_map_of_classes(tmp_path: Path) -> None:
    small = tmp_path / "cat.jpg"
    Image.open(PHOTOS / "chelsea.jpg").resize((225, 150)).save(small)
    everything = ("segment", small, "--everything", "--points-per-side", "4", "--label", "-o", tmp_path)
    code, output = run(*everything, "--json")
    assert code == 0, output
    names = {each["name"] for each in json.loads((tmp_path / "cat.mask.json").read_text())["categories"]}
    with Image.open(tmp_path / "cat.classes.png") as image:
        assert image.mode == "P"
        assert set(json.loads(str(image.info[PNG_KEY]))["classes"].values()) == names
    # By examples: all that there is looks like the one class that was shown.
    (tmp_path / "shown" / "tom").mkdir(parents=True)
    small.rename(tmp_path / "shown" / "tom" / "a.jpg")
    Image.fromarray(np.arange(150 * 225).reshape(150, 225) % 225 < 99).save(tmp_path / "shown" / "tom" / "a.mask.png")
    shutil.copy(tmp_path / "shown" / "tom" / "a.jpg", small)
    code, output = run(*everything, "--label-by", f"examples:{tmp_path / 'shown'}", "--overwrite")
    assert code == 0, output
    with Image.open(tmp_path / "cat.classes.png") as image:
        assert set(json.loads(str(image.info[PNG_KEY]))["classes"].values()) == {"tom"}


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--text", " ; "], "expected at least one word"),
        (["--text", "dogg"], "did you mean 'dog'"),
        (["--text", "собака"], "expected English nouns"),
        (["--text", "cat", "--point", "1,2"], "expected --text or other prompts"),
        (["--text", "cat", "--tile", "1024"], "expected --text without --tile"),
        (["--text-model", "x", "--point", "1,2"], "expected --text beside --text-model"),
        (["--text", "cat", "--text-model", "no-such-folder"], "openai/clip-vit-base-patch16"),
        (["--label", "--point", "1,2"], "expected --label beside --everything"),
        (["--label-by", "offline", "--everything"], "expected --label beside --label-by"),
        (
            ["--everything", "--label", "--label-by", "clip:x", "--text-model", "x"],
            "expected --label-by or --text-model",
        ),
    ],
)
def test_wrong_use_is_one_line(options: list[str], said: str) -> None:
    code, output = run("segment", PHOTOS / "chelsea.jpg", *options)
    assert code == 2, output
    assert said in " ".join(output.split())


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--label-by", "ofline"], "did you mean 'offline'"),
        (["--label-by", "clip:no-such-folder"], "no-such-folder"),
        (["--text-model", "no-such-folder"], "no-such-folder"),
        (["--label-by", "examples:no-such-folder"], "none in no-such-folder"),
        (["--label-by", "examples:shown"], "the image beside shown/tom/a.mask.png, got (1, 4, 4); resize them"),
    ],
)
def test_a_wrong_labeler_is_told_before_any_image(
    options: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("expected to hear of it before a model is loaded")

    monkeypatch.setattr("glesam.predict.predictor.Predictor.from_pretrained", load)
    monkeypatch.chdir(tmp_path)
    Path("shown/tom").mkdir(parents=True)
    Image.new("RGB", (6, 5)).save("shown/tom/a.jpg")
    Image.fromarray(np.eye(4, dtype=bool)).save("shown/tom/a.mask.png")
    code, output = run("segment", PHOTOS, "--everything", "--label", *options, "-o", tmp_path / "out")
    assert code == 2, output
    assert said in " ".join(output.split())
    assert not (tmp_path / "out").exists()


def test_words_lists_and_explains() -> None:
    code, output = run("words")
    assert code == 0
    assert {"dog", "person", "building", "egyptian cat"} <= set(output.splitlines())
    assert "118 classes of ImageNet (Chihuahua" in run("words", "dog")[1]
    assert run("words", "eleplant")[0] == 2
