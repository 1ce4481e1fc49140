from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from glesam.errors import ImageError
from glesam.restore.folder import FolderRestorer

GIVEN = np.zeros((6, 9, 3), np.uint8)


def write(path: Path, value: int, size: tuple[int, int] = (6, 9)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((*size, 3), value, np.uint8)).save(path)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "cat.png", 10)
    write(tmp_path / "lq3" / "cat.png", 20)
    write(tmp_path / "a.b.png", 30)
    write(tmp_path / "small.png", 40, (3, 3))
    return tmp_path


@pytest.mark.parametrize(
    ("name", "value"),
    [("cat.jpg", 10), ("cat", 10), ("lq3/cat", 20), ("lq3/cat.jpg", 20), ("x/cat.jpg", 10), ("a.b", 30)],
)
def test_names_find_their_file_whatever_the_suffix(folder: Path, name: str, value: int) -> None:
    assert (FolderRestorer(folder).restore(GIVEN, name) == value).all()


@pytest.mark.parametrize("depth", range(4))
def test_the_longest_end_of_a_name_that_is_there_is_taken(tmp_path: Path, depth: int) -> None:
    ends = ["ecssd/lq3/a/x", "lq3/a/x", "a/x", "x"]
    for value, end in list(enumerate(ends))[depth:]:
        write(tmp_path / f"{end}.png", value)
    write(tmp_path / "lq3" / "x.png", 90)
    write(tmp_path / "coco" / "lq3" / "a" / "x.png", 91)
    assert (FolderRestorer(tmp_path).restore(GIVEN, "ecssd/lq3/a/x") == depth).all()


def test_what_is_missing_or_of_another_size_is_told(folder: Path) -> None:
    restorer = FolderRestorer(folder)
    with pytest.raises(ImageError, match=r"dog\.jpg.*found none"):
        restorer.restore(GIVEN, "dog.jpg")
    with pytest.raises(ImageError, match=r"9x6.*3x3"):
        restorer.restore(GIVEN, "small.jpg")
    with pytest.raises(ImageError, match="name"):
        restorer.restore(GIVEN)


def test_the_key_changes_with_the_files(folder: Path) -> None:
    before = FolderRestorer(folder).key
    assert FolderRestorer(folder).key == before
    write(folder / "cat.png", 11, (7, 9))
    assert FolderRestorer(folder).key != before
