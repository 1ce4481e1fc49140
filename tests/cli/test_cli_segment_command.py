"""`glesam segment` on a real (tiny, random) model: what it writes, where, and what it says of bad input."""

from __future__ import annotations

import functools
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from typer.testing import CliRunner, Result

from glesam import Predictor, Prompts
from glesam.cli import app
from glesam.cli.segment import outputs
from glesam.errors import ConfigError
from glesam.images.sources import iterate
from glesam.masks.masks import Masks

Make = Callable[..., Path]
Call = Callable[..., Result]


@pytest.fixture
def call(tiny_model: Path) -> Call:
    """Run `glesam segment ...` in this process, with the tiny model unless another is named."""

    def run(*arguments: object, stdin: bytes | None = None) -> Result:
        words = ["segment", *map(str, arguments)]
        for option, value in (("--model", str(tiny_model)), ("--device", "cpu")):
            if option not in words:
                words += [option, value]
        return CliRunner().invoke(app, words, input=stdin)

    return run


@pytest.fixture
def command(tiny_model: Path) -> list[str]:
    """Words of a call in a process of its own."""
    return [sys.executable, "-m", "glesam", "segment", "--model", str(tiny_model), "--device", "cpu"]


def arrays_of(path: Path) -> dict[str, np.ndarray]:
    """All arrays of a file, which is closed again."""
    with np.load(path) as arrays:
        return dict(arrays)


def refused(result: Result, status: int, *parts: str) -> None:
    """One line on stderr with these parts, nothing on stdout, the right status, no traceback."""
    assert result.exit_code == status, result.output
    assert isinstance(result.exception, (SystemExit, type(None))), result.exception
    assert result.stdout == ""
    errors = result.stderr.splitlines()
    assert len(errors) == 1, result.stderr
    for part in ("glesam: error: ", *parts):
        assert part in errors[0]


def ids(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path))


def expected(model: Path, photo: Path, **prompts: object) -> Masks:
    predictor = Predictor.from_pretrained(model)
    predictor.set_image(photo)
    return predictor.predict(**prompts)  # type: ignore[arg-type]


SUMMARIES = {"results.csv", "contact-sheet.jpg"}  # of a folder job; see test_cli_folder_mode.py


def files(folder: Path) -> list[str]:
    found = (p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())
    return sorted(name for name in found if name not in SUMMARIES)


# --- what is written


def test_mask_lies_beside_the_photo(call: Call, photo: Make, tiny_model: Path) -> None:
    path = photo("a b.jpg")
    result = call(path, "--point", "20,10", "--point", "50,30,0")
    assert result.exit_code == 0, result.output
    assert files(path.parent) == ["a b.jpg", "a b.mask.png"]
    want = expected(tiny_model, path, points=[[20, 10], [50, 30]], labels=[1, 0])
    assert 0 < want.masks.sum() < want.masks.size, "the test needs a mask that is neither empty nor full"
    assert np.array_equal(ids(path.with_name("a b.mask.png")), want.masks[0])
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"glesam: a b.jpg: 1 mask (score {want.scores[0]:.2f}) -> {path.with_name('a b.mask.png')}"
    ]


def test_points_are_one_object_and_each_box_is_one_more(call: Call, photo: Make, tiny_model: Path) -> None:
    path = photo("a.jpg")
    boxes = ["--box", "5,5,30,35", "--box", "30,2,58,38"]
    assert call(path, *boxes, "--point", "20,10", "--point", "8,30", "--npz").exit_code == 0
    got = arrays_of(path.with_name("a.mask.npz"))["masks"]
    points = expected(tiny_model, path, points=[[20, 10], [8, 30]])
    framed = expected(tiny_model, path, boxes=[[5, 5, 30, 35], [30, 2, 58, 38]])
    assert np.array_equal(got, np.concatenate([points.masks, framed.masks]))


