from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from dataclasses import asdict
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_layouts import blob, pairs, photo, write
from PIL import Image

import glesam
from glesam.common import pool as processes
from glesam.common.seeds import level_seed
from glesam.data.base import Sample
from glesam.data.build import sample as build_sample
from glesam.data.build.builder import build
from glesam.data.build.journal import FILE_NAME as JOURNAL
from glesam.data.build.manifest import Manifest
from glesam.data.build.options import BuildConfig
from glesam.data.build.sample import SampleOutcome, select_objects
from glesam.data.readers.built import BuiltDataset
from glesam.data.readers.folder import FolderDataset, read_image
from glesam.data.readers.registry import open_dataset
from glesam.degrade.lqseg.pipeline import config_of, degrade
from glesam.errors import ConfigError, DataError

NAMES = ["a", "b", "c", "d", "e"]


@pytest.fixture
def source(tmp_path: Path) -> Path:
    pairs(tmp_path / "set", "images", "masks", NAMES)
    return tmp_path / "set"


def content(root: Path) -> dict[str, bytes]:
    """Every file of a folder."""
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_a_set_holds_clear_levels_masks_and_manifest(source: Path, tmp_path: Path) -> None:
    report = build(FolderDataset(source), tmp_path / "out", workers=1)
    assert (report.built, report.kept, report.without_object, report.failed) == (5, 0, [], {})
    files = content(tmp_path / "out")
    folders = ("clear", "lq1", "lq2", "lq3", "masks")
    assert set(files) == {f"{folder}/{name}.png" for folder in folders for name in NAMES} | {"manifest.json"}
    clear = read_image(source / "images" / "b.jpg")
    np.testing.assert_array_equal(read_image(tmp_path / "out" / "clear" / "b.png"), clear)
    for level in (1, 2, 3):
        expected = degrade(clear, level, level_seed("b", level, 0), recipe="test")
        np.testing.assert_array_equal(read_image(tmp_path / "out" / f"lq{level}" / "b.png"), expected)


def test_the_manifest_tells_recipe_seeds_versions_and_hashes(source: Path, tmp_path: Path) -> None:
    build(FolderDataset(source), tmp_path / "out", BuildConfig(levels=(3, 1), recipe="train", seed=4), workers=1)
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["config"]["levels"] == [1, 3]
    assert manifest["config"]["degradation"] == json.loads(json.dumps(asdict(config_of("train"))))
    assert manifest["versions"] == {"glesam": glesam.__version__, "numpy": np.__version__, "opencv": cv2.__version__}
    assert manifest["source"] == {"name": "set", "reader": "FolderDataset"}
    entry = manifest["samples"]["a"]["files"]["lq3"]
    raw = (tmp_path / "out" / entry["path"]).read_bytes()
    assert entry["sha256"] == hashlib.sha256(raw).hexdigest()
    assert entry["bytes"] == len(raw)
    assert entry["seed"] == level_seed("a", 3, 4)
    pixels = np.ascontiguousarray(cv2.imdecode(np.frombuffer(raw, np.uint8), cv2.IMREAD_COLOR)[..., ::-1])
    assert entry["pixels"] == hashlib.sha256(b"uint8 (24, 32, 3)\n" + pixels.tobytes()).hexdigest()
    assert "seed" not in manifest["samples"]["a"]["files"]["clear"]


def test_seeds_depend_on_name_level_and_seed() -> None:
    seeds = {level_seed(name, level, seed) for name in "ab" for level in (1, 2, 3) for seed in (0, 1)}
    assert len(seeds) == 12
    digest = hashlib.blake2b(b"0\0lq3/0001", digest_size=8).digest()
    assert level_seed("0001", 3, 0) == int.from_bytes(digest, "big") // 2


