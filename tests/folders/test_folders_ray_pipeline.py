"""What the pipeline knows without Ray: prompts, and what is finished. pyarrow is stood for by what is used of it."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import BinaryIO

import numpy as np
import pytest

from glesam.errors import ConfigError
from glesam.folders.ray_pipeline import PipelineJob, _finished, _recovered
from glesam.folders.table import ObjectRow
from glesam.masks.masks import Masks

BOX = {"boxes": [[1, 2, 3, 4]]}
FILE, FOLDER = "file", "folder"


class Store:
    """A file system that notes each question."""

    def __init__(self, root: Path) -> None:
        self.root, self.asked = root, 0

    def get_file_info(self, selector: SimpleNamespace) -> list[SimpleNamespace]:
        self.asked += 1
        folder = self.root / selector.base_dir
        assert folder.is_dir() or selector.allow_not_found
        found = folder.iterdir() if folder.is_dir() else ()
        return [SimpleNamespace(base_name=path.name, type=FOLDER if path.is_dir() else FILE) for path in found]


class Streams:
    """A file system of which files are read."""

    def open_input_stream(self, path: str) -> BinaryIO:
        return Path(path).open("rb")


@pytest.fixture
def arrow(monkeypatch: pytest.MonkeyPatch) -> None:
    package, module = ModuleType("pyarrow"), ModuleType("pyarrow.fs")
    module.FileType = SimpleNamespace(File=FILE)  # type: ignore[attr-defined]
    module.FileSelector = lambda base, allow_not_found: SimpleNamespace(  # type: ignore[attr-defined]
        base_dir=base, allow_not_found=allow_not_found
    )
    package.fs = module  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyarrow", package)
    monkeypatch.setitem(sys.modules, "pyarrow.fs", module)


def test_prompts_are_for_all_or_by_name() -> None:
    assert PipelineJob("out", BOX).prompts_of("any.jpg") == BOX
    by_name = PipelineJob("out", {"a.jpg": BOX})
    assert by_name.prompts_of("a.jpg") == BOX
    with pytest.raises(ConfigError, match="expected prompts for b"):
        by_name.prompts_of("b.jpg")


def test_formats_must_be_known() -> None:
    with pytest.raises(ConfigError, match="expected formats of png"):
        PipelineJob("out", BOX, formats=("gif",))


def test_an_image_is_finished_when_all_its_results_are_files_and_the_folder_is_listed_once(
    arrow: None, tmp_path: Path
) -> None:
    store = Store(tmp_path)
    job = PipelineJob("out", BOX, formats=("png", "json"), out_filesystem=store)
    names = ["a.jpg", "b.jpg", "c.jpg", "a.png"]
    assert _finished(job, names) == set()  # no folder yet
    (tmp_path / "out").mkdir()
    for name in ("a.jpg.mask.png", "a.jpg.mask.json", "b.jpg.mask.png", "a.png.mask.json"):
        (tmp_path / "out" / name).touch()
    (tmp_path / "out" / "b.jpg.mask.json").mkdir()  # a folder is no result
    assert _finished(job, names) == {"a.jpg"}
    assert store.asked == 2


def test_rows_of_results_without_a_table_are_read_from_them(arrow: None, tmp_path: Path) -> None:
    mask = np.zeros((1, 8, 9), bool)
    mask[0, 2:5, 3:7] = True
    info = {"enhanced": True}
    masks = Masks(mask, np.array([0.75], np.float32), name="a.jpg", info=info, class_names=("cup",))
    for kind in ("json", "npz", "png"):
        job = PipelineJob(str(tmp_path), BOX, formats=("polygons", kind), out_filesystem=Streams())
        masks.save(tmp_path / f"a.jpg.mask.{kind}")
        (tmp_path / f"b.jpg.mask.{kind}").write_text("{")
        rows = _recovered(job, ["a.jpg", "b.jpg"])
        assert rows == {"a.jpg": [ObjectRow("a.jpg", 1, 0.75, 3, 2, 4, 3, 12, None, True, "cup")]}, kind
    assert _recovered(PipelineJob(str(tmp_path), BOX, formats=("polygons",), out_filesystem=Streams()), ["a"]) == {}
