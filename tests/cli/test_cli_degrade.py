from __future__ import annotations

import errno
import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from glesam.cli import app
from glesam.common.seeds import degradation_seed
from glesam.degrade import batch
from glesam.degrade.lqseg import pipeline as lqseg


def run(*arguments: object) -> Result:
    """Call `glesam degrade ...` in this process."""
    return CliRunner().invoke(app, ["degrade", *map(str, arguments)])


def one_error(result: Result, status: int) -> str:
    """The one error line of a result."""
    assert result.exit_code == status, result.output
    assert "Traceback" not in result.output
    lines = [line for line in result.stderr.splitlines() if "glesam: error:" in line]
    assert len(lines) == 1, result.output
    return lines[0]


def pixels(path: Path) -> np.ndarray:
    return np.asarray(cv2.imread(str(path), cv2.IMREAD_COLOR)[..., ::-1])


def tree(root: Path) -> dict[str, bytes]:
    return {p.relative_to(root).as_posix(): p.read_bytes() for p in root.rglob("*") if p.is_file()}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder of three images, one of them in a sub-folder."""
    root = tmp_path / "photos"
    (root / "sub").mkdir(parents=True)
    for seed, name in enumerate(("a.png", "b.png", "sub/c.png")):
        picture = np.random.default_rng(seed).integers(0, 256, (6 + seed, 5, 3), dtype=np.uint8)
        cv2.imwrite(str(root / name), cv2.resize(picture, (40, 30), interpolation=cv2.INTER_CUBIC))
    return root


def test_all_levels_of_a_folder(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(photos, "-o", out, "--seed", 3, "--workers", 1, "-r")
    assert result.exit_code == 0, result.output
    assert "9 images written, 0 sources failed" in result.stderr
    assert set(tree(out)) == {f"lq{i}/{n}.png" for i in (1, 2, 3) for n in ("a", "b", "sub/c")} | {batch.RUN_FILE}
    for level in (1, 2, 3):
        expected = lqseg.degrade(
            pixels(photos / "sub/c.png"), level, degradation_seed("sub/c", f"lq{level}", 3), "test"
        )
        assert (pixels(out / f"lq{level}/sub/c.png") == expected).all()


def test_neither_order_nor_workers_matter(photos: Path, tmp_path: Path) -> None:
    files = [photos / "b.png", photos / "a.png"]
    assert run(*files, "-o", tmp_path / "one", "--workers", 1).exit_code == 0
    assert run(photos, "-o", tmp_path / "two", "--workers", 2).exit_code == 0
    assert tree(tmp_path / "one") == tree(tmp_path / "two")


def test_one_variant_goes_into_the_folder_itself(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    result = run(photos / "a.png", "-o", out, "--recipe", "robustseg", "--kind", "elastic", "--severity", 5)
    assert result.exit_code == 0, result.output
    assert set(tree(out)) == {"a.png", batch.RUN_FILE}
    assert "masks of the clean images will not fit" in result.stderr


def test_a_record_redoes_its_image(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(photos / "a.png", "-o", out, "--level", 2, "--lqseg-recipe", "train", "--record").exit_code == 0
    record = json.loads((out / "a.json").read_text())
    assert (record["source"], record["seed"]) == ("a.png", degradation_seed("a", "lq2", 0))
    assert (lqseg.replay(pixels(photos / "a.png"), record) == pixels(out / "a.png")).all()


def test_kinds_write_records_too(photos: Path, tmp_path: Path) -> None:
    assert run(photos / "a.png", "-o", tmp_path / "out", "--recipe", "real", "--record").exit_code == 0
    record = json.loads((tmp_path / "out/haze-3/a.json").read_text())
    assert (record["kind"], record["severity"]) == ("haze", 3)


def test_a_stopped_run_goes_on(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out, whole = tmp_path / "out", tmp_path / "whole"
    assert run(photos, "-o", whole, "-r", "--workers", 1).exit_code == 0
    write = batch.write_bytes
    written: list[Path] = []

    def stopping(target: Path, content: bytes) -> None:
        if len(written) == 4:
            raise KeyboardInterrupt
        written.append(target)
        write(target, content)

    monkeypatch.setattr(batch, "write_bytes", stopping)
    assert run(photos, "-o", out, "-r", "--workers", 1).exit_code == 130
    monkeypatch.undo()
    before = {path: path.stat().st_mtime_ns for path in written}
    result = run(photos, "-o", out, "-r", "--workers", 1)
    assert "5 images written, 4 kept" in result.stderr
    assert {path: path.stat().st_mtime_ns for path in written} == before
    assert tree(out) == tree(whole)


def test_other_options_are_not_mixed_in(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(photos / "a.png", "-o", out, "--level", 1).exit_code == 0
    first = tree(out)
    for other in (("--seed", 1, "--level", 1), ("--level", 2), ("--level", 1, "--lqseg-recipe", "train"), ()):
        assert "--overwrite" in one_error(run(photos / "a.png", "-o", out, *other), 2)
    assert tree(out) == first
    assert run(photos / "a.png", "-o", out, "--level", 3, "--overwrite").exit_code == 0
    assert tree(out)["a.png"] != first["a.png"]


def test_more_levels_can_follow(photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert run(photos / "a.png", "-o", out, "--level", "1,2").exit_code == 0
    assert "1 images written, 2 kept" in run(photos / "a.png", "-o", out).stderr


def test_a_broken_source_is_named_and_the_others_done(photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_bytes(b"\xff\xd8\xff no image")
    result = run(photos, "-o", tmp_path / "out", "--level", 1, "--workers", 1)
    assert "broken.jpg" in one_error(result, 1)
    assert "2 images written, 1 sources failed" in result.stderr
    assert set(tree(tmp_path / "out")) == {"a.png", "b.png", batch.RUN_FILE}


def test_an_image_too_small_for_a_kind_is_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "tiny.png"), np.zeros((3, 3, 3), np.uint8))
    result = run(tmp_path / "tiny.png", "-o", tmp_path / "out", "--recipe", "robustseg", "--kind", "fog")
    assert "at least 8 x 8" in one_error(result, 1)


@pytest.mark.parametrize(
    ("options", "near"),
    [
        (("--level", "lq5"), "did you mean 'lq3'?"),
        (("--recipe", "lqsegs"), "did you mean 'lqseg'?"),
        (("--recipe", "robustseg", "--kind", "motionblur"), "did you mean 'motion_blur'?"),
        (("--recipe", "real", "--kind", "underwatre"), "did you mean 'underwater'?"),
        (("--recipe", "real", "--severity", "9"), "1 (mild) to 5"),
        (("--lqseg-recipe", "tset"), "did you mean 'test'?"),
        (("--format", "jpg"), "png, webp"),
        (("--contact-sheet", "sheet.gif"), ".png"),
        (("--workers", 0), "workers"),
        (("--seed", "x"), "seed"),
    ],
)
def test_wrong_use(photos: Path, tmp_path: Path, options: tuple[object, ...], near: str) -> None:
    assert near in one_error(run(photos, "-o", tmp_path / "out", *options), 2)
    assert not (tmp_path / "out").exists()


def test_missing_input(tmp_path: Path) -> None:
    assert "nowhere.png" in one_error(run(tmp_path / "nowhere.png", "-o", tmp_path / "out"), 1)


def test_unwritable_folder(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    line = one_error(run(photos, "-o", tmp_path / "file" / "out"), 1)
    assert "expected to write into" in line
    assert (tmp_path / "file").read_text() == "in the way"


def test_disk_full_half_way(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    write = Path.write_bytes
    count = 0

    def filling(self: Path, content: bytes) -> int:
        nonlocal count
        count += self.suffix == ".png"
        if count == 3:
            write(self, content[: len(content) // 2])
            raise OSError(errno.ENOSPC, "No space left on device", str(self))
        return write(self, content)

    monkeypatch.setattr(Path, "write_bytes", filling)
    line = one_error(run(photos, "-o", out, "--workers", 1), 1)
    assert "No space left on device" in line
    assert "continues where it stopped" in line
    monkeypatch.undo()
    found = [name for name in tree(out) if name.endswith(".png")]
    assert len(found) == 2
    assert all(pixels(out / name).shape == (30, 40, 3) for name in found)
    assert not list(out.rglob(".*"))
    assert "4 images written, 2 kept" in run(photos, "-o", out, "--workers", 1).stderr


def test_sources_are_never_overwritten(photos: Path) -> None:
    before = tree(photos)
    assert "choose another" in one_error(run(photos, "-o", photos, "--level", 1, "--overwrite"), 2)
    assert "outside of" in one_error(run(photos, "-r", "-o", photos / "sub" / "deg"), 2)
    assert tree(photos) == before


def test_results_do_not_become_sources_of_the_next_run(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JPEG's result has another name, so that no source is overwritten."""
    for path in photos.rglob("*.png"):
        cv2.imwrite(str(path.with_suffix(".jpg")), pixels(path))
        path.unlink()
    before = tree(photos)
    monkeypatch.chdir(photos)
    for output in (photos, ".", photos / "sub" / ".."):
        assert "choose another" in one_error(run(photos, "-o", output, "--level", 1), 2)
    assert tree(photos) == before
    for _ in range(2):  # a folder for each level, in which the next run does not look
        assert run(photos, "-o", photos, "--workers", 1).exit_code == 0
    results = {f"lq{level}/{name}.png" for level in (1, 2, 3) for name in ("a", "b")}
    assert set(tree(photos)) == set(before) | results | {batch.RUN_FILE}


