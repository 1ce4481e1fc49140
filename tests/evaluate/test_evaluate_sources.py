from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from data_layouts import pairs
from evaluate_helpers import make_folder
from PIL import Image

from glesam.data.build.builder import make_head
from glesam.data.build.manifest import Manifest
from glesam.data.build.options import BuildConfig
from glesam.data.build.sample import SampleBuilder
from glesam.data.readers.folder import FolderDataset
from glesam.degrade.levels import CLEAR, parse_level
from glesam.errors import ConfigError, DataError
from glesam.evaluate.measure.sources import (
    LqsegSource,
    check_recipe,
    choose,
    open_source,
    open_sources,
    stored_levels,
)


def _built(root: Path) -> Path:
    """A built set whose images tell their level by their colour."""
    for value, part in enumerate(("clear", "lq1", "lq2", "lq3", "masks")):
        (root / part).mkdir(parents=True)
        for name in ("a", "b"):
            picture = np.full((20, 30, 3), value + 1, np.uint8) if part != "masks" else np.zeros((20, 30), np.uint8)
            if part == "masks":
                picture[5:9, 5:9] = 7
            cv2.imwrite(str(root / part / f"{name}.png"), picture)
    (root / "manifest.json").write_text(json.dumps({"format": "test"}))
    return root


def test_plain_folder_with_and_without_a_name(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "toy")
    assert open_source(str(folder)).name == "toy"
    source = open_source(f"ecssd={folder}")
    assert source.name == "ecssd"
    assert source.names == ["p00", "p01", "p02", "p03"]
    sample = source.load("p02", CLEAR, 0, "test")
    assert (sample.name, sample.image.shape) == ("p02", (60, 80, 3))


def test_folder_with_an_equal_sign_in_its_path(tmp_path: Path) -> None:
    folder = make_folder(tmp_path / "a=b")
    assert open_source(str(folder)).name == "a=b"


def test_on_the_fly_degradation(tmp_path: Path) -> None:
    source = open_source(str(make_folder(tmp_path / "toy")))
    clear, degraded = (source.load("p00", parse_level(level), 0, "test") for level in ("clear", "lq2"))
    assert not np.array_equal(clear.image, degraded.image)
    np.testing.assert_array_equal(clear.mask, degraded.mask)


def test_built_set_is_read_level_by_level(tmp_path: Path) -> None:
    source = open_source(str(_built(tmp_path / "ecssd-lq")))
    assert isinstance(source, LqsegSource)
    assert source.names == ["a", "b"]
    for value, level in enumerate(("clear", "lq1", "lq2", "lq3")):
        sample = source.load("b", parse_level(level), 0, "test")
        assert (sample.image == value + 1).all()
        assert set(np.unique(sample.mask)) == {0, 7}
    assert (source.load("a", parse_level("robustseg:brightness:5"), 0, "test").image < 2).all()


def test_on_the_fly_levels_equal_those_of_a_built_set(tmp_path: Path) -> None:
    folder, out = make_folder(tmp_path / "toy", count=2), tmp_path / "out"
    dataset = FolderDataset(folder)
    builder = SampleBuilder(dataset, out, BuildConfig(seed=4))
    for index in range(2):
        assert builder(index).error is None
    (out / "manifest.json").write_text("{}")
    built, flying = open_source(str(out)), open_source(str(folder))
    for level in ("clear", "lq1", "lq2", "lq3"):
        for name in flying.names:
            stored, made = (source.load(name, parse_level(level), 4, "test") for source in (built, flying))
            np.testing.assert_array_equal(stored.image, made.image)
            np.testing.assert_array_equal(stored.mask, made.mask)


def test_built_sets_of_other_content_have_another_origin(tmp_path: Path) -> None:
    first, second = _built(tmp_path / "x" / "s"), _built(tmp_path / "y" / "s")
    assert open_source(str(first)).origin == open_source(str(second)).origin
    (second / "manifest.json").write_text("{}")
    assert open_source(str(first)).origin != open_source(str(second)).origin


def test_how_stored_levels_were_made_is_in_the_manifest(tmp_path: Path) -> None:
    built, plain = _built(tmp_path / "built"), make_folder(tmp_path / "plain")
    head = make_head(FolderDataset(plain), BuildConfig(recipe="train", seed=4))
    Manifest(head, {}).save(built)
    sources = open_sources([str(built), str(plain)])
    assert stored_levels(sources) == {"built": ("train", 4)}
    for recipe, level in (("train", "lq1"), ("test", "clear"), ("test", "robustseg:fog:3")):
        check_recipe(recipe, [parse_level(level)], sources)
    check_recipe("test", [parse_level("lq1")], sources[1:])
    with pytest.raises(ConfigError, match=r"expected the recipe train that built .* got test; leave --recipe out"):
        check_recipe("test", [CLEAR, parse_level("lq1")], sources)