def test_all_formats(call: Call, photo: Make, tiny_model: Path) -> None:
    path = photo("a.png")
    boxes = [[5, 5, 30, 35], [30, 2, 58, 38]]
    flags = ["--overlay", "--json", "--polygons", "--npz", "--multimask"]
    assert call(path, *flags, "--box", "5,5,30,35", "--box", "30,2,58,38").exit_code == 0
    assert files(path.parent) == [
        "a.mask.geojson",
        "a.mask.json",
        "a.mask.npz",
        "a.mask.png",
        "a.overlay.png",
        "a.png",
    ]
    want = expected(tiny_model, path, boxes=boxes, multimask=True)
    document = json.loads(path.with_name("a.mask.json").read_text())
    for mask, score, entry in zip(want.masks, want.scores, document["annotations"], strict=True):
        assert isinstance(entry["segmentation"]["counts"], str)
        assert np.array_equal(coco_mask.decode(entry["segmentation"]), mask)
        assert entry["score"] == pytest.approx(score)
        assert entry["bbox"] == pytest.approx(coco_mask.toBbox(entry["segmentation"]))
    assert document["info"] == {**want.info, "model": str(tiny_model), "enhanced": False}
    assert re.fullmatch("[0-9a-f]{16}", document["info"]["weights"])
    assert document["images"][0]["file_name"] == "a.png"
    arrays = arrays_of(path.with_name("a.mask.npz"))
    assert np.array_equal(arrays["candidates"], want.candidates)
    assert arrays["candidate_scores"].shape == (2, 3)
    assert len(json.loads(path.with_name("a.mask.geojson").read_text())["features"]) == 2
    drawn = np.asarray(Image.open(path.with_name("a.overlay.png")))
    changed = (drawn != np.asarray(Image.open(path))).any(axis=2)
    assert changed[want.masks.any(axis=0)].mean() > 0.95
    assert not changed[~want.masks.any(axis=0)].any()


def test_masks_have_the_size_that_the_user_sees(call: Call, tmp_path: Path) -> None:
    path = tmp_path / "turned.jpg"
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: shown with width and height exchanged
    Image.new("RGB", (60, 40)).save(path, exif=exif)
    assert call(path, "--point", "39,59").exit_code == 0
    assert ids(tmp_path / "turned.mask.png").shape == (60, 40)
    refused(call(path, "--point", "59,39", "--overwrite"), 2, "40x60")


def test_prompts_file_with_several_objects_for_each_photo(call: Call, photo: Make, tiny_model: Path) -> None:
    a, b = photo("in/a.jpg", seed=1), photo("in/sub/b.jpg", seed=2)
    prompts = a.parents[1] / "prompts.json"
    one = [{"points": [[20, 10], [8, 30]], "labels": [1, 0]}, {"box": [5, 5, 30, 35]}]
    two = [{"box": [5, 5, 30, 35], "points": [[9, 9]]}]
    prompts.write_text(json.dumps({"a.jpg": one, "sub/b.jpg": two}))
    out = a.parents[1] / "out"
    result = call(a.parent, "--prompts", prompts, "-o", out, "--npz", "-r")
    assert result.exit_code == 0, result.output
    assert files(out) == ["a.mask.npz", "a.mask.png", "sub/b.mask.npz", "sub/b.mask.png"]
    first = arrays_of(out / "a.mask.npz")["masks"]
    assert np.array_equal(first[0], expected(tiny_model, a, points=[[20, 10], [8, 30]], labels=[1, 0]).masks[0])
    assert np.array_equal(first[1], expected(tiny_model, a, boxes=[5, 5, 30, 35]).masks[0])
    joined = expected(tiny_model, b, boxes=[5, 5, 30, 35], points=[[9, 9]])
    assert np.array_equal(arrays_of(out / "sub/b.mask.npz")["masks"], joined.masks)
    # A file that is named outright is found under the longer key too.
    assert call(b, "--prompts", prompts, "-o", out / "again.npz").exit_code == 0
    assert np.array_equal(arrays_of(out / "again.npz")["masks"], joined.masks)