def test_a_record_of_an_image_of_any_name_is_not_the_note_of_the_run(photos: Path, tmp_path: Path) -> None:
    (photos / "a.png").rename(photos / "degrade.png")
    (photos / "b.png").rename(photos / f"{batch.RUN_FILE}.png")
    words = (photos, "-o", tmp_path / "out", "--level", 1, "--record", "--workers", 1)
    assert run(*words).exit_code == 0
    assert "2 kept" in run(*words).stderr
    record = json.loads((tmp_path / "out/degrade.json").read_text())
    assert (lqseg.replay(pixels(photos / "degrade.png"), record) == pixels(tmp_path / "out/degrade.png")).all()


def test_webp_is_lossless(photos: Path, tmp_path: Path) -> None:
    for form in ("png", "webp"):
        assert run(photos / "a.png", "-o", tmp_path / form, "--level", 1, "--format", form).exit_code == 0
    assert (pixels(tmp_path / "png/a.png") == pixels(tmp_path / "webp/a.webp")).all()


def test_contact_sheets(photos: Path, tmp_path: Path) -> None:
    (photos / "broken.png").write_bytes(b"no image")
    sheet = tmp_path / "sheet.png"
    assert run(photos, "-o", tmp_path / "out", "--workers", 1, "--contact-sheet", sheet).exit_code == 1
    # Two good images in rows of four cells (clean and three levels) of 240 x 180 pixels.
    assert pixels(sheet).shape == (8 + 2 * (20 + 180 + 8), 8 + 4 * 248, 3)
    kinds = tmp_path / "kinds.jpg"
    done = run(photos / "a.png", "-o", tmp_path / "kinds", "--recipe", "robustseg", "--contact-sheet", kinds)
    assert done.exit_code == 0, done.output
    # One clean and 15 degraded images in lines of four.
    assert pixels(kinds).shape == (8 + 4 * (20 + 180 + 8), 8 + 4 * 248, 3)