def test_a_manifest_that_says_nothing_of_recipe_and_seed_is_no_error(tmp_path: Path) -> None:
    sources = open_sources([str(_built(tmp_path / "s"))])
    assert stored_levels(sources) == {"s": (None, None)}
    check_recipe("train", [parse_level("lq1")], sources)


def test_a_missing_level_and_a_missing_image_are_named(tmp_path: Path) -> None:
    root = _built(tmp_path / "s")
    (root / "lq2" / "a.png").unlink()
    source = open_source(str(root))
    with pytest.raises(DataError, match=r"expected a in .*lq2"):
        source.load("a", parse_level("lq2"), 0, "test")
    for path in (root / "lq3").iterdir():
        path.unlink()
    (root / "lq3").rmdir()
    with pytest.raises(DataError, match="lq3"):
        source.load("a", parse_level("lq3"), 0, "test")


def test_one_level_of_a_built_set_is_refused_with_the_cure(tmp_path: Path) -> None:
    root = _built(tmp_path / "s")
    with pytest.raises(ConfigError, match="--levels lq2"):
        open_source(str(root / "lq2"))


def test_bad_folders(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"images/NAME\.jpg"):
        open_source(str(tmp_path / "nothing"))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="known layout"):
        open_source(str(tmp_path / "empty"))
    with pytest.raises(ConfigError, match="--data DIR"):
        open_sources([])
    make_folder(tmp_path / "x" / "toy"), make_folder(tmp_path / "y" / "toy")
    with pytest.raises(ConfigError, match="different names"):
        open_sources([str(tmp_path / "x" / "toy"), str(tmp_path / "y" / "toy")])


def test_choice_depends_on_names_only() -> None:
    names = [f"n{i:03d}" for i in range(100)]
    some = choose(names, 10, 0)
    assert some == sorted(some)
    assert some == choose(names[::-1], 10, 0)
    assert set(choose(names, 5, 0)) < set(some)
    assert some != choose(names, 10, 1)
    assert choose(names, None, 0) == choose(names, 100, 0) == names


def test_the_fingerprint_follows_the_content_of_the_files(tmp_path):
    for part, pixels in (("images", np.full((9, 9, 3), 7, np.uint8)), ("masks", np.ones((9, 9), np.uint8))):
        (tmp_path / "s" / part).mkdir(parents=True)
        Image.fromarray(pixels).save(tmp_path / "s" / part / "a.png")
    before = open_source(str(tmp_path / "s")).fingerprint(["a"], CLEAR)
    assert open_source(str(tmp_path / "s")).fingerprint(["a"], CLEAR) == before
    mask = np.ones((9, 9), np.uint8)
    mask[0] = 0
    Image.fromarray(mask).save(tmp_path / "s" / "masks" / "a.png")
    assert open_source(str(tmp_path / "s")).fingerprint(["a"], CLEAR) != before


def test_a_set_beside_a_foreign_manifest_is_read(tmp_path: Path) -> None:
    make_folder(tmp_path / "data" / "toy", count=2)
    (tmp_path / "data" / "manifest.json").write_text("{}")
    assert len(open_source(str(tmp_path / "data" / "toy")).names) == 2


def test_a_split_is_named_behind_the_folder(tmp_path: Path) -> None:
    for split in ("train", "val"):
        pairs(tmp_path / "bdd", f"images/10k/{split}", f"labels/ins_seg/bitmasks/{split}", [split])
    sources = open_sources([f"{tmp_path}/bdd@train", f"street={tmp_path}/bdd@val"])
    assert [(source.name, source.names) for source in sources] == [("bdd100k-train", ["train"]), ("street", ["val"])]
    assert sources[0].origin != sources[1].origin
    with pytest.raises(DataError, match="comes in one piece, got 'val'"):
        open_source(f"{make_folder(tmp_path / 'toy')}@val")
    with pytest.raises(ConfigError, match=r"got its part .*@lq2; give --data .* --levels lq2 instead"):
        open_source(f"{_built(tmp_path / 's')}@lq2")
