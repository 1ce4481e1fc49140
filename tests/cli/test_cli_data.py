from __future__ import annotations

import errno
import re
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from glesam.cli import app
from glesam.data.build import sample as build_sample

WIDTH, HEIGHT = 40, 30


def run(*arguments: object) -> Result:
    """Call `glesam data ...` in this process."""
    return CliRunner().invoke(app, ["data", *map(str, arguments)])


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """A plain set of three images."""
    root = tmp_path / "set"
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for seed, name in enumerate("abc"):
        picture = np.random.default_rng(seed).integers(0, 256, (HEIGHT, WIDTH, 3), dtype=np.uint8)
        cv2.imwrite(str(root / "images" / f"{name}.jpg"), picture)
        mask = np.zeros((HEIGHT, WIDTH), np.uint8)
        mask[5:20, 5 : 15 + seed] = 255
        cv2.imwrite(str(root / "masks" / f"{name}.png"), mask)
    return root


def one_error(result: Result, status: int) -> str:
    """The one error line of a result."""
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if "glesam: error:" in line]
    assert len(lines) == 1, result.output
    return lines[0]


def test_build_then_verify(source: Path, tmp_path: Path) -> None:
    built = run("build", source, "-o", tmp_path / "out", "--levels", "1,lq3", "--seed", 2, "--workers", 1)
    assert built.exit_code == 0, built.output
    assert "3 images built, 0 kept, 0 failed" in built.stderr
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"clear", "lq1", "lq3", "masks", "manifest.json"}
    verified = run("verify", tmp_path / "out")
    assert (verified.exit_code, verified.stdout) == (0, "")
    assert "12 files compared, 0 problems" in verified.stderr
    again = run("build", source, "-o", tmp_path / "out", "--levels", "1,3", "--seed", 2, "--workers", 1)
    assert "0 images built, 3 kept" in again.stderr


def test_verify_lists_problems_and_fails(source: Path, tmp_path: Path) -> None:
    run("build", source, "-o", tmp_path / "out", "--levels", 1, "--workers", 1)
    (tmp_path / "out/lq1/a.png").unlink()
    (tmp_path / "out/masks/x.png").touch()
    picture = cv2.imread(str(tmp_path / "out/clear/b.png"))
    cv2.imwrite(str(tmp_path / "out/clear/b.png"), picture, [cv2.IMWRITE_PNG_COMPRESSION, 9])
    result = run("verify", tmp_path / "out")
    assert result.exit_code == 1
    assert [line.split()[:2] for line in result.stdout.splitlines()] == [
        ["changed", "clear/b.png"],
        ["missing", "lq1/a.png"],
        ["extra", "masks/x.png"],
    ]
    pixels = run("verify", tmp_path / "out", "--pixels")
    assert "clear/b.png" not in pixels.stdout


def test_build_names_a_corrupt_image_and_fails(source: Path, tmp_path: Path) -> None:
    (source / "images/b.jpg").write_bytes(b"text renamed")
    result = run("build", source, "-o", tmp_path / "out", "--levels", 1, "--workers", 1)
    assert "b.jpg, which is none of them or damaged" in one_error(result, 1)
    assert "2 images built, 0 kept, 1 failed" in result.stderr
    assert (tmp_path / "out/lq1/c.png").is_file()


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--levels", "lq4", "did you mean 'lq3'"),
        ("--levels", "1,,2", "expected a level out of"),
        ("--recipe", "tests", "did you mean 'test'"),
        ("--object", "rand", "did you mean 'random'"),
        ("--format", "jpeg", "format of png, webp"),
        ("--seed", -4, "whole number >= 0"),
        ("--limit", 0, "limit of 1 or more"),
        ("--workers", 0, "--workers"),
    ],
)
def test_wrong_options_are_one_line_and_status_2(
    source: Path, tmp_path: Path, option: str, value: object, message: str
) -> None:
    result = run("build", source, "-o", tmp_path / "out", option, value)
    assert message in one_error(result, 2)
    assert not (tmp_path / "out").exists()