def test_pattern_and_several_inputs(call: Call, photo: Make) -> None:
    paths = [photo(f"in/{name}", seed=i) for i, name in enumerate(["a.jpg", "b.jpg", "c.png"])]
    folder = paths[0].parent
    result = call(folder / "*.jpg", paths[2], "--point", "5,5", "-o", folder.parent / "out")
    assert result.exit_code == 0, result.output
    assert files(folder.parent / "out") == ["a.mask.png", "b.mask.png", "c.mask.png"]
    assert result.stderr.splitlines()[-1] == f"glesam: 3 segmented, 0 skipped, 0 failed in {folder.parent / 'out'}"


def test_photos_that_differ_in_the_suffix_only_keep_it(call: Call, photo: Make) -> None:
    a, b, c = photo("a.jpg"), photo("a.png"), photo("sub/a.jpg")
    assert call(a, b, c, "--point", "5,5").exit_code == 0
    assert files(a.parent) == [
        "a.jpg",
        "a.jpg.mask.png",
        "a.png",
        "a.png.mask.png",
        "sub/a.jpg",
        "sub/a.mask.png",
    ]


def test_outputs_are_no_inputs_of_the_next_run_and_are_skipped(call: Call, photo: Make) -> None:
    folder = photo("in/a.jpg").parent
    photo("in/b.jpg", seed=1)
    arguments = (folder, "--point", "5,5", "--overlay")
    assert call(*arguments).exit_code == 0
    before = {name: (folder / name).stat().st_mtime_ns for name in files(folder)}
    assert len(before) == 6
    again = call(*arguments)
    assert again.exit_code == 0
    assert "2 skipped, whose outputs exist, such as" in again.stderr
    assert "--overwrite replaces them" in again.stderr
    assert {name: (folder / name).stat().st_mtime_ns for name in files(folder)} == before
    assert "changed" not in again.stderr
    os.utime(folder / "b.jpg", (2e9, 2e9))
    assert (
        "an image was changed after the results that are kept had been made, such as b.jpg" in call(*arguments).stderr
    )
    assert "kept as before" not in again.stderr
    # One format more: only that is written.
    more = call(*arguments, "--json")
    assert more.exit_code == 0
    assert f"4 files were there and are kept as before, such as {folder / 'a.mask.png'}; --overwrite" in more.stderr
    assert set(files(folder)) - set(before) == {"a.mask.json", "b.mask.json"}
    assert (folder / "a.mask.png").stat().st_mtime_ns == before["a.mask.png"]
    assert call(*arguments, "--overwrite").exit_code == 0
    assert (folder / "a.mask.png").stat().st_mtime_ns > before["a.mask.png"]


def test_skipping_everything_loads_no_model(call: Call, photo: Make) -> None:
    path = photo("a.jpg")
    path.with_name("a.mask.png").write_bytes(b"mine")
    result = call(path, "--point", "5,5", "--model", "no-such-model")
    assert result.exit_code == 0, result.output
    assert path.with_name("a.mask.png").read_bytes() == b"mine"


@pytest.mark.parametrize("suffix", [".png", ".json", ".geojson", ".npz"])
def test_output_as_a_file_has_the_format_of_its_suffix(call: Call, photo: Make, suffix: str) -> None:
    path = photo("a.jpg")
    target = path.parent / "new" / f"result{suffix}"
    assert call(path, "--point", "5,5", "-o", target, "--overlay").exit_code == 0
    assert files(target.parent) == sorted([f"result{suffix}", "result.overlay.png"])
    content = target.read_bytes()
    assert content[:4] == {".png": b"\x89PNG", ".npz": b"PK\x03\x04"}.get(suffix, content[:4])
    if suffix.endswith("json"):
        assert ("annotations" in json.loads(content)) == (suffix == ".json")