def test_the_number_of_workers_changes_no_byte(source: Path, tmp_path: Path) -> None:
    (source / "images" / "b.jpg").write_bytes(b"no image")
    one = build(FolderDataset(source), tmp_path / "one", workers=1)
    two = build(FolderDataset(source), tmp_path / "two", workers=2)
    assert list(one.failed) == list(two.failed) == ["b"]
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_an_image_does_not_depend_on_the_others(source: Path, tmp_path: Path) -> None:
    build(FolderDataset(source), tmp_path / "all", workers=1)
    for name in "abcd":
        (source / "images" / f"{name}.jpg").unlink()
    build(FolderDataset(source), tmp_path / "one", workers=1)
    assert (tmp_path / "one/lq2/e.png").read_bytes() == (tmp_path / "all/lq2/e.png").read_bytes()


@pytest.mark.parametrize("stop_after", [1, 3])
def test_a_stopped_build_goes_on_to_the_same_manifest(source: Path, tmp_path: Path, stop_after: int) -> None:
    build(FolderDataset(source), tmp_path / "whole", workers=1)
    done: list[SampleOutcome] = []

    def stop(outcome: SampleOutcome) -> None:
        done.append(outcome)
        if len(done) == stop_after:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(FolderDataset(source), tmp_path / "out", workers=1, advance=stop)
    assert not (tmp_path / "out/manifest.json").exists()
    # What a hard kill leaves: a line cut in the journal, a temporary file, and a file that was cut off the journal.
    with (tmp_path / "out" / JOURNAL).open("a") as stream:
        stream.write('{"name": "e", "wid')
    (tmp_path / "out/lq1/.e.glesam-x1y2z3w4.png").write_bytes(b"half")
    (tmp_path / "out/clear/a.png").write_bytes(b"broken")
    report = build(FolderDataset(source), tmp_path / "out", workers=1)
    assert (report.built, report.kept) == (6 - stop_after, stop_after - 1)
    assert content(tmp_path / "out") == content(tmp_path / "whole")


