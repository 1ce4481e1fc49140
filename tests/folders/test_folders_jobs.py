"""`glesam segment` on a folder: table, sheet, workers, ranks, resuming; and the same with Ray Data."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
from PIL import Image
from typer.testing import CliRunner, Result

from glesam.cli import app
from glesam.common.locks import sole
from glesam.draw.sheet import Tile
from glesam.folders.parts import PARTS, ResultsJournal
from glesam.folders.sheet import SHEET, Entry, draw_sheet
from glesam.folders.table import ObjectRow, read_csv, rows_of

BOXES = ["--box", "5,5,30,35", "--box", "30,2,58,38"]


def call(model: Path, *words: object) -> Result:
    options = ["--model", str(model), "--device", "cpu"]
    return CliRunner().invoke(app, ["segment", *map(str, words), *BOXES, *options])


def start(model: Path, photos: Path, out: Path, **variables: str) -> subprocess.Popen[str]:
    words = ["segment", str(photos), "-o", str(out), *BOXES, "--model", str(model), "--device", "cpu"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    return subprocess.Popen(
        [sys.executable, "-m", "glesam", *words], env=environment, stderr=subprocess.PIPE, text=True
    )


def comparable(folder: Path) -> list[ObjectRow]:
    """The table without what a clock says."""
    return [ObjectRow(**{**vars(row), "seconds": None}) for row in read_csv(folder / "results.csv")]


@pytest.fixture
def expected(folder_model: Path, photos: Path) -> list[ObjectRow]:
    from glesam import Predictor

    predictor, rows = Predictor.from_pretrained(folder_model), []
    for path in sorted(photos.iterdir()):
        predictor.set_image(path)
        rows += rows_of(predictor.predict(boxes=[[5, 5, 30, 35], [30, 2, 58, 38]]), path.name)
    assert len({row.area for row in rows}) > 6, "tables of such a model do not tell the photos apart"
    return rows


def test_table_and_sheet_and_resuming(
    folder_model: Path, photos: Path, tmp_path: Path, expected: list[ObjectRow]
) -> None:
    out = tmp_path / "out"
    assert call(folder_model, photos, "-o", out, "--json").exit_code == 0
    assert comparable(out) == expected
    assert all(row.seconds is not None and row.seconds > 0 for row in read_csv(out / "results.csv"))
    assert not (out / PARTS).exists()
    with Image.open(out / SHEET) as sheet:
        assert sheet.width > 5 * 224
    (out / "p2.mask.png").unlink()  # as if the run had been stopped before it
    (out / "results.csv").unlink()
    assert call(folder_model, photos, "-o", out, "--json").exit_code == 0
    assert comparable(out) == expected, "rows of finished pictures come from their outputs"
    again = call(folder_model, out, photos, "-o", tmp_path / "other")
    assert "7 segmented" not in again.stderr, "the sheet is no photo"


def test_a_failed_image_is_in_red_and_not_in_the_table(folder_model: Path, photos: Path, tmp_path: Path) -> None:
    (photos / "broken.jpg").write_text("no image")
    assert call(folder_model, photos, "-o", tmp_path / "out").exit_code == 1
    assert "broken.jpg" not in {row.file for row in read_csv(tmp_path / "out" / "results.csv")}
    with Image.open(tmp_path / "out" / SHEET) as sheet:
        red, green, blue = np.asarray(sheet.convert("RGB")).astype(int)[:60, :240].transpose(2, 0, 1)
    assert ((red - green > 60) & (red - blue > 60)).sum() > 50


@pytest.fixture
def tiles(monkeypatch: pytest.MonkeyPatch) -> list[Tile]:
    """What the last contact sheet shows, which is not written."""
    drawn: list[Tile] = []

    def draw(_: Path, rows: list[list[Tile]]) -> None:
        drawn[:] = [tile for row in rows for tile in row]

    monkeypatch.setattr("glesam.folders.sheet.write_contact_sheet", draw)
    return drawn


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    """Sets torch's threads for a test."""
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


def test_numbers_of_threads_differ_in_the_last_digits_only(threads: Callable[[int], None]) -> None:
    from glesam import Predictor

    answers = []
    for count in (1, 2):
        threads(count)
        predictor = Predictor.from_pretrained("compact", enhance="off")
        predictor.set_image(np.random.default_rng(0).integers(0, 256, (200, 300, 3), dtype=np.uint8))
        answers.append(predictor.predict(boxes=[[40, 30, 200, 150]]))
    np.testing.assert_allclose(answers[0].logits, answers[1].logits, atol=1e-4)
    assert (answers[0].masks != answers[1].masks).sum() <= 4


def test_two_workers_of_as_many_threads_give_what_one_gives(
    folder_model: Path, photos: Path, tmp_path: Path, expected: list[ObjectRow], threads: Callable[[int], None]
) -> None:
    threads(1)
    one, two = tmp_path / "one", tmp_path / "two"
    assert call(folder_model, photos, "-o", one, "--npz").exit_code == 0
    assert call(folder_model, photos, "-o", two, "--npz", "--workers", "2").exit_code == 0
    assert comparable(two) == comparable(one) == expected
    for path in one.glob("*.mask.*"):
        assert path.read_bytes() == (two / path.name).read_bytes(), path.name