def test_enhance_is_accepted_and_on_needs_a_model_that_has_it(call: Call, photo: Make) -> None:
    path = photo("a.jpg")
    plain = call(path, "--point", "20,10", "-o", "-", "--enhance", "off")
    assert plain.exit_code == 0
    assert call(path, "--point", "20,10", "-o", "-", "--enhance", "auto").stdout_bytes == plain.stdout_bytes
    refused(call(path, "--point", "20,10", "--enhance", "on"), 2, "enhancer", 'enhance="auto"')


def test_animated_image_says_that_the_first_frame_is_used(call: Call, tmp_path: Path) -> None:
    frames = [Image.new("RGB", (30, 20), (shade, 0, 0)) for shade in (0, 200)]
    frames[0].save(tmp_path / "a.gif", save_all=True, append_images=frames[1:])
    result = call(tmp_path / "a.gif", "--point", "5,5")
    assert result.exit_code == 0
    assert "glesam: warning:" in result.stderr.splitlines()[0]
    assert "only the first is used" in result.stderr


# --- stdin and stdout


def test_stdin_to_stdout(call: Call, photo: Make, tiny_model: Path) -> None:
    path = photo("a.jpg")
    result = call("-", "--point", "20,10", stdin=path.read_bytes())
    assert result.exit_code == 0
    want = expected(tiny_model, path, points=[[20, 10]]).masks[0]
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(result.stdout_bytes))), want)
    assert files(path.parent) == ["a.jpg"]


def test_stdin_into_a_folder(call: Call, photo: Make, tmp_path: Path) -> None:
    data = photo("a.jpg").read_bytes()
    assert call("-", "--point", "5,5", "-o", tmp_path / "out", stdin=data).exit_code == 0
    assert files(tmp_path / "out") == ["stdin.mask.png"]


def test_stdout_takes_the_one_format_asked_for(call: Call, photo: Make) -> None:
    path = photo("a.jpg")
    result = call(path, "--point", "5,5", "--json", "-o", "-")
    assert result.exit_code == 0
    assert len(json.loads(result.stdout)["annotations"]) == 1
    assert files(path.parent) == ["a.jpg"]
    refused(call(path, "--point", "5,5", "--json", "--npz", "-o", "-"), 2, "one format", "json, npz")
    refused(call(path, photo("b.jpg"), "--point", "5,5", "-o", "-"), 2, "one image", "got 2")