def test_files_that_are_removed_meanwhile_are_named_and_not_listed(source: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"

    def remove(outcome: SampleOutcome) -> None:
        if outcome.name == "b":
            shutil.rmtree(out)

    report = build(FolderDataset(source), out, BuildConfig(levels=(1,)), workers=1, advance=remove)
    assert sorted(report.failed) == ["a", "b"]
    assert "they were removed" in report.failed["a"]
    assert sorted(Manifest.load(out).samples) == ["c", "d", "e"]
    assert build(FolderDataset(source), out, BuildConfig(levels=(1,)), workers=1).built == 2


def test_building_a_finished_set_again_repairs_it_only(source: Path, tmp_path: Path) -> None:
    build(FolderDataset(source), tmp_path / "out", workers=1)
    before = content(tmp_path / "out")
    (tmp_path / "out/lq1/c.png").unlink()
    report = build(FolderDataset(source), tmp_path / "out", workers=1)
    assert (report.built, report.kept) == (1, 4)
    assert content(tmp_path / "out") == before


def test_keep_void_makes_a_built_set_outdated(source: Path, tmp_path: Path) -> None:
    voc = Image.fromarray(np.pad(np.full((14, 20), 255, np.uint8), 5), mode="P")
    voc.paste(1, (10, 10, 20, 15))
    voc.putpalette([0, 0, 0, 128, 0, 0, *range(254)])
    for name in NAMES:
        voc.crop((0, 0, 32, 24)).save(source / "masks" / f"{name}.png")
        write(source / "images" / f"{name}.jpg", photo(1))
    out, options = tmp_path / "out", BuildConfig(levels=(1,))
    assert build(FolderDataset(source), out, options, workers=1).built == 5
    assert build(FolderDataset(source), out, options, workers=1).kept == 5
    assert build(FolderDataset(source, keep_void=True), out, options, workers=1).built == 5
    assert set(np.unique(BuiltDataset(out, split="clear")[0].mask)) == {0, 1, 255}
    build(FolderDataset(source, keep_void=True), tmp_path / "fresh", options, workers=1)
    assert content(out) == content(tmp_path / "fresh")
    assert build(FolderDataset(source), out, options, workers=1).built == 5


def spoil(source: Path) -> None:
    """Take the object of one image, and break another."""
    write(source / "masks" / "c.png", blob(0))
    (source / "images" / "b.jpg").write_bytes(b"no image")


@pytest.mark.parametrize("stopped", [False, True])
def test_files_of_what_is_no_longer_in_a_set_are_deleted(source: Path, tmp_path: Path, stopped: bool) -> None:
    build(FolderDataset(source), tmp_path / "out", workers=1)
    spoil(source)
    write(source / "images" / "d.jpg", photo(9))

    def stop(_: SampleOutcome) -> None:
        raise KeyboardInterrupt

    if stopped:
        with pytest.raises(KeyboardInterrupt):
            build(FolderDataset(source), tmp_path / "out", workers=1, advance=stop)
    report = build(FolderDataset(source), tmp_path / "out", workers=1)
    assert (report.built, report.kept, report.without_object, list(report.failed)) == (1, 2, ["c"], ["b"])
    build(FolderDataset(source), tmp_path / "fresh", workers=1)
    assert content(tmp_path / "out") == content(tmp_path / "fresh")


def test_a_manifest_that_names_files_elsewhere_deletes_none_of_them(source: Path, tmp_path: Path) -> None:
    path = build(FolderDataset(source), tmp_path / "out", workers=1).manifest
    path.write_text(path.read_text().replace('"clear/c.png"', '"../dear.png"').replace('"lq1/c.png"', '"clear/a.png"'))
    (tmp_path / "dear.png").write_bytes(b"dear")
    spoil(source)
    build(FolderDataset(source), tmp_path / "out", workers=1)
    assert (tmp_path / "dear.png").read_bytes() == b"dear"
    assert (tmp_path / "out/clear/a.png").is_file()


def test_a_limit_can_be_raised_but_not_lowered(source: Path, tmp_path: Path) -> None:
    build(FolderDataset(source), tmp_path / "out", BuildConfig(limit=2), workers=1)
    assert list(Manifest.load(tmp_path / "out").samples) == ["a", "b"]
    report = build(FolderDataset(source), tmp_path / "out", workers=1)
    assert (report.built, report.kept) == (3, 2)
    with pytest.raises(DataError, match=r"found 4 others, first b .* another folder, or delete this one"):
        build(FolderDataset(source), tmp_path / "out", BuildConfig(limit=1), workers=1)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (BuildConfig(seed=1), r"config\.seed was 0, now 1"),
        (BuildConfig(levels=(1,)), r"config\.levels was \[1, 2, 3\], now \[1\]"),
        (BuildConfig(recipe="train"), r"config\.recipe was test, now train; config\.degradation"),
    ],
)
def test_a_folder_of_other_options_is_refused(source: Path, tmp_path: Path, change: BuildConfig, told: str) -> None:
    build(FolderDataset(source), tmp_path / "out", workers=1)
    with pytest.raises(DataError, match=rf"{told}.* build into another folder, or delete this one"):
        build(FolderDataset(source), tmp_path / "out", change, workers=1)


def test_a_journal_of_other_options_or_broken_is_refused(source: Path, tmp_path: Path) -> None:
    def stop(_: SampleOutcome) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(FolderDataset(source), tmp_path / "out", workers=1, advance=stop)
    with pytest.raises(DataError, match=r"config\.seed was 0, now 3"):
        build(FolderDataset(source), tmp_path / "out", BuildConfig(seed=3), workers=1)
    (tmp_path / "out" / JOURNAL).write_text("{}\nno json\n")
    with pytest.raises(DataError, match=r"is broken .*line 2.*; delete it and build again"):
        build(FolderDataset(source), tmp_path / "out", workers=1)


def test_another_manifest_version_is_refused(source: Path, tmp_path: Path) -> None:
    report = build(FolderDataset(source), tmp_path / "out", workers=1)
    report.manifest.write_text(report.manifest.read_text().replace('"version": 1', '"version": 9'))
    with pytest.raises(DataError, match=r"of version 1 in .*, got 'glesam-lqseg' of version 9; build into another"):
        build(FolderDataset(source), tmp_path / "out", workers=1)


