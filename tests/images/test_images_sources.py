"""Finding images: order, names, laziness, and a clear error for everything that is not there."""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glesam import images
from glesam.errors import ImageError
from glesam.images.sources import ImageSource, _with_stems, iterate


def make(path: Path, value: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((4, 6, 3), value, np.uint8)).save(path)
    return path


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for name in ("b.png", "a.JPG", "c.tif", ".hidden.png", "sub/x.png", "sub/deep/y.webp", ".git/z.png", "a.mask.png"):
        make(tmp_path / name)
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def names(sources: list[ImageSource]) -> list[str]:
    return [source.name for source in sources]


def test_a_folder_is_sorted_without_hidden_files_and_sub_folders(tree):
    assert names(iterate(tree)) == ["a.JPG", "a.mask.png", "b.png", "c.tif"]
    assert names(iterate(str(tree), exclude=["*.mask.png"])) == ["a.JPG", "b.png", "c.tif"]


def test_sub_folders_on_request_keep_relative_names(tree):
    sources = iterate(tree, recursive=True, exclude=["*.mask.png"])
    assert names(sources) == ["a.JPG", "b.png", "c.tif", "sub/deep/y.webp", "sub/x.png"]
    assert [s.stem for s in sources] == ["a", "b", "c", "sub/deep/y", "sub/x"]


def test_patterns(tree):
    assert names(iterate(f"{tree}/*.png")) == ["a.mask.png", "b.png"]
    assert names(iterate(f"{tree}/**/*.png", exclude=["*.mask.png"])) == ["b.png", "sub/x.png"]
    assert names(iterate(f"{tree}/*/x.png")) == ["sub/x.png"]


def test_a_file_named_like_a_pattern_is_that_file(tmp_path):
    make(tmp_path / "a[1].png")
    assert names(iterate(tmp_path / "a[1].png")) == ["a[1].png"]


def test_a_file_named_outright_is_taken_whatever_its_suffix(tmp_path):
    path = make(tmp_path / "x.png").rename(tmp_path / "photo.bin")
    (source,) = iterate(path)
    assert source.read().shape == (4, 6, 3)


def test_what_comes_twice_is_taken_once(tree):
    sources = iterate([tree / "b.png", tree, f"{tree}/sub/../b.png"], exclude=["*.mask.png"])
    assert names(sources) == ["b.png", "a.JPG", "c.tif"]


def test_equal_stems_get_different_output_names(tmp_path):
    paths = [make(tmp_path / n) for n in ("a/x.jpg", "b/x.png", "b/x.jpg", "c/y.png", "d/X.jpg")]
    sources = iterate(paths)
    assert names(sources) == ["x.jpg", "x.png", "x.jpg", "y.png", "X.jpg"]
    assert [s.stem for s in sources] == ["a/x.jpg", "x.png", "b/x.jpg", "y", "d/X.jpg"]


def test_equal_stems_in_one_folder(tmp_path):
    for name in ("x.jpg", "x.png", "y.png"):
        make(tmp_path / name)
    assert [s.stem for s in iterate(tmp_path)] == ["x.jpg", "x.png", "y"]


@settings(max_examples=50, deadline=None)
@given(st.lists(st.from_regex(r"[abA]/[xyX]\.(png|jpg)(\.png)?", fullmatch=True), unique=True, min_size=1, max_size=6))
def test_output_names_never_clash(paths):
    """Case is ignored except where two whole paths differ in nothing else."""
    sources = [ImageSource(Path(p).name, "", Path("/photos", p)) for p in paths]
    stems = [s.stem for s in _with_stems(sources)]
    assert len(set(stems)) == len(stems)
    if len({p.casefold() for p in paths}) == len(paths):
        assert len({s.casefold() for s in stems}) == len(stems)


def test_stdin_is_read_when_its_turn_comes(monkeypatch):
    stream = io.BytesIO()
    Image.fromarray(np.full((4, 6, 3), 9, np.uint8)).save(stream, "PNG")
    (source,) = iterate(["-", "-"])
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stream.getvalue())))
    assert (source.name, source.stem, source.path) == ("stdin", "stdin", None)
    assert (source.read() == 9).all()


def test_empty_stdin(monkeypatch):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO()))
    with pytest.raises(ImageError, match="no bytes from stdin"):
        iterate("-")[0].read()


def test_one_broken_file_among_twenty_stops_nothing(tmp_path):
    for i in range(20):
        make(tmp_path / f"{i:02}.png", i)
    (tmp_path / "07.png").write_bytes(b"broken")
    done, failed = [], []
    for source in iterate(tmp_path):
        if source.name == "07.png":
            with pytest.raises(ImageError) as error:
                source.read()
            failed.append(str(error.value))
        else:
            done.append(int(source.read()[0, 0, 0]))
    assert done == [i for i in range(20) if i != 7]
    assert len(failed) == 1
    assert str(tmp_path / "07.png") in failed[0]


def test_the_pixel_limit_reaches_the_reader(tmp_path):
    (source,) = iterate(make(tmp_path / "x.png"))
    with pytest.raises(ImageError, match="at most 23 pixels, got 6x4"):
        source.read(max_pixels=23)


def test_what_is_not_there(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "notes.txt").touch()
    for item, words in (
        (tmp_path / "none.jpg", "found no"),
        ("x" * 5000, "found no"),
        (tmp_path / "empty", "expected images in the folder.*sub-folders"),
        (tmp_path / "*.jpg", "none of its 0 matches"),
        (tmp_path / "empty" / "*", "none of its 1 matches"),
        ([], "got none"),
    ):
        with pytest.raises(ImageError, match=words) as error:
            iterate(item)
        assert "\n" not in str(error.value)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_a_folder_without_rights_is_told(tmp_path):
    folder = tmp_path / "closed"
    make(folder / "x.png")
    folder.chmod(0)
    try:
        with pytest.raises(ImageError, match="Permission denied"):
            iterate(folder)
    finally:
        folder.chmod(0o755)


def test_the_door_offers_reading_too():
    assert {"read", "content_hash", "MAX_PIXELS", "ImageWarning", "ImageSource", "iterate"} <= set(images.__all__)
