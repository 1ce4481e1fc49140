"""`glesam segment` with examples, start masks and heat maps: what it writes, resumes and refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tifffile
from PIL import Image
from typer.testing import CliRunner, Result

from glesam import Masks, Predictor
from glesam.cli import app
from glesam.cli.segment.derived import _masks_of

Make = Callable[..., Path]
Call = Callable[..., Result]


@pytest.fixture
def call(tiny_model: Path) -> Call:
    """Run `glesam segment ...` in this process, with the tiny model."""

    def run(*arguments: object) -> Result:
        words = ["segment", *map(str, arguments), "--model", str(tiny_model), "--device", "cpu", "--enhance", "off"]
        return CliRunner().invoke(app, words)

    return run


@pytest.fixture
def marks(tmp_path: Path) -> Path:
    """A mask of two colours for 60 x 40 pixels, beside where `photo("ref.jpg")` lies."""
    painted = np.zeros((40, 60, 3), np.uint8)
    painted[5:20, 5:25], painted[22:38, 30:55] = (255, 0, 0), (0, 0, 255)
    path = tmp_path / "ref.mask.png"
    Image.fromarray(painted).save(path)
    return path


def test_a_folder_is_searched_and_resumed(call: Call, photo: Make, marks: Path, tmp_path: Path) -> None:
    reference = photo("ref.jpg")
    for index in range(2):
        photo(f"in/{index}.jpg", seed=index + 1)
    words = (tmp_path / "in", "--like", reference, "--likeness", 0.1, "-o", tmp_path / "out")
    first = call(*words, "--feature-cache", tmp_path / "features")
    assert first.exit_code == 0, first.output
    assert sorted(p.name for p in (tmp_path / "out").glob("*.mask.png")) == ["0.mask.png", "1.mask.png"]
    assert Image.open(tmp_path / "out" / "0.mask.png").size == (60, 40)
    assert len(list((tmp_path / "features").glob("*.npz"))) == 3  # the reference's too
    second = call(*words)
    assert "2 skipped" in second.output


def test_several_examples_and_what_is_not_wanted_are_remembered_as_such(
    call: Call, photo: Make, marks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember, seen = Predictor.remember_file, []

    def recorded(self: Predictor, image: np.ndarray, mask: np.ndarray, negative: bool, name: str) -> None:
        seen.append((name, len(mask), negative))
        remember(self, image, mask, negative, name)

    monkeypatch.setattr(Predictor, "remember_file", recorded)
    names = ("ref.jpg", "second.jpg", "rust.jpg")
    first, second, rust = (photo(name) for name in names)
    for name in names[1:]:
        shutil.copy(marks, tmp_path / name.replace(".jpg", ".mask.png"))
    done = call(photo("in/0.jpg"), "--like", first, "--like", second, "--unlike", rust, "-o", tmp_path / "out.png")
    assert done.exit_code == 0, done.output
    assert seen == [("ref.jpg", 2, False), ("second.jpg", 2, False), ("rust.jpg", 2, True)]


def test_no_image_is_searched_with_a_part_of_the_examples(call: Call, photo: Make, marks: Path, tmp_path: Path) -> None:
    """As where the second of two examples was removed: its marks are there, the image is not."""
    reference = photo("ref.jpg")
    shutil.copy(marks, tmp_path / "gone.mask.png")
    for index in range(3):
        photo(f"in/{index}.jpg", seed=index + 1)
    failed = call(tmp_path / "in", "--like", reference, "--like", tmp_path / "gone.jpg", "-o", tmp_path / "out")
    assert failed.exit_code == 1
    assert "3 failed" in failed.output
    assert not list((tmp_path / "out").glob("*.mask.png"))


def test_range_and_bands_hold_for_the_examples_too(
    call: Call, marks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember, seen = Predictor.remember_file, []

    def recorded(self: Predictor, image: np.ndarray, *rest: object) -> None:
        seen.append(image.copy())
        remember(self, image, *rest)

    monkeypatch.setattr(Predictor, "remember_file", recorded)
    bands = np.random.default_rng(0).integers(0, 3001, (40, 60, 5)).astype(np.uint16)
    for name in ("ref.tif", "searched.tif"):
        tifffile.imwrite(tmp_path / name, bands, photometric="minisblack", planarconfig="contig")
    words = ("--like", tmp_path / "ref.tif", "--range", "0,3000", "--bands", "5,3,1")
    done = call(tmp_path / "searched.tif", *words, "-o", tmp_path / "out.png")
    assert done.exit_code == 0, done.output
    np.testing.assert_array_equal(seen[0], np.floor(bands[..., [4, 2, 0]] / 3000 * 255 + 0.5))


def test_a_painted_mask_is_corrected_colour_by_colour(call: Call, photo: Make, marks: Path, tmp_path: Path) -> None:
    done = call(photo("ref.jpg"), "--start-mask", marks, "-o", tmp_path / "out.png")
    assert done.exit_code == 0, done.output
    ids = np.asarray(Image.open(tmp_path / "out.png"))
    assert ids.shape == (40, 60)
    assert ids.max() <= 2
    folder = call(photo("ref.jpg"), "--start-mask", tmp_path, "-o", tmp_path / "again.png")
    assert folder.exit_code == 0, folder.output
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "again.png")), ids)


def test_an_image_is_no_start_mask_and_no_heat_map_of_itself(call: Call, photo: Make, tmp_path: Path) -> None:
    for name, option in (("a.png", "--start-mask"), ("b.jpg", "--heat-map"), ("c.png", "--heat-map")):
        image = photo(f"in/{name}")
        (tmp_path / "linked").unlink(missing_ok=True)
        (tmp_path / "linked").symlink_to(tmp_path / "in")
        for folder in (tmp_path / "in", tmp_path / "linked"):
            refused = call(image, option, folder, "-o", tmp_path / "out.png")
            assert refused.exit_code == 2, refused.output
            assert f"in {folder} for {name}, found none" in refused.output


def test_earlier_answers_are_found_where_names_meet(
    call: Call, photo: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    photo("in/cat.jpg"), photo("in/cat.png", seed=1)
    first = call(tmp_path / "in", "--box", "5,5,30,35", "-o", tmp_path / "out")
    assert first.exit_code == 0, first.output
    left = {name: np.zeros((40, 60), bool) for name in ("cat.jpg", "cat.png")}
    left["cat.jpg"][5:15, 5:25], left["cat.png"][20:35, 30:50] = True, True
    for name, mask in left.items():
        Image.fromarray(mask).save(tmp_path / "out" / f"{name}.mask.png")
    seen: list[np.ndarray] = []
    correct = Predictor.predict_from_masks

    def recorded(self: Predictor, masks: np.ndarray) -> Masks:
        seen.append(masks)
        return correct(self, masks)

    monkeypatch.setattr(Predictor, "predict_from_masks", recorded)
    second = call(tmp_path / "in", "--start-mask", tmp_path / "out", "-o", tmp_path / "better")
    assert second.exit_code == 0, second.output
    for found, mask in zip(seen, left.values(), strict=True):
        np.testing.assert_array_equal(found[0], mask)
    Image.fromarray(~left["cat.jpg"]).save(tmp_path / "in" / "cat.mask.png")
    shutil.copy(tmp_path / "out" / "cat.jpg.mask.png", tmp_path / "in")
    assert _masks_of([str(tmp_path / "in" / "cat.jpg")], []) == [tmp_path / "in" / "cat.jpg.mask.png"]
    assert _masks_of([str(tmp_path / "in" / "cat.png")], []) == [tmp_path / "in" / "cat.mask.png"]


def test_a_cache_that_cannot_be_written_is_named(call: Call, photo: Make, marks: Path, tmp_path: Path) -> None:
    for index in range(2):
        photo(f"in/{index}.jpg", seed=index)
    (tmp_path / "taken").write_text("no folder")
    out = tmp_path / "out"
    features = call(tmp_path / "in", "--like", photo("ref.jpg"), "--feature-cache", tmp_path / "taken", "-o", out)
    restored = call(
        tmp_path / "in", "--box", "5,5,30,35", "--restore", "gamma:2", "--restore-cache", tmp_path / "taken", "-o", out
    )
    for failed in (features, restored):
        assert failed.exit_code == 1
        assert f"expected to write into {tmp_path / 'taken'}" in failed.output
        assert f"expected to write into {out}" not in failed.output
        assert "2 failed" in failed.output, "the images are named, and the run comes to its end"


def test_heat_maps_are_read_from_arrays_and_images(call: Call, photo: Make, tmp_path: Path) -> None:
    ys, xs = np.mgrid[:40, :60]
    heat = np.exp(-((xs - 30) ** 2 + (ys - 20) ** 2) / 100)
    np.save(tmp_path / "heat.npy", heat)
    Image.fromarray((heat * 255).astype(np.uint8)).save(tmp_path / "heat.png")
    image = photo("a.jpg")
    for name in ("heat.npy", "heat.png"):
        done = call(image, "--heat-map", tmp_path / name, "-o", tmp_path / f"{name}.png")
        assert done.exit_code == 0, done.output


def test_doubtful_clicks_are_asked_for_with_clicks_only(call: Call, photo: Make, tmp_path: Path) -> None:
    clicks = ("--point", "10,10", "--point", "50,30", "--point", "12,12")
    done = call(photo("a.jpg"), *clicks, "--check-prompts", "-o", tmp_path / "out.png")
    assert done.exit_code == 0, done.output
    assert call(photo("a.jpg"), "--everything", "--check-prompts").exit_code == 2


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--like", "ref.jpg", "--subject"), "ask for one at a time"),
        (("--like", "ref.jpg", "--point", "1,1"), "leave --point"),
        (("--like-mask", "ref.mask.png"), "expected --like beside --like-mask"),
        (("--like", "other.jpg"), "expected the marks of other.jpg"),
        (("--likeness", "0.5", "--point", "1,1"), "expected --like beside --likeness"),
        (("--likeness", "0", "--point", "1,1"), "expected --like beside --likeness"),
        (("--like", "ref.jpg", "--likeness", "7"), "expected a threshold from 0 to 1, got 7.0"),
        (("--subject", "--multimask"), "expected --multimask beside clicks and boxes only"),
        (("--like", "ref.jpg", "--multimask"), "leave --multimask out"),
        (("--start-mask", "ref.mask.png", "--multimask"), "leave --multimask out"),
        (("--heat-map", "ref.jpg", "--multimask"), "leave --multimask out"),
        (("--text", "cat", "--multimask"), "leave --multimask out"),
        (("--everything", "--multimask"), "leave --multimask out"),
        (("--point", "1,1", "--frame", "5"), "expected a clip or a camera beside --frame, got images"),
        (("--subject", "--max-frames", "5"), "leave --max-frames out"),
        (("--point", "1,1", "--max-frames", "5", "--correct", "c.json"), "leave --max-frames and --correct out"),
        (("--subject", "--tile", "512"), "leave --tile out"),
    ],
)
def test_what_does_not_go_together_is_refused(
    call: Call,
    photo: Make,
    marks: Path,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    options: tuple[str, ...],
    words: str,
) -> None:
    photo("ref.jpg")
    monkeypatch.chdir(tmp_path)
    refused = call("ref.jpg", *options)
    assert refused.exit_code == 2
    assert words in " ".join(refused.output.split())
    assert refused.output.count("\n") == 1


def test_a_likeness_that_is_none_is_told_before_any_image(
    call: Call, photo: Make, marks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def load(*_: object, **__: object) -> None:
        raise AssertionError("expected to hear of it before a model is loaded")

    monkeypatch.setattr(Predictor, "from_pretrained", load)
    for index in range(2):
        photo(f"in/{index}.jpg")
    refused = call(tmp_path / "in", "--like", photo("ref.jpg"), "--likeness", "-0.1", "-o", tmp_path / "out")
    assert refused.exit_code == 2
    assert refused.output.count("\n") == 1


def test_a_start_mask_of_another_size_fails_its_image(call: Call, photo: Make, marks: Path, tmp_path: Path) -> None:
    refused = call(photo("large.jpg", width=80), "--start-mask", marks, "-o", tmp_path / "out.png")
    assert refused.exit_code == 2
    assert "80x40" in refused.output
