"""`glesam segment` on a clip, with a tiny random model: which files, what is said, and bad input."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from typer.testing import CliRunner, Result

from glesam.cli import app
from synthetic_clip import SyntheticClip

Call = Callable[..., Result]


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    SyntheticClip(96, 64).write(tmp_path / "c.mp4", 4)
    return tmp_path / "c.mp4"


@pytest.fixture
def call(tiny_model: Path) -> Call:
    def run(*words: object) -> Result:
        return CliRunner().invoke(app, ["segment", *map(str, words), "--model", str(tiny_model), "--device", "cpu"])

    return run


def names(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def test_masks_of_each_frame_and_skipping(call: Call, clip: Path, tmp_path: Path) -> None:
    result = call(clip, "--point", "20,20", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "c.mp4: 4 frames, 1 objects" in result.stderr
    masks = [f"c.masks/{frame:06}.png" for frame in range(4)]
    assert names(tmp_path / "out") == ["c.mask.jsonl", *masks]
    assert "skipped" in call(clip, "--point", "20,20", "-o", tmp_path / "out").stderr


def test_corrections_by_frame(call: Call, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "c.json").write_text(
        '{"2": [{"object": 1, "box": [1, 1, 30, 30]}], "99": [{"object": 1, "box": [1, 1, 9, 9]}]}'
    )
    result = call(clip, "--box", "10,10,50,40", "--correct", tmp_path / "c.json", "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert "corrections of frames [99] were not reached" in result.stderr
    header = json.loads((tmp_path / "out" / f"{clip.stem}.mask.jsonl").read_text().splitlines()[0])
    assert header["corrections"]["2"]["objects"] == [0]


def test_a_format_that_is_asked_for_later_is_made(call: Call, clip: Path, tmp_path: Path) -> None:
    words = (clip, "--point", "20,20", "--max-frames", 1, "-o", tmp_path / "out")
    assert call(*words, "--json").exit_code == 0
    later = call(*words, "--overlay")
    assert later.exit_code == 0, later.output
    assert "is complete, but" in later.stderr
    assert names(tmp_path / "out") == ["c.mask.json", "c.mask.jsonl", "c.overlay.mp4"]


def test_masks_of_other_prompts_do_not_pass_for_finished_results(call: Call, clip: Path, tmp_path: Path) -> None:
    one, other = ("--box", "2,2,40,40"), ("--box", "40,20,90,60")
    assert call(clip, *one, "-o", tmp_path / "out").exit_code == 0
    drawn = call(clip, *other, "--overlay", "-o", tmp_path / "out")
    assert drawn.exit_code == 0, drawn.output
    assert f"kept as before, perhaps of other prompts: {tmp_path / 'out' / 'c.masks'}" in " ".join(drawn.stderr.split())
    last = json.loads((tmp_path / "out" / "c.mask.jsonl").read_text().splitlines()[-1])
    assert last == {"end": 4, "made": ["overlay"]}
    again = call(clip, *other, "-o", tmp_path / "out")
    assert again.exit_code == 0, again.output
    assert "skipped" not in again.stderr
    assert call(clip, *other, "-o", tmp_path / "fresh").exit_code == 0
    for frame in range(4):
        made, fresh = ((tmp_path / name / "c.masks" / f"{frame:06}.png") for name in ("out", "fresh"))
        assert made.read_bytes() == fresh.read_bytes()
    assert "skipped" in call(clip, *other, "-o", tmp_path / "out").stderr


def test_what_an_earlier_version_finished_is_made_anew(call: Call, clip: Path, tmp_path: Path) -> None:
    words = (clip, "--point", "20,20", "-o", tmp_path / "out")
    assert call(*words).exit_code == 0
    journal = tmp_path / "out" / "c.mask.jsonl"
    whole = journal.read_bytes()
    journal.write_bytes(whole.replace(b',"made":["masks"]', b""))
    assert "is not of that run; the clip is done again" in " ".join(call(*words).stderr.split())
    assert journal.read_bytes() == whole


def test_a_clip_that_was_replaced_under_its_name_is_told(call: Call, clip: Path, tmp_path: Path) -> None:
    words = (clip, "--point", "20,20", "--max-frames", 1, "-o", tmp_path / "out")
    assert call(*words).exit_code == 0
    SyntheticClip(96, 64).write(clip, 5)
    again = call(*words)
    assert again.exit_code == 2
    assert "which has changed since; give --overwrite" in again.stderr
    assert call(*words, "--overwrite").exit_code == 0
    assert "skipped" in call(*words).stderr


def test_a_clip_that_was_cut_fails_with_both_numbers(call: Call, tmp_path: Path) -> None:
    path, noise = tmp_path / "cut.avi", np.random.default_rng(0)
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (96, 64))
    for _ in range(20):
        writer.write(noise.integers(0, 256, (64, 96, 3), dtype=np.uint8))
    writer.release()
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    result = call(path, "--point", "20,20", "-o", tmp_path / "out", "--json")
    assert result.exit_code == 1
    assert re.search("expected 20 frames as its header says, read [0-9]+; is it cut", result.stderr), result.stderr


def test_formats_frame_and_prompts_file(call: Call, clip: Path, tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps({"c.mp4": [{"box": [5, 5, 40, 40]}, {"points": [[60, 30]]}]}))
    words = ["--prompts", tmp_path / "p.json", "--frame", 1, "--max-frames", 2, "--json", "--overlay"]
    result = call(clip, *words, "-o", tmp_path / "out")
    assert result.exit_code == 0, result.output
    assert names(tmp_path / "out") == ["c.mask.json", "c.mask.jsonl", "c.overlay.mp4"]
    document = json.loads((tmp_path / "out" / "c.mask.json").read_text())
    assert [image["frame_index"] for image in document["images"]] == [1, 2]
    assert document["info"]["tracker"] == "masks"


@pytest.mark.parametrize(
    ("words", "status", "part"),
    [
        (["c.mp4", "--point", "1,1", "--polygons"], 2, "--overlay or --json"),
        (["c.mp4", "other.jpg", "--point", "1,1"], 2, "one clip"),
        (["c.mp4", "--point", "1,1", "-o", "out.png"], 2, "folder"),
        (["c.mp4", "--point", "500,1"], 2, "inside the image"),
        (["c.mp4"], 2, "--point"),
        (["c.mp4", "--point", "1,1", "--frame", "99"], 1, "ends before"),
        (["none.mp4", "--point", "1,1"], 1, "found no file"),
    ],
)
def test_bad_input_is_one_line(
    call: Call, clip: Path, monkeypatch: pytest.MonkeyPatch, words: list[str], status: int, part: str
) -> None:
    monkeypatch.chdir(clip.parent)
    result = call(*words)
    assert result.exit_code == status, result.output
    assert len(result.stderr.splitlines()) == 1
    assert part in result.stderr


def test_frames_are_restored_first(call: Call, clip: Path, tmp_path: Path) -> None:
    words = (clip, "--point", "20,20", "--max-frames", 2, "-o")
    assert call(*words, tmp_path / "plain").exit_code == 0
    result = call(*words, tmp_path / "out", "--restore", "gamma:4")
    assert result.exit_code == 0, result.output
    first = json.loads((tmp_path / "out" / "c.mask.jsonl").read_text().splitlines()[0])
    assert "gamma:4" in json.dumps(first)
    masks = [(tmp_path / name / "c.masks" / "000000.png").read_bytes() for name in ("plain", "out")]
    assert masks[0] != masks[1]