def test_no_contact_sheet_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no image")
    result = run(tmp_path / "broken.png", "-o", tmp_path / "out", "--contact-sheet", tmp_path / "sheet.png")
    assert "not written" in result.stderr
    assert one_error(result, 1)
    assert not (tmp_path / "sheet.png").exists()


def test_an_image_from_standard_input(photos: Path, tmp_path: Path) -> None:
    content = (photos / "a.png").read_bytes()
    result = CliRunner().invoke(app, ["degrade", "-", "-o", str(tmp_path / "out"), "--level", "1"], input=content)
    assert result.exit_code == 0, result.output
    expected = lqseg.degrade(pixels(photos / "a.png"), 1, degradation_seed("image", "lq1", 0), "test")
    assert (pixels(tmp_path / "out/stdin.png") == expected).all()


def test_one_rule_of_seeds_everywhere(photos: Path, tmp_path: Path) -> None:
    """The command, the builder, the evaluation and the server make the same "LQ-3, seed 0" of one image."""
    from glesam.data.base import Sample
    from glesam.data.build.builder import build
    from glesam.data.readers.folder import FolderDataset
    from glesam.degrade.levels import apply, parse_level
    from glesam.serve.schemas import DegradeRequest
    from glesam.serve.service import _degradation

    clean = pixels(photos / "a.png")
    for part in ("images", "masks"):
        (tmp_path / "set" / part).mkdir(parents=True)
    (tmp_path / "set/images/a.png").write_bytes((photos / "a.png").read_bytes())
    Image.fromarray(np.ones(clean.shape[:2], np.uint8)).save(tmp_path / "set/masks/a.png")
    assert run(photos / "a.png", "-o", tmp_path / "out", "--level", "lq3", "--seed", 0).exit_code == 0
    build(FolderDataset(tmp_path / "set"), tmp_path / "built", workers=1)
    expected = pixels(tmp_path / "out/a.png")
    assert (pixels(tmp_path / "built/lq3/a.png") == expected).all()
    sample = Sample("a", clean, np.zeros(clean.shape[:2], np.int32))
    assert (apply(sample, parse_level("lq3"), 0).image == expected).all()
    assert (_degradation(DegradeRequest(level=3, name="a.png"))(clean) == expected).all()
    assert run(photos / "a.png", "-o", tmp_path / "fog", "--recipe", "real", "--kind", "haze").exit_code == 0
    hazy = pixels(tmp_path / "fog/a.png")
    assert (apply(sample, parse_level("real:haze:3"), 0).image == hazy).all()
    assert (_degradation(DegradeRequest(kind="haze", name="a.png"))(clean) == hazy).all()


def test_a_contact_sheet_of_an_image_that_was_replaced_by_another(photos: Path, tmp_path: Path) -> None:
    options = ("-o", tmp_path / "out", "--level", 1)
    assert run(photos / "a.png", *options).exit_code == 0
    Image.fromarray(np.zeros((31, 17, 3), np.uint8)).save(photos / "a.png")
    done = run(photos / "a.png", *options, "--contact-sheet", tmp_path / "sheet.png")
    assert done.exception is None or isinstance(done.exception, SystemExit), done.output
    assert (tmp_path / "sheet.png").is_file()