def test_a_folder_with_other_things_is_refused_and_left_alone(source: Path, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "holiday.jpg").write_bytes(b"dear")
    with pytest.raises(DataError, match=r"found holiday\.jpg and no manifest\.json; choose another folder"):
        build(FolderDataset(source), tmp_path / "out", workers=1)
    assert content(tmp_path / "out") == {"holiday.jpg": b"dear"}


def test_a_corrupt_image_is_named_and_the_rest_built(source: Path, tmp_path: Path) -> None:
    (source / "images" / "b.jpg").write_bytes(b"\xff\xd8 no image")
    report = build(FolderDataset(source), tmp_path / "out", workers=1)
    assert list(report.failed) == ["b"]
    assert "b.jpg, which is none of them or damaged" in report.failed["b"]
    manifest = Manifest.load(tmp_path / "out")
    assert (list(manifest.samples), manifest.failed) == (["a", "c", "d", "e"], ["b"])
    write(source / "images" / "b.jpg", photo(1))
    again = build(FolderDataset(source), tmp_path / "out", workers=1)
    assert (again.built, again.kept, again.failed) == (1, 4, {})
    assert Manifest.load(tmp_path / "out").failed == []


def test_a_full_disk_is_one_line_and_what_is_done_stays(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[Path] = []

    def fill(path: Path, data: bytes) -> None:
        written.append(path)
        if len(written) > 12:
            raise OSError(errno.ENOSPC, "No space left on device", str(path))
        write_bytes(path, data)

    write_bytes = build_sample.write_bytes
    monkeypatch.setattr(build_sample, "write_bytes", fill)
    with pytest.raises(DataError, match="got 'No space left on device'; free some space and run the same") as caught:
        build(FolderDataset(source), tmp_path / "out", workers=1)
    assert "\n" not in str(caught.value)
    monkeypatch.undo()
    report = build(FolderDataset(source), tmp_path / "out", workers=1)
    assert (report.kept, report.built) == (2, 3)


def test_an_unwritable_folder_is_one_line(source: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DataError, match=r"expected to write into .*; check its rights"):
        build(FolderDataset(source), tmp_path / "file" / "out", workers=1)


def test_a_killed_worker_is_one_line(source: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"one was killed .* run again with fewer"):
        build(_DeadlyDataset(source), tmp_path / "out", workers=2)


class _DeadlyDataset(FolderDataset):
    """Ends the process that reads it, as the kernel does when memory runs out."""

    def __getitem__(self, index: int) -> Sample:
        os._exit(9)


def test_images_without_object_are_left_out_and_listed(source: Path, tmp_path: Path) -> None:
    write(source / "masks" / "c.png", blob(0))
    report = build(FolderDataset(source), tmp_path / "out", workers=1)
    assert report.without_object == ["c"]
    manifest = Manifest.load(tmp_path / "out")
    assert (manifest.without_object, sorted(manifest.samples)) == (["c"], ["a", "b", "d", "e"])


def test_an_image_too_long_for_webp_fails_by_name(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / "set" / part).mkdir(parents=True)
        picture = np.full((4, 16_400, 3) if part == "images" else (4, 16_400), 9, np.uint8)
        cv2.imwrite(str(tmp_path / "set" / part / "long.png"), picture)
    options = BuildConfig(levels=(1,), image_format="webp")
    report = build(FolderDataset(tmp_path / "set"), tmp_path / "out", options, workers=1)
    assert report.failed == {"long": "expected an image that webp can hold, got 16400 x 4 pixels; use png"}
    assert not list((tmp_path / "out").rglob("*.webp"))


def test_webp_holds_the_same_pixels(source: Path, tmp_path: Path) -> None:
    build(FolderDataset(source), tmp_path / "png", workers=1)
    build(FolderDataset(source), tmp_path / "webp", BuildConfig(image_format="webp"), workers=1)
    png, webp = Manifest.load(tmp_path / "png").samples["a"], Manifest.load(tmp_path / "webp").samples["a"]
    for kind in ("clear", "lq1", "lq2", "lq3"):
        assert webp.files[kind].path == f"{kind}/a.webp"
        assert webp.files[kind].pixels == png.files[kind].pixels
        stored = read_image(tmp_path / "webp" / webp.files[kind].path)
        np.testing.assert_array_equal(stored, read_image(tmp_path / "png" / png.files[kind].path))


def test_a_built_set_is_read_again_level_by_level(source: Path, tmp_path: Path) -> None:
    build(FolderDataset(source), tmp_path / "out", workers=1)
    clear, worst = open_dataset(tmp_path / "out"), open_dataset(tmp_path / "out" / "lq3")
    assert isinstance(worst, BuiltDataset)
    assert (worst.level, worst.names) == ("lq3", NAMES)
    np.testing.assert_array_equal(worst[0].mask, FolderDataset(source)[0].mask)
    np.testing.assert_array_equal(clear[0].image, FolderDataset(source)[0].image)
    assert (worst[0].image != clear[0].image).any()


def sample(ids: list[list[int]]) -> Sample:
    mask = np.array(ids, np.int32)
    return Sample("x", np.zeros((*mask.shape, 3), np.uint8), mask)


def test_objects_all_largest_random() -> None:
    picture = sample([[0, 7, 7, 9], [0, 7, 300, 300]])
    mask, ids = select_objects(picture, BuildConfig())
    assert (ids, mask.dtype) == ([7, 9, 300], np.uint16)
    np.testing.assert_array_equal(mask, picture.mask)
    mask, ids = select_objects(picture, BuildConfig(objects="largest"))
    assert ids == [7]
    np.testing.assert_array_equal(mask, np.where(picture.mask == 7, 255, 0))
    drawn = {select_objects(picture, BuildConfig(objects="random", seed=seed))[1][0] for seed in range(30)}
    assert drawn == {7, 9, 300}
    first = select_objects(picture, BuildConfig(objects="random", seed=5))[0]
    np.testing.assert_array_equal(first, select_objects(picture, BuildConfig(objects="random", seed=5))[0])


def test_small_objects_can_be_left_out() -> None:
    mask, ids = select_objects(sample([[1, 1, 1, 2]]), BuildConfig(min_share=0.5))
    assert (ids, mask.tolist()) == ([1], [[1, 1, 1, 0]])
    assert select_objects(sample([[1, 2, 3, 4]]), BuildConfig(min_share=0.5))[1] == []


def test_id_255_alone_is_stored_so_that_it_is_read_as_255(tmp_path: Path) -> None:
    mask, _ = select_objects(sample([[0, 255]]), BuildConfig())
    write(tmp_path / "masks/a.png", mask)
    write(tmp_path / "images/a.png", photo(0, 1, 2))
    assert FolderDataset(tmp_path)[0].mask.tolist() == [[0, 255]]
    with pytest.raises(DataError, match="ids up to 65535 in x, got 70000"):
        select_objects(sample([[0, 70000]]), BuildConfig())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"recipe": "tset"}, "did you mean 'test'"),
        ({"objects": "larges"}, "did you mean 'largest'"),
        ({"image_format": "jpg"}, "format of png, webp, got 'jpg'"),
        ({"levels": (0, 1)}, r"levels among 1, 2, 3, got \[0, 1\]"),
        ({"levels": ()}, "levels among 1, 2, 3"),
        ({"seed": -1}, "whole number >= 0, got -1"),
        ({"min_share": 1.0}, "share from 0 to below 1"),
        ({"limit": 0}, "limit of 1 or more"),
    ],
)
def test_impossible_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        BuildConfig(**options)  # type: ignore[arg-type]


def test_a_name_that_cannot_be_a_file_is_a_failure_of_that_image(source: Path, tmp_path: Path) -> None:
    dataset = FolderDataset(source)
    dataset._images["../x"] = dataset._images.pop("e")
    dataset._masks["../x"] = dataset._masks.pop("e")
    dataset._names = sorted(dataset._images)
    report = build(dataset, tmp_path / "out", workers=1)
    assert list(report.failed) == ["../x"]
    assert "can be a file's" in report.failed["../x"]


def test_more_workers_than_work_start_no_process(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "ProcessPoolExecutor", None)
    assert build(FolderDataset(source), tmp_path / "out", BuildConfig(limit=1), workers=8).built == 1