def test_wrong_sources_and_folders_are_one_line(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert "nothing there; check the path" in one_error(run("build", tmp_path / "gone", "-o", out), 1)
    assert "did you mean 'folder'" in one_error(run("build", source, "-o", out, "--layout", "foldr"), 1)
    assert "known layouts" in one_error(run("build", source / "images", "-o", out), 1)
    assert "comes in one piece" in one_error(run("build", source, "-o", out, "--split", "val"), 1)
    assert "choose another folder" in one_error(run("build", source, "-o", source), 1)
    assert "expected the manifest" in one_error(run("verify", source), 1)
    (tmp_path / "file").touch()
    assert "check its rights" in one_error(run("build", source, "-o", tmp_path / "file" / "out"), 1)


def test_other_options_for_a_built_folder_are_refused(source: Path, tmp_path: Path) -> None:
    run("build", source, "-o", tmp_path / "out", "--levels", 1, "--workers", 1)
    result = run("build", source, "-o", tmp_path / "out", "--levels", 1, "--seed", 7, "--workers", 1)
    assert "config.seed was 0, now 7; build into another folder" in one_error(result, 1)
    manifest = tmp_path / "out/manifest.json"
    manifest.write_text(manifest.read_text().replace('"version": 1', '"version": 99'))
    assert "of version 99" in one_error(run("verify", tmp_path / "out"), 1)


def test_a_full_disk_is_one_line(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device", str(path))

    monkeypatch.setattr(build_sample, "write_bytes", full)
    result = run("build", source, "-o", tmp_path / "out", "--workers", 1)
    assert "No space left on device'; free some space and run the same command again" in one_error(result, 1)


def test_check_of_a_sound_set_ends_well(source: Path) -> None:
    result = run("check", source)
    assert result.exit_code == 0, result.output
    assert "3 images, 3 objects, 0 problems" in result.stdout
    assert "0/255 mask" in result.stdout


def test_check_of_a_set_without_findings_prints_no_empty_table(tmp_path: Path) -> None:
    for part, values in (("images", np.full((60, 80, 3), 90, np.uint8)), ("masks", np.zeros((60, 80), np.uint8))):
        (tmp_path / part).mkdir()
        values[10:30, 10:30], values[40:50, 40:60] = 1, 2
        cv2.imwrite(str(tmp_path / part / "a.png"), values)
    result = run("check", tmp_path)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [f"{tmp_path}: 1 images, 2 objects, 0 problems"]


def test_check_names_faults_fails_and_draws(source: Path, tmp_path: Path) -> None:
    cv2.imwrite(str(source / "masks/a.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    cv2.imwrite(str(source / "masks/b.png"), np.ones((10, 10), np.uint8))
    result = run("check", source, "--contact-sheet", tmp_path / "sheet.png")
    assert result.exit_code == 1
    assert "empty mask: a" in result.stdout
    assert "size mismatch: b (image 40x30, mask 10x10)" in result.stdout
    assert Image.open(tmp_path / "sheet.png").size[0] > 600


def test_check_says_that_all_masks_are_empty(source: Path) -> None:
    for name in "abc":
        cv2.imwrite(str(source / f"masks/{name}.png"), np.zeros((HEIGHT, WIDTH), np.uint8))
    result = run("check", source)
    assert result.exit_code == 1
    assert "all masks empty: 3 masks" in result.stdout


def test_check_of_a_built_set_goes_through_its_reader(source: Path, tmp_path: Path) -> None:
    run("build", source, "-o", tmp_path / "out", "--levels", 1, "--workers", 1)
    result = run("check", tmp_path / "out" / "lq1", "--contact-sheet", tmp_path / "sheet.jpg")
    assert result.exit_code == 0, result.output
    assert (tmp_path / "sheet.jpg").is_file()


def test_check_refuses_what_is_no_set_and_no_image_name(source: Path, tmp_path: Path) -> None:
    assert "nothing there" in one_error(run("check", tmp_path / "gone"), 1)
    result = run("check", source, "--contact-sheet", tmp_path / "sheet.pdf")
    assert "named .png, .jpg" in one_error(result, 2)


@pytest.mark.parametrize("verb", [[], ["build"], ["verify"], ["check"]])
def test_help(verb: list[str]) -> None:
    result = run(*verb, "--help")
    assert result.exit_code == 0
    assert "Usage" in re.sub(r"\x1b\[[0-9;]*m", "", result.stdout)


def test_a_cut_image_is_one_line_with_nothing_of_opencv(source: Path, tmp_path: Path) -> None:
    (source / "images/b.jpg").unlink()
    cv2.imwrite(str(source / "images/b.bmp"), np.zeros((HEIGHT, WIDTH, 3), np.uint8))
    (source / "images/b.bmp").write_bytes((source / "images/b.bmp").read_bytes()[:200])
    command = [sys.executable, "-c", "from glesam.cli import main; main()", "data", "build", str(source)]
    options = ["-o", str(tmp_path / "out"), "--levels", "1", "--workers", "1"]
    result = subprocess.run([*command, *options], check=False, capture_output=True, text=True)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 2, result.stderr
    assert result.stderr.startswith("glesam: error: b: expected a whole image")


def test_help_imports_nothing_heavy() -> None:
    code = "import sys, glesam.cli.data; sys.exit(any(m in sys.modules for m in ('numpy', 'cv2', 'PIL', 'torch')))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
