from __future__ import annotations

import json
from pathlib import Path

import cv2
import pytest
from data_layouts import pairs, photo, write

from glesam.data.build.builder import build
from glesam.data.build.manifest import Manifest
from glesam.data.build.options import BuildConfig
from glesam.data.build.verify import Problem, verify
from glesam.data.readers.folder import FolderDataset
from glesam.errors import DataError


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a built set with one level."""
    root = tmp_path_factory.mktemp("original")
    pairs(root / "set", "images", "masks", ["a", "b"])
    build(FolderDataset(root / "set"), root / "out", BuildConfig(levels=(2,)), workers=1)
    out = root / "out"
    return {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}


@pytest.fixture
def built(tmp_path: Path, original: dict[str, bytes]) -> Path:
    """A fresh copy of the built set."""
    for name, data in original.items():
        (tmp_path / "out" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "out" / name).write_bytes(data)
    return tmp_path / "out"


def pack_anew(path: Path) -> None:
    """Write the same pixels with another encoder setting."""
    before = path.read_bytes()
    cv2.imwrite(str(path), cv2.imread(str(path), cv2.IMREAD_UNCHANGED), [cv2.IMWRITE_PNG_COMPRESSION, 9])
    if path.read_bytes() == before:
        raise OSError("the file did not change")


def test_a_whole_set_has_no_problems(built: Path) -> None:
    steps: list[int] = []
    for pixels_only in (False, True):
        report = verify(built, pixels_only, advance=lambda: steps.append(1))
        assert (report.checked, report.problems) == (6, [])
    assert len(steps) == 12


def test_missing_changed_and_extra_files_are_listed(built: Path) -> None:
    (built / "lq2/a.png").unlink()
    (built / "clear/b.png").write_bytes(b"cut")
    write(built / "lq2/b.png", photo(99))
    write(built / "masks/c.png", photo(1)[..., 0])
    (built / "lq1").mkdir()
    (built / "lq1" / ".a.tmp.png").touch()
    expected = [
        Problem("changed", "clear/b.png", "cannot be decoded"),
        Problem("extra", "lq1/.a.tmp.png", "not in the manifest"),
        Problem("missing", "lq2/a.png", "not there"),
        Problem("changed", "lq2/b.png", "other pixels"),
        Problem("extra", "masks/c.png", "not in the manifest"),
    ]
    assert verify(built).problems == expected
    assert verify(built, pixels_only=True).problems == expected


def test_one_flipped_bit_is_found(built: Path) -> None:
    path = built / "masks/a.png"
    mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    mask[0, 0] ^= 1
    cv2.imwrite(str(path), mask)
    assert [problem.path for problem in verify(built, pixels_only=True).problems] == ["masks/a.png"]


def test_another_encoder_counts_only_without_pixels(built: Path) -> None:
    for name in ("clear/a.png", "masks/b.png"):
        pack_anew(built / name)
    problems = verify(built).problems
    assert [(problem.kind, problem.path) for problem in problems] == [
        ("changed", "clear/a.png"),
        ("changed", "masks/b.png"),
    ]
    assert "same pixels, file packed otherwise" in problems[0].detail
    assert verify(built, pixels_only=True).problems == []


def test_another_machines_manifest_can_be_compared_with(built: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    (built / "manifest.json").rename(other)
    assert verify(built, manifest=other).problems == []


def test_manifest_survives_a_round_trip_byte_by_byte(built: Path) -> None:
    before = (built / "manifest.json").read_bytes()
    Manifest.load(built).save(built)
    assert (built / "manifest.json").read_bytes() == before


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "of version 1 in .*, got 'glesam-lqseg' of version 2"),
        ({"format": "other"}, "got 'other' of version 1"),
        ({"samples": None}, "build the set again"),
        ({"samples": {"a": {}}}, "build the set again"),
    ],
)
def test_a_manifest_of_another_kind_is_refused(built: Path, change: dict[str, object], message: str) -> None:
    path = built / "manifest.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(DataError, match=message):
        verify(built)


@pytest.mark.parametrize("text", ["", "[]", "{", "null"])
def test_a_broken_manifest_is_refused(built: Path, text: str) -> None:
    (built / "manifest.json").write_text(text)
    with pytest.raises(DataError, match=r"manifest\.json"):
        verify(built)


def test_no_folder_and_no_manifest_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found no such folder"):
        verify(tmp_path / "gone")
    with pytest.raises(DataError, match="make the set with 'glesam data build'"):
        verify(tmp_path)