def test_no_image_bytes_to_a_terminal(call: Call, photo: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    class Terminal:
        def isatty(self) -> bool:
            return True

    monkeypatch.setattr(outputs.sys, "stdout", Terminal())
    with pytest.raises(ConfigError, match="got a terminal for png"):
        outputs.plan(iterate(photo("a.jpg")), [], "-", outright=True)
    assert outputs.plan(iterate(photo("a.jpg")), ["json"], "-", outright=True)[0].files == {"json": None}


def test_redirected_stdout_gets_one_photos_mask(command: list[str], photo: Make) -> None:
    path = photo("a.jpg")
    with (path.parent / "out.png").open("wb") as stream:
        done = subprocess.run(
            [*command, str(path), "--point", "5,5"], stdout=stream, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 0, done.stderr
    assert ids(path.parent / "out.png").shape == (40, 60)
    assert files(path.parent) == ["a.jpg", "out.png"]


def test_a_folder_and_several_formats_have_files_wherever_stdout_goes(
    call: Call, photo: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "is_redirected", lambda: True)
    path = photo("a.jpg")
    result = call(path.parent, "--point", "5,5")
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert files(path.parent) == ["a.jpg", "a.mask.png"]
    result = call(path, "--point", "5,5", "--overlay", "--json")
    assert (result.exit_code, result.stdout) == (0, ""), result.stderr
    assert files(path.parent) == ["a.jpg", "a.mask.json", "a.mask.png", "a.overlay.png"]
    assert call(path, "--point", "5,5").stdout_bytes.startswith(b"\x89PNG")


def test_files_and_pipes_are_redirections_and_dev_null_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ends = os.pipe()
    with (tmp_path / "file").open("w") as file, open(os.devnull, "w") as null, os.fdopen(ends[1], "w") as pipe:
        for stream, redirected in ((file, True), (pipe, True), (null, False), (io.StringIO(), False)):
            monkeypatch.setattr(sys, "stdout", stream)
            assert outputs.is_redirected() is redirected
        monkeypatch.undo()
    os.close(ends[0])


# --- stopping


def test_ctrl_c_leaves_whole_files_only(call: Call, photo: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = photo("in/a.jpg").parent
    photo("in/b.jpg", seed=1)
    encode, calls = Masks.encode, []

    def interrupted(masks: Masks, suffix: str) -> bytes:
        calls.append(suffix)
        if len(calls) == 3:  # between the two files of the second photo
            raise KeyboardInterrupt
        return encode(masks, suffix)

    monkeypatch.setattr(Masks, "encode", interrupted)
    result = call(folder, "--point", "5,5", "--json")
    assert result.exit_code == 130
    assert result.stderr.splitlines() == ["glesam: stopped; no half-written file was left"]
    assert files(folder) == ["a.jpg", "a.mask.json", "a.mask.png", "b.jpg"]


def test_a_real_interrupt_ends_with_130(command: list[str], photo: Make) -> None:
    path = photo("in/p000.png", width=1500, height=1200)
    for i in range(1, 60):
        os.link(path, path.with_name(f"p{i:03}.png"))
    out = path.parents[1] / "out"
    words = [*command, str(path.parent / "*.png"), "--point", "5,5", "-o", str(out)]
    # Jobs in the background of a shell inherit a deaf ear for Ctrl-C; a person's terminal does not give them that.
    hearing = functools.partial(signal.signal, signal.SIGINT, signal.SIG_DFL)
    process = subprocess.Popen(words, stderr=subprocess.PIPE, text=True, preexec_fn=hearing)
    try:
        deadline = time.monotonic() + 120
        while not list(out.glob("*.mask.png")) and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=60)
    finally:
        process.kill()
        process.wait()
    assert process.returncode == 130, errors
    assert errors.splitlines() == ["glesam: stopped; no half-written file was left"]
    masks = [path for path in out.glob("*") if path.is_file()]
    assert 0 < len(masks) < 60
    for mask in masks:
        assert ids(mask).shape == (1200, 1500)


# --- bad input: one line, the right status, no traceback


def test_no_prompt_is_never_guessed(call: Call, photo: Make) -> None:
    path = photo("a.jpg")
    refused(call(path), 2, "expected --point, --box, --prompts, ", "--point 320,240")
    assert files(path.parent) == ["a.jpg"]


def test_missing_empty_fake_and_truncated_files(call: Call, photo: Make, tmp_path: Path) -> None:
    whole = photo("whole.jpg", width=300, height=200).read_bytes()
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "text.jpg").write_text("no picture at all")
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    for name, part in [
        ("missing.jpg", "check the path"),
        ("empty.jpg", "empty"),
        ("text.jpg", "none of them"),
        ("cut.jpg", "damaged"),
    ]:
        refused(call(tmp_path / name, "--point", "5,5"), 1, name, part)
        assert not (tmp_path / name).with_suffix(".mask.png").exists()


def test_empty_stdin(call: Call) -> None:
    refused(call("-", "--point", "5,5", stdin=b""), 1, "stdin", "empty")


def test_empty_folder(call: Call, tmp_path: Path) -> None:
    refused(call(tmp_path, "--point", "5,5"), 1, "found none")


@pytest.mark.parametrize(
    ("arguments", "part"),
    [
        (["--point", "60,5"], "inside the image of 60x40 pixels, got (60, 5)"),
        (["--point", "5,40"], "inside the image"),
        (["--point=-1,5"], "inside the image"),
        (["--point", "nan,5"], "'nan,5'; write for example"),
        (["--point", "inf,5"], "'inf,5'"),
        (["--point", "5"], "expected a point x,y"),
        (["--point", "5,5,2"], "expected a point x,y"),
        (["--point", "five,5"], "'five,5'"),
        (["--point", ""], "expected a point"),
        (["--box", "30,5,10,20"], "x1 > x0"),
        (["--box", "5,5,5,20"], "x1 > x0"),
        (["--box", "5,5,nan,20"], "expected a box"),
        (["--box", "5,5,20"], "expected a box"),
        (["--box", "70,5,90,20"], "touch the image"),
        (["--point", "5,5", "--model", "sam-vit-bb"], "did you mean 'sam-vit-b"),
        (["--point", "5,5", "--model", "compakt"], "did you mean 'compact"),
        (["--point", "5,5", "--model", "none.pth"], "no such file"),
        (["--point", "5,5", "--device", "gpu"], "'gpu'"),
        (["--point", "5,5", "--enhance", "maybe"], "'maybe'"),
        (["--point", "5,5", "--overlai"], "No such option"),
        (["--point", "5,5", "--prompts", "p.json"], "got both"),
        (["--prompts", "no-such.json"], "expected a prompts file in no-such.json, cannot read it"),
    ],
)
def test_wrong_use_is_one_line_and_2(call: Call, photo: Make, arguments: list[str], part: str) -> None:
    path = photo("a.jpg")
    refused(call(path, *arguments), 2, part)
    assert files(path.parent) == ["a.jpg"]


@pytest.mark.parametrize(
    ("content", "part"),
    [
        ({"a.jpg": [{"points": [[5, 5]], "labels": [1, 0]}]}, "one label per point"),
        ({"a.jpg": [{"points": [[5, 5]], "label": [1]}]}, "did you mean 'labels'"),
        ({"a.jpg": []}, "a.jpg"),
        ({"A.jpg": [{"points": [[5, 5]]}]}, "did you mean 'A.jpg'"),
        ({"a.jpg": [{"points": [[500, 5]]}]}, "inside the image"),
        ("{", "JSON"),
    ],
)
def test_bad_prompts_files(call: Call, photo: Make, tmp_path: Path, content: object, part: str) -> None:
    prompts = tmp_path / "prompts.json"
    prompts.write_text(content if isinstance(content, str) else json.dumps(content))
    refused(call(photo("in/a.jpg"), "--prompts", prompts), 2, part)


def test_unwritable_output(call: Call, photo: Make, tmp_path: Path) -> None:
    path = photo("a.jpg")
    (tmp_path / "file").write_text("in the way")
    refused(call(path, "--point", "5,5", "-o", tmp_path / "file" / "out"), 2, "cannot make", str(tmp_path / "file"))
    refused(call(path, "--point", "5,5", "-o", tmp_path / "file"), 2, "folder or a file ending in")
    refused(call(path, "--point", "5,5", "-o", tmp_path / "out.jpg"), 2, "folder or a file ending in .png")
    (tmp_path / "taken.mask.png").mkdir()
    refused(call(photo("taken.jpg"), "--point", "5,5", "--overwrite"), 1, "taken.mask.png", "choose another place")


def test_output_file_for_several_photos(call: Call, photo: Make, tmp_path: Path) -> None:
    refused(call(photo("a.jpg"), photo("b.jpg"), "--point", "5,5", "-o", tmp_path / "x.png"), 2, "folder for 2 images")


def test_a_result_never_replaces_a_photo(call: Call, photo: Make) -> None:
    path = photo("a.png")
    before = path.read_bytes()
    refused(call(path, "--point", "5,5", "-o", path, "--overwrite"), 2, "apart from the images")
    assert path.read_bytes() == before


def test_stdin_among_several_needs_a_folder(call: Call, photo: Make) -> None:
    refused(call("-", photo("a.jpg"), "--point", "5,5", stdin=b"x"), 2, "-o FOLDER when stdin")


def test_one_broken_photo_among_twenty(call: Call, photo: Make, tmp_path: Path) -> None:
    for i in range(19):
        photo(f"in/p{i:02}.jpg", seed=i)
    (tmp_path / "in" / "p07b.jpg").write_text("no image")
    result = call(tmp_path / "in", "--point", "5,5", "-o", tmp_path / "out")
    assert result.exit_code == 1
    assert files(tmp_path / "out") == [f"p{i:02}.mask.png" for i in range(19)]
    first, last = result.stderr.splitlines()
    assert first.startswith("glesam: error: ")
    assert "p07b.jpg" in first
    assert last == f"glesam: 19 segmented, 0 skipped, 1 failed in {tmp_path / 'out'}"


def test_missing_one_does_not_stop_the_others(call: Call, photo: Make, tmp_path: Path) -> None:
    a, b = photo("a.jpg"), photo("b.jpg", seed=1)
    result = call(a, tmp_path / "none.jpg", b, "--point", "5,5")
    assert result.exit_code == 1
    assert "none.jpg" in result.stderr.splitlines()[0]
    assert files(tmp_path) == ["a.jpg", "a.mask.png", "b.jpg", "b.mask.png"]


def test_photos_without_prompts_are_named(call: Call, photo: Make, tmp_path: Path) -> None:
    photo("in/a.jpg"), photo("in/b.jpg", seed=1)
    (tmp_path / "p.json").write_text(json.dumps({"a.jpg": [{"points": [[5, 5]]}]}))
    result = call(tmp_path / "in", "--prompts", tmp_path / "p.json")
    assert result.exit_code == 1
    assert "expected prompts for b.jpg" in result.stderr
    assert (tmp_path / "in" / "a.mask.png").exists()


def test_failures_in_a_process_of_its_own(command: list[str], photo: Make, tmp_path: Path) -> None:
    for words, status, part in [
        ([str(tmp_path / "none.jpg"), "--point", "5,5"], 1, "none.jpg"),
        ([str(photo("a.jpg")), "--point", "nan,5"], 2, "nan,5"),
    ]:
        done = subprocess.run([*command, *words], capture_output=True, text=True, check=False)
        assert done.returncode == status
        assert done.stdout == ""
        assert part in done.stderr
        assert done.stderr.count("\n") == 1
        assert "Traceback" not in done.stderr


def test_many_prompts_through_the_python_api_equal_the_command(call: Call, photo: Make, tiny_model: Path) -> None:
    path = photo("a.jpg")
    points = np.random.default_rng(0).integers(0, 40, (70, 2))
    (path.parent / "p.json").write_text(json.dumps({"a.jpg": [{"points": [xy]} for xy in points.tolist()]}))
    assert call(path, "--prompts", path.parent / "p.json", "-o", path.parent / "a.npz").exit_code == 0
    want = expected(tiny_model, path, prompts=Prompts(points=points[:, None]))
    assert np.array_equal(arrays_of(path.parent / "a.npz")["masks"], want.masks)


def test_restored_before_it_is_segmented(call: Call, photo: Make, tiny_model: Path, tmp_path: Path) -> None:
    source = photo("a.png")
    words = (source, "--point", "20,20", "--npz", "-o", tmp_path / "out", "--restore", "median:5")
    assert call(*words, "--restore-cache", tmp_path / "kept").exit_code == 0
    predictor = Predictor.from_pretrained(tiny_model, restore="median:5")
    predictor.set_image(source)
    with np.load(tmp_path / "out" / "a.mask.npz") as arrays:
        assert np.array_equal(arrays["logits"], predictor.predict(points=[[20, 20]]).logits)
    (kept,) = (tmp_path / "kept").rglob("*.png")
    assert np.asarray(Image.open(kept)).shape == (40, 60, 3)


def test_unknown_restorers_are_refused_before_a_model_is_loaded(call: Call, photo: Make) -> None:
    words = (photo("a.png"), "--point", "20,20", "--model", "no such model")
    refused(call(*words, "--restore", "medain"), 2, "medain", "median")
    refused(call(*words, "--restore", "unet"), 2, "unet:FOLDER")
