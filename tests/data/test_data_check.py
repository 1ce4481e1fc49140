from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from data_layouts import blob, coco, pairs, photo, write

from glesam.data.check.check import KINDS, CheckReport, check_dataset, check_folder
from glesam.data.check.files import mask_style
from glesam.data.check.tiles import dataset_tiles, folder_tiles
from glesam.data.readers.coco import CocoDataset
from glesam.errors import DataError


def kinds(report: CheckReport) -> dict[str, list[str]]:
    """Names by kind of finding."""
    return {kind: [finding.name for finding in found] for kind, found in report.by_kind().items()}


def test_a_sound_set_has_no_problems_and_tells_how_masks_are_read(tmp_path: Path) -> None:
    pairs(tmp_path, "images", "masks", ["a", "b"])
    write(tmp_path / "masks/b.png", blob(1))
    write(tmp_path / "images/c.jpg", photo(1))
    ids = blob(1)
    ids[20:, 20:] = 2
    write(tmp_path / "masks/c.png", ids)
    report = check_folder(tmp_path)
    assert report.problems == []
    assert (report.samples, report.objects) == (3, 4)
    assert kinds(report) == {"0/1 mask": ["b"], "0/255 mask": ["a"]}
    assert KINDS["0/1 mask"].meaning.startswith("handled")


def test_every_fault_is_named_and_none_stops_the_check(tmp_path: Path) -> None:
    pairs(tmp_path, "images", "masks", ["size", "empty", "broken", "cutmask", "alone", "IMG_1", "img 1 (1)"])
    write(tmp_path / "masks/size.png", blob(1, 10, 10))
    write(tmp_path / "masks/empty.png", blob(0))
    (tmp_path / "images/broken.jpg").write_bytes(b"")
    (tmp_path / "masks/cutmask.png").write_bytes((tmp_path / "masks/cutmask.png").read_bytes()[:50])
    (tmp_path / "masks/alone.png").rename(tmp_path / "masks/ALONE.png")
    write(tmp_path / "images/size.webp", photo(0))
    write(tmp_path / "masks/lossy.jpg", blob())
    report = check_folder(tmp_path)
    assert {kind: names for kind, names in kinds(report).items() if KINDS[kind].severity == "problem"} == {
        "unreadable image": ["broken.jpg"],
        "unreadable mask": ["cutmask.png"],
        "size mismatch": ["size"],
        "image without mask": ["alone.jpg"],
        "mask without image": ["ALONE.png"],
        "mask not PNG": ["lossy.jpg"],
        "same name twice": ["size.jpg"],
        "near-duplicate names": ["IMG_1"],
        "empty mask": ["empty"],
    }
    details = {finding.kind: finding.detail for finding in report.findings}
    assert details["image without mask"] == "is it ALONE.png?"
    assert details["size mismatch"] == "image 32x24, mask 10x10"
    assert details["same name twice"] == "and size.webp"
    assert details["near-duplicate names"] == "and img 1 (1)"


def test_all_masks_empty_is_a_finding_of_its_own(tmp_path: Path) -> None:
    pairs(tmp_path, "images", "masks", ["a", "b"])
    for name in "ab":
        write(tmp_path / "masks" / f"{name}.png", blob(0))
    assert kinds(check_folder(tmp_path)) == {"all masks empty": ["2 masks"], "empty mask": ["a", "b"]}
    write(tmp_path / "masks/a.png", blob(1))
    assert "all masks empty" not in kinds(check_folder(tmp_path))


def test_tiny_objects_are_a_note(tmp_path: Path) -> None:
    # One cell of the 64x64 grid over 128x128 pixels is 4 pixels.
    mask = np.zeros((128, 128), np.uint8)
    mask[0, :3] = 5
    mask[50, :4] = 6
    write(tmp_path / "images/a.png", photo(0, 128, 128))
    write(tmp_path / "masks/a.png", mask)
    report = check_folder(tmp_path)
    assert [(finding.kind, finding.detail) for finding in report.findings] == [("tiny object", "id 5: 3 px")]
    assert report.problems == []


def test_soft_edges_are_told_from_many_objects(tmp_path: Path) -> None:
    soft = cv2.GaussianBlur(np.pad(np.full((60, 60), 255, np.uint8), 20), (5, 5), 0)
    assert mask_style(soft) == "soft-edged mask"
    many = np.arange(256, dtype=np.uint8).repeat(16).reshape(64, 64)
    assert mask_style(many) is None
    write(tmp_path / "images/a.png", photo(0, 100, 100))
    write(tmp_path / "masks/a.png", soft)
    report = check_folder(tmp_path)
    assert kinds(report) == {"soft-edged mask": ["a"]}
    assert report.objects == 1


def test_missing_folders_and_images_are_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images, found none; lay the set out as"):
        check_folder(tmp_path)
    (tmp_path / "images").mkdir()
    with pytest.raises(DataError, match=r"masks, found none"):
        check_folder(tmp_path)
    (tmp_path / "masks").mkdir()
    with pytest.raises(DataError, match="expected images in"):
        check_folder(tmp_path)


def test_other_layouts_are_checked_through_their_reader(tmp_path: Path) -> None:
    dataset = CocoDataset(coco(tmp_path))
    report = check_dataset(dataset)
    assert kinds(report) == {"empty mask": ["000000000009"]}
    assert (report.samples, report.objects) == (2, 2)
    (tmp_path / "val2017/000000000007.jpg").write_bytes(b"x")
    report = check_dataset(dataset)
    assert kinds(report)["unreadable sample"] == ["000000000007"]
    tiles = dataset_tiles(dataset, report)
    assert [(tile.title, tile.image is None, tile.fault) for tile in tiles] == [
        ("000000000007", True, "unreadable sample"),
        ("000000000009", False, "empty mask"),
    ]


def test_tiles_show_faults_first_then_samples_from_all_over(tmp_path: Path) -> None:
    pairs(tmp_path, "images", "masks", [f"{i:02}" for i in range(20)])
    (tmp_path / "images/13.jpg").write_bytes(b"")
    (tmp_path / "masks/17.png").unlink()
    write(tmp_path / "masks/05.png", blob(0))
    tiles = folder_tiles(tmp_path, check_folder(tmp_path), count=7)
    assert [tile.title for tile in tiles] == ["05", "13", "17", "00", "06", "12", "19"]
    assert [tile.fault for tile in tiles[:4]] == ["empty mask", "unreadable image", "image without mask", ""]
    assert tiles[1].image is None
    assert tiles[2].mask is None