def test_two_jobs_share_a_folder_and_a_killed_one_is_made_up_for(
    folder_model: Path,
    photos: Path,
    tmp_path: Path,
    expected: list[ObjectRow],
    monkeypatch: pytest.MonkeyPatch,
    threads: Callable[[int], None],
) -> None:
    out = tmp_path / "out"
    threads(1)
    with monkeypatch.context() as job:
        job.setenv("RANK", "1")
        job.setenv("WORLD_SIZE", "2")
        alone = call(folder_model, photos, "-o", out)
    assert alone.exit_code == 0, alone.output
    done = sorted(path.name for path in out.glob("*.mask.png"))
    assert done == ["p1.mask.png", "p3.mask.png", "p5.mask.png"]
    assert not (out / "results.csv").exists(), "rank 0, which sums up, has not run: it was killed"
    both = [start(folder_model, photos, out, RANK=str(rank), WORLD_SIZE="2") for rank in (0, 1)]
    errors = [job.communicate(timeout=120)[1] for job in both]
    assert [job.returncode for job in both] == [0, 0], errors
    assert comparable(out) == expected
    assert sum("skipped, whose outputs exist" in text for text in errors) == 1


def call_rank(monkeypatch: pytest.MonkeyPatch, rank: int, model: Path, *words: object) -> Result:
    """Run one of two jobs in this process."""
    with monkeypatch.context() as job:
        job.setenv("RANK", str(rank))
        job.setenv("WORLD_SIZE", "2")
        return call(model, *words)


def test_an_image_that_fails_in_another_job_is_told_by_the_first(
    folder_model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, tiles: list[Tile]
) -> None:
    """torchrun ends all jobs when one of them ends with another status than 0."""
    (photos / "p1.jpg").write_text("no image")
    out = tmp_path / "out"
    other = call_rank(monkeypatch, 1, folder_model, photos, "-o", out)
    assert other.exit_code == 0, other.output
    assert "error: " in other.stderr
    assert "2 segmented, 0 skipped, 1 failed" in other.stderr
    first = call_rank(monkeypatch, 0, folder_model, photos, "-o", out)
    assert first.exit_code == 1
    assert "3 segmented, 0 skipped, 1 failed" in first.stderr
    assert "they were removed" not in first.stderr
    assert {row.file for row in read_csv(out / "results.csv")} == {f"p{number}.jpg" for number in (0, 2, 3, 4, 5)}
    assert [(tile.title, bool(tile.fault)) for tile in tiles[:2]] == [("p1.jpg", True), ("p0.jpg", False)]
    Image.new("RGB", (60, 40)).save(photos / "p1.jpg")
    assert [call_rank(monkeypatch, rank, folder_model, photos, "-o", out).exit_code for rank in (1, 0)] == [0, 0]
    assert "p1.jpg" in {row.file for row in read_csv(out / "results.csv")}
    assert not any(tile.fault for tile in tiles)


