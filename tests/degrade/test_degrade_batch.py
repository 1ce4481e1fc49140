"""Batches: plans, notes of options, and what ends them. Whole runs are tested with the command line."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest

from glesam.degrade.batch import RUN_FILE, BatchOptions, BatchReport, Outcome, degrade_all, plan
from glesam.degrade.levels import Level
from glesam.degrade.variants import Variant, parse_variants
from glesam.errors import ConfigError, DataError
from glesam.images.sources import ImageSource, iterate

LEVELS = parse_variants("lqseg", None, None, None, None)


class Killer(Variant):
    """A degradation that ends its own process, as the system does when memory is out."""

    def apply(self, image: object, seed: int) -> object:  # type: ignore[override]
        os._exit(9)


@pytest.fixture
def sources(tmp_path: Path) -> list[ImageSource]:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / "x.png"), np.full((9, 12, 3), 90, np.uint8))
    return iterate([tmp_path / "one", tmp_path / "two"])


def test_one_variant_in_the_folder_several_in_one_each(sources: list[ImageSource], tmp_path: Path) -> None:
    out = tmp_path / "out"
    one = plan(sources[:1], LEVELS[:1], out, BatchOptions())
    assert [path for _, path in one[0].outputs] == [out / f"{sources[0].stem}.png"]
    many = plan(sources[:1], LEVELS, out, BatchOptions(image_format="webp"))
    assert [path for _, path in many[0].outputs] == [out / f"lq{i}" / f"{sources[0].stem}.webp" for i in (1, 2, 3)]


def test_images_of_the_same_name_stay_apart(sources: list[ImageSource], tmp_path: Path) -> None:
    out = tmp_path / "out"
    done: list[Outcome] = []
    report = degrade_all(plan(sources, LEVELS[:1], out, BatchOptions(workers=1)), out, done.append)
    assert (report.written, report.kept, report.failed) == (2, 0, {})
    assert len(list(out.rglob("*.png"))) == 2
    assert [outcome.label for outcome in done] == [str(source.path) for source in sources]


def test_failures_of_the_same_name_are_both_told(sources: list[ImageSource], tmp_path: Path) -> None:
    for source in sources:
        assert source.path is not None
        source.path.write_bytes(b"broken")
    report = degrade_all(plan(sources, LEVELS, tmp_path / "out", BatchOptions(workers=1)), tmp_path / "out")
    assert set(report.failed) == {str(source.path) for source in sources}


def test_a_killed_worker_is_one_error(sources: list[ImageSource], tmp_path: Path) -> None:
    killer = Killer(Level("lq", severity=1), "test")
    tasks = plan(sources, [killer], tmp_path / "out", BatchOptions(workers=2))
    with pytest.raises(DataError, match="one was killed"):
        degrade_all(tasks, tmp_path / "out")


def test_images_that_changed_and_results_that_were_removed_are_told(sources: list[ImageSource], tmp_path: Path) -> None:
    out = tmp_path / "out"
    tasks = plan(sources, LEVELS[:1], out, BatchOptions(workers=1))
    assert degrade_all(tasks, out).outdated == []
    path = sources[1].path
    assert path is not None
    later = path.stat().st_mtime + 60
    os.utime(path, (later, later))
    report = degrade_all(tasks, out)
    assert (report.kept, report.outdated) == (2, [str(path)])
    report = degrade_all(
        plan(sources, LEVELS, tmp_path / "o", BatchOptions(workers=1)),
        tmp_path / "o",
        lambda outcome: shutil.rmtree(tmp_path / "o") if outcome.label == str(sources[0].path) else None,
    )
    assert list(report.failed) == [str(sources[0].path)]
    assert "they were removed" in report.failed[str(sources[0].path)]


def test_a_foreign_note_is_refused(sources: list[ImageSource], tmp_path: Path) -> None:
    out = tmp_path / "out"
    out.mkdir()
    for content in ("{", "[1]", json.dumps({"recipe": "other"})):
        (out / RUN_FILE).write_text(content)
        with pytest.raises(ConfigError, match="same options"):
            degrade_all(plan(sources, LEVELS, out, BatchOptions()), out)
        assert (out / RUN_FILE).read_text() == content


def test_too_wide_for_webp_is_named(tmp_path: Path) -> None:
    cv2.imwrite(str(tmp_path / "wide.png"), np.zeros((1, 16400, 3), np.uint8))
    options = BatchOptions(image_format="webp", workers=1)
    report = degrade_all(plan(iterate(tmp_path / "wide.png"), LEVELS[:1], tmp_path / "o", options), tmp_path / "o")
    assert "use png" in report.failed[str(tmp_path / "wide.png")]


def test_nothing_to_do(tmp_path: Path) -> None:
    assert degrade_all([], tmp_path / "out") == BatchReport()
    assert not (tmp_path / "out").exists()


def test_an_overwriting_run_that_was_stopped_leaves_no_mixture(sources: list[ImageSource], tmp_path: Path) -> None:
    def stop(outcome: Outcome) -> None:
        raise KeyboardInterrupt

    def run(out: Path, seed: int, overwrite: bool = False, advance: Callable[[Outcome], None] | None = None) -> int:
        options = BatchOptions(seed=seed, overwrite=overwrite, workers=1)
        return degrade_all(plan(sources, LEVELS[2:], out, options), out, advance).written

    assert run(tmp_path / "out", 0) == 2
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path / "out", 1, True, stop)
    assert run(tmp_path / "out", 1) >= 1
    assert run(tmp_path / "fresh", 1) == 2
    for path in (tmp_path / "fresh").rglob("*.png"):
        assert (tmp_path / "out" / path.relative_to(tmp_path / "fresh")).read_bytes() == path.read_bytes()


def test_what_was_made_with_other_options_is_never_taken_for_done(sources: list[ImageSource], tmp_path: Path) -> None:
    out, fresh = tmp_path / "out", tmp_path / "fresh"

    def run(folder: Path, seed: int, chosen: int, form: str = "png", overwrite: bool = False) -> BatchReport:
        options = BatchOptions(seed, form, overwrite, workers=1)
        return degrade_all(plan(sources[:chosen], LEVELS, folder, options), folder)

    run(out, 0, 1)
    run(out, 0, 2)  # a second batch of the same options counts too
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    few = plan(sources, LEVELS[:2], out, BatchOptions(seed=1, overwrite=True, workers=1))
    name = f"lq3/{sources[0].stem}.png and 1 more"
    with pytest.raises(ConfigError, match=rf"got {name} made with .*seed 0.* would stay; delete those"):
        degrade_all(few, out)
    for arguments in ((1, 1, "png", True), (1, 2, "webp", True)):  # fewer sources, another format
        with pytest.raises(ConfigError, match="would stay; delete those"):
            run(out, *arguments)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    shutil.rmtree(out / "lq3")
    assert degrade_all(few, out).written == 4
    assert run(out, 1, 2).kept == 4
    run(fresh, 1, 2)
    for path in fresh.rglob("*.png"):
        assert (out / path.relative_to(fresh)).read_bytes() == path.read_bytes()


def test_files_that_no_batch_made_are_no_results(sources: list[ImageSource], tmp_path: Path) -> None:
    """A contact sheet, or a stranger's file, is in nobody's way, and stays."""
    out = tmp_path / "out"
    degrade_all(plan(sources, LEVELS[:1], out, BatchOptions(workers=1)), out)
    (out / "sheet.png").write_bytes(b"sheet")
    tasks = plan(sources, LEVELS[:1], out, BatchOptions(seed=1, overwrite=True, workers=1))
    assert degrade_all(tasks, out).written == 2
    assert (out / "sheet.png").read_bytes() == b"sheet"
