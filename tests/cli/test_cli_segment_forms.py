"""`glesam segment`: cut-outs, outlines by tolerance, boxes alone, and folders that are data sets at once."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from typer.testing import CliRunner, Result

from glesam import Masks, Predictor
from glesam.cli import app
from glesam.data.readers.registry import open_dataset
from glesam.draw.colours import colour
from glesam.folders.table import read_csv
from glesam.train.feed.pack import pack

Make = Callable[..., Path]
Call = Callable[..., Result]
BOXES = ["--box", "5,5,30,35", "--box", "30,2,58,38"]


@pytest.fixture
def call(tiny_model: Path) -> Call:
    def run(*words: object, **options: object) -> Result:
        found = ["segment", *map(str, words), "--model", str(tiny_model), "--device", "cpu"]
        return CliRunner().invoke(app, found, **options)  # type: ignore[arg-type]

    return run


def files(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_masks_can_be_seen_and_hold_the_same_ids(call: Call, photo: Make) -> None:
    path = photo("a.jpg")
    assert call(path, *BOXES, "--json").exit_code == 0
    image = Image.open(path.with_name("a.mask.png"))
    ids = np.asarray(image)
    by_opencv = cv2.cvtColor(cv2.imread(str(path.with_name("a.mask.png"))), cv2.COLOR_BGR2RGB)
    assert set(np.unique(ids)) == {0, 1, 2}
    for number in (1, 2):
        assert (by_opencv[ids == number] == colour(number - 1)).all()
    assert not by_opencv[ids == 0].any()


def test_a_cutout_holds_all_objects_and_is_cropped_to_them(call: Call, photo: Make, tmp_path: Path) -> None:
    path = photo("a.png", width=120, height=80)
    assert call(path, *BOXES, "--cutout").exit_code == 0
    whole = np.asarray(Image.open(path.with_name("a.cutout.png")))
    inside = np.asarray(Image.open(path.with_name("a.mask.png"))) > 0
    assert whole.shape == (80, 120, 4)
    assert (whole[..., 3] > 127)[inside].mean() > 0.9
    shown = whole[..., 3] > 0
    assert (whole[shown][:, :3] == np.asarray(Image.open(path))[shown]).all()
    assert call(path, *BOXES, "--cutout", "--crop", "-o", tmp_path / "cut.png").exit_code == 0
    assert not (tmp_path / "cut.mask.png").exists()
    ys, xs = np.nonzero(shown)
    np.testing.assert_array_equal(
        np.asarray(Image.open(tmp_path / "cut.png")), whole[ys.min() : ys.max() + 1, xs.min() : xs.max() + 1]
    )


def test_a_cutout_goes_to_stdout(call: Call, photo: Make) -> None:
    result = call(photo("a.png"), *BOXES, "--cutout", "-o", "-")
    assert Image.open(io.BytesIO(result.stdout_bytes)).mode == "RGBA"


def test_simpler_outlines_have_fewer_corners(call: Call, photo: Make, tmp_path: Path) -> None:
    path, corners = photo("a.png", width=240, height=160), []
    for tolerance in (0, 1, 6):
        target = tmp_path / f"{tolerance}.geojson"
        words = [] if tolerance == 1 else ["--simplify", tolerance]
        assert call(path, "--box", "20,20,200,140", "--polygons", *words, "-o", target).exit_code == 0
        (feature,) = json.loads(target.read_text())["features"]
        corners.append(sum(len(ring) for polygon in feature["geometry"]["coordinates"] for ring in polygon))
    assert corners[0] > corners[1] > corners[2]


def test_boxes_alone(call: Call, photo: Make, tmp_path: Path) -> None:
    path, out = photo("in/a.png"), tmp_path / "out"
    assert call(path.parent, *BOXES, "--boxes", "-o", out).exit_code == 0
    assert files(out) == ["a.boxes.json", "contact-sheet.jpg", "results.csv"]
    found = json.loads((out / "a.boxes.json").read_text())["annotations"]
    assert call(path, *BOXES, "--json", "-o", tmp_path / "full.json").exit_code == 0
    full = json.loads((tmp_path / "full.json").read_text())["annotations"]
    assert all("segmentation" not in each for each in found)
    assert [each["bbox"] for each in found] == [coco_mask.toBbox(each["segmentation"]).tolist() for each in full]
    rows = read_csv(out / "results.csv")
    for note in out.glob(".glesam*"):  # what was noted of the run is gone: rows come from the boxes
        note.unlink() if note.is_file() else None
    (out / "results.csv").unlink()
    assert call(path.parent, *BOXES, "--boxes", "-o", out).exit_code == 0
    again = read_csv(out / "results.csv")
    assert [(r.file, r.bbox_x, r.bbox_width, r.area) for r in again] == [
        (r.file, r.bbox_x, r.bbox_width, r.area) for r in rows
    ]


def test_a_folder_becomes_a_data_set(call: Call, photo: Make, tmp_path: Path) -> None:
    for number, name in enumerate(("a.jpg", "sub/b.png", "sub/a.webp")):
        photo(f"in/{name}", seed=number)
    (tmp_path / "in" / "notes.txt").write_text("no image")
    out = tmp_path / "set"
    words = [tmp_path / "in", "-r", *BOXES, "--layout", "dataset", "-o", out]
    result = call(*words)
    assert result.exit_code == 0, result.output
    assert "1 file is no image and is left out, such as" in result.stderr
    names = ["a", "sub_a", "sub_b"]
    assert files(out / "masks") == [f"{name}.png" for name in names]
    assert (out / "images" / "a.jpg").read_bytes() == (tmp_path / "in" / "a.jpg").read_bytes()
    dataset = open_dataset(out)
    assert dataset.names == names
    for index, name in enumerate(names):
        np.testing.assert_array_equal(dataset[index].mask, np.asarray(Image.open(out / "masks" / f"{name}.png")))
    checked = CliRunner().invoke(app, ["data", "check", str(out)])
    assert checked.exit_code == 0, checked.output
    assert len(pack(dataset, tmp_path / "cache")) == 3, "glesam train packs it as it is"
    assert "3 skipped" in call(*words).stderr


def test_images_without_objects_and_in_their_place_are_left(call: Call, photo: Make, tmp_path: Path) -> None:
    path = photo("set/images/a.png")
    before = path.stat().st_mtime_ns
    assert call(path.parent, *BOXES, "--layout", "dataset", "-o", tmp_path / "set").exit_code == 0
    assert path.stat().st_mtime_ns == before
    assert (tmp_path / "set" / "masks" / "a.png").exists()
    flat = tmp_path / "flat.png"
    Image.new("L", (60, 40), 0).save(flat)
    heat = tmp_path / "heat.npy"
    np.save(heat, np.zeros((40, 60), np.float32))
    result = call(flat, "--heat-map", heat, "--layout", "dataset", "-o", tmp_path / "none")
    if result.exit_code == 0:
        assert "nothing found, left out of the data set" in result.stderr
    assert [name for name in files(tmp_path / "none") if name.startswith(("images", "masks"))] == []


def test_what_is_not_found_any_more_leaves_the_data_set(
    call: Call, photo: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, predict = tmp_path / "set", Predictor.predict
    for number, name in enumerate(("a.jpg", "b.jpg")):
        photo(f"in/{name}", seed=number)
    photo("set/images/c.png", seed=2)
    words = [tmp_path / "in", out / "images" / "c.png", *BOXES, "--layout", "dataset", "--labels", "labelme", "-o", out]
    assert call(*words).exit_code == 0
    assert files(out / "masks") == ["a.png", "b.png", "c.png"]

    def found_in_a(self: Predictor, *rest: object, **more: object) -> Masks:
        masks = predict(self, *rest, **more)
        return masks if masks.name == "a.jpg" else Masks(masks.masks & False, masks.scores, name=masks.name)

    monkeypatch.setattr(Predictor, "predict", found_in_a)
    result = call(*words, "--overwrite")
    assert result.exit_code == 0, result.output
    assert "b.jpg: nothing found, left out of the data set" in result.stderr
    assert files(out / "masks") == ["a.png"]
    assert files(out / "images") == ["a.jpg", "a.json", "c.png"], "an image of the user's own stays"
    assert {row.file for row in read_csv(out / "results.csv")} == {"a.jpg"}


def test_outputs_that_are_kept_keep_their_rows(
    call: Call, photo: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo("in/a.jpg"), photo("in/b.jpg", seed=1)
    words = [tmp_path / "in", *BOXES, "--layout", "dataset", "-o", tmp_path / "set"]
    assert call(*words).exit_code == 0
    nothing = Masks(np.zeros((1, 40, 60), bool), np.zeros(1, np.float32))
    monkeypatch.setattr(Predictor, "predict", lambda *_, **__: nothing)
    (tmp_path / "set" / "images" / "b.jpg").unlink()
    assert call(*words).exit_code == 0
    assert files(tmp_path / "set" / "masks") == ["a.png", "b.png"]
    assert {row.file for row in read_csv(tmp_path / "set" / "results.csv")} == {"a.jpg", "b.jpg"}


@pytest.mark.parametrize(
    ("words", "part"),
    [
        (["--crop"], "expected --cutout beside --crop"),
        (["--simplify", "2"], "expected --polygons or --labels beside --simplify"),
        (["--layout", "dataset"], "expected -o FOLDER for --layout dataset"),
        (["--layout", "dataset", "--boxes", "-o", "out"], "expected masks for --layout dataset"),
        (["--layout", "dataset", "-o", "out.png"], "expected -o FOLDER for --layout dataset"),
    ],
)
def test_options_that_lack_another_are_refused(call: Call, photo: Make, words: list[str], part: str) -> None:
    result = call(photo("a.png"), *BOXES, *words)
    assert result.exit_code == 2
    assert part in result.stderr


def test_names_that_meet_without_folders_are_refused(call: Call, photo: Make, tmp_path: Path) -> None:
    photo("in/x_a.png")
    photo("in/x/a.png")
    result = call(tmp_path / "in", "-r", *BOXES, "--layout", "dataset", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "differ without folders" in result.stderr


def test_labels_of_other_programs_lie_where_these_look(call: Call, photo: Make, tmp_path: Path) -> None:
    path = photo("in/a.png")
    words = [path, *BOXES, "--labels", "labelme", "--labels", "yolo"]
    assert call(*words).exit_code == 0
    assert files(path.parent) == ["a.json", "a.mask.png", "a.png", "a.txt"]
    assert json.loads(path.with_name("a.json").read_text())["imagePath"] == "a.png"
    result = call(*words, "--layout", "dataset", "-o", tmp_path / "set")
    assert result.exit_code == 0, result.output
    assert {"images/a.png", "images/a.json", "labels/a.txt", "masks/a.png"} <= set(files(tmp_path / "set"))
    assert json.loads((tmp_path / "set" / "images" / "a.json").read_text())["imagePath"] == "a.png"
    assert open_dataset(tmp_path / "set").names == ["a"]
    away = tmp_path / "out"
    assert call(path, *BOXES, "--labels", "labelme", "-o", away).exit_code == 0
    assert (away / json.loads((away / "a.json").read_text())["imagePath"]).resolve() == path
    result = call(path, "--everything", "--label", "--labels", "yolo")
    assert result.exit_code == 2
    assert "expected --text beside --labels yolo" in result.stderr


def test_two_kinds_of_one_file_are_refused(call: Call, photo: Make, tmp_path: Path) -> None:
    path, out = photo("a.png"), tmp_path / "out.json"
    result = call(path, *BOXES, "--json", "--labels", "labelme", "-o", out)
    assert result.exit_code == 2
    assert "expected another file for labelme" in result.stderr
    assert not out.exists()
    assert call(path, *BOXES, "--labels", "labelme", "-o", out).exit_code == 0
    assert "shapes" in json.loads(out.read_text())


@pytest.mark.parametrize("values", [None, np.zeros(3, [("x", "f4"), ("y", "f4")])])
def test_an_array_that_is_no_map_is_one_line(call: Call, photo: Make, tmp_path: Path, values: np.ndarray) -> None:
    heat = tmp_path / "heat.npy"
    heat.touch() if values is None else np.save(heat, values)
    result = call(photo("a.png"), "--heat-map", heat, "-o", tmp_path / "out.png")
    assert result.exit_code == 2
    assert "expected numbers (h, w) in" in result.stderr