def test_results_of_another_job_that_were_removed_are_named(
    folder_model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert call_rank(monkeypatch, 1, folder_model, photos, "-o", out).exit_code == 0
    (out / "p3.mask.png").unlink()
    first = call_rank(monkeypatch, 0, folder_model, photos, "-o", out)
    assert first.exit_code == 1
    assert [f"results of p{number}.jpg" in first.stderr for number in range(6)] == [False] * 3 + [True] + [False] * 2


def test_results_that_a_new_name_leaves_behind_are_told(folder_model: Path, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    words = (folder_model, photos, "-o", out)
    assert "share" not in call(*words).stderr
    shutil.copy(photos / "p2.jpg", photos / "p2.jpeg")
    told = call(*words)
    assert f"such as {out / 'p2.mask.png'}; those of p2.jpeg become {out / 'p2.jpeg.mask.png'}" in told.stderr
    assert "2 segmented, 5 skipped" in told.stderr
    assert "share" not in call(*words).stderr


def test_a_second_run_into_a_folder_is_refused(folder_model: Path, photos: Path, tmp_path: Path) -> None:
    with sole(tmp_path / "out"):
        result = call(folder_model, photos, "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert f"process {os.getpid()} on" in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert list((tmp_path / "out").iterdir()) == []
    assert call(folder_model, photos, "-o", tmp_path / "out").exit_code == 0


def test_overwriting_that_is_killed_and_run_again_agrees_with_its_masks(
    folder_model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    assert call(folder_model, photos, "-o", out, "--json", "--npz").exit_code == 0
    noted, former = [], ResultsJournal.add

    class KilledError(BaseException):
        pass

    def add(self: ResultsJournal, file: str, rows: list[ObjectRow]) -> None:
        former(self, file, [replace(row, area=7) for row in rows])  # a row that no mask bears out
        noted.append(file)
        if len(noted) == 3:
            raise KilledError

    monkeypatch.setattr(ResultsJournal, "add", add)
    with pytest.raises(KilledError):
        CliRunner().invoke(app, ["segment", str(photos), *BOXES, "--model", str(folder_model), "-o", str(out), "--json",
                                 "--npz", "--overwrite"], catch_exceptions=False)  # fmt: skip
    assert [path.name for path in out.glob("p2.*")] == [], "nothing old beside what is new"
    monkeypatch.setattr(ResultsJournal, "add", former)
    again = call(folder_model, photos, "-o", out, "--json", "--npz")
    assert "1 segmented, 5 skipped" in again.stderr
    areas = {row.file: row.area for row in read_csv(out / "results.csv")}
    assert [areas[f"p{number}.jpg"] == 7 for number in range(6)] == [True, True, False, False, False, False]


def test_results_removed_meanwhile_are_named(
    folder_model: Path, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out, former = tmp_path / "out", ResultsJournal.add

    def add(self: ResultsJournal, file: str, rows: list[ObjectRow]) -> None:
        former(self, file, rows)
        if file == "p2.jpg":
            shutil.rmtree(out)
            out.mkdir()

    monkeypatch.setattr(ResultsJournal, "add", add)
    result = call(folder_model, photos, "-o", out)
    assert result.exit_code == 1
    assert "Traceback" not in result.output
    assert [f"results of p{number}.jpg" in result.stderr for number in (0, 1, 3)] == [True, True, False]
    assert {row.file for row in read_csv(out / "results.csv")} == {"p3.jpg", "p4.jpg", "p5.jpg"}
    monkeypatch.undo()
    assert call(folder_model, photos, "-o", out).exit_code == 0


@pytest.mark.slow
def test_torchrun_starts_them(folder_model: Path, photos: Path, tmp_path: Path, expected: list[ObjectRow]) -> None:
    words = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "glesam", "segment"]
    options = ["-o", str(tmp_path / "out"), *BOXES, "--model", str(folder_model), "--device", "cpu"]
    subprocess.run([sys.executable, *words, str(photos), *options], check=True, timeout=240)
    assert comparable(tmp_path / "out") == expected


def test_sheet_of_many_images_is_spread(photos: Path, tmp_path: Path) -> None:
    entries = [Entry(f"n{number}", photos / f"p{number % 6}.jpg", None) for number in range(100)]
    draw_sheet(tmp_path / "s.jpg", entries, {})
    with Image.open(tmp_path / "s.jpg") as sheet:
        assert sheet.height < 9 * (224 + 50)
    draw_sheet(tmp_path / "none.jpg", [], {})
    assert not (tmp_path / "none.jpg").exists()


def test_the_sheet_shows_images_as_they_were_read(folder_model: Path, tmp_path: Path, tiles: list[Tile]) -> None:
    bands = np.zeros((40, 60, 5), np.uint16)
    bands[...] = [600, 1500, 2400, 3000, 1200]
    (tmp_path / "in").mkdir()
    tifffile.imwrite(tmp_path / "in" / "a.tif", bands, photometric="minisblack", planarconfig="contig")
    done = call(folder_model, tmp_path / "in", "--range", "0,3000", "--bands", "5,3,1", "-o", tmp_path / "out")
    assert done.exit_code == 0, done.output
    assert tiles[0].image is not None
    assert tiles[0].image.reshape(-1, 3).min(axis=0).tolist() == [102, 204, 51]
    assert tiles[0].image.reshape(-1, 3).max(axis=0).tolist() == [102, 204, 51]


@pytest.fixture
def ray_session() -> Iterator[None]:
    ray = pytest.importorskip("ray")
    with tempfile.TemporaryDirectory(prefix="r") as folder:  # short: sockets have paths of 107 bytes at most
        ray.init(num_cpus=2, include_dashboard=False, _temp_dir=folder, log_to_driver=False)
        yield
        ray.shutdown()


@pytest.mark.slow
def test_ray_pipeline(
    ray_session: None, folder_model: Path, photos: Path, tmp_path: Path, expected: list[ObjectRow]
) -> None:
    from pyarrow import fs

    from glesam.folders.ray_pipeline import PipelineJob, ray_pipeline

    (photos / "broken.jpg").write_text("no image")
    # A file system below a prefix, as a bucket is: paths are not those of this machine.
    store = fs.SubTreeFileSystem(str(tmp_path), fs.LocalFileSystem())
    (tmp_path / "out").mkdir()
    boxes = {"boxes": [[5, 5, 30, 35], [30, 2, 58, 38]]}
    job = PipelineJob("out", boxes, model=str(folder_model), formats=("png", "json"), out_filesystem=store)
    paths = [f"photos/{path.name}" for path in sorted(photos.iterdir())]
    report = ray_pipeline(paths, job, filesystem=store, actors=2)
    assert [ObjectRow(**{**vars(row), "seconds": None}) for row in report.rows] == expected
    assert list(report.failed) == ["broken.jpg"]
    assert report.skipped == 0
    assert comparable(tmp_path / "out") == expected
    assert (tmp_path / "out" / "p3.jpg.mask.json").exists()
    again = ray_pipeline([path for path in paths if "broken" not in path], job, filesystem=store)
    assert (again.skipped, again.failed) == (6, {})
    assert again.rows == report.rows
