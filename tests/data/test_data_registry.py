from __future__ import annotations

from pathlib import Path

import pytest
from data_layouts import blob, coco, pairs, photo, write

from glesam.data.readers.registry import LAYOUTS, open_dataset, open_for_training, place, recognise
from glesam.errors import ConfigError, DataError

PAIRS = {
    "folder": ("images", "masks"),
    "thinobject": ("images", "masks"),
    "ecssd": ("images", "ground_truth_mask"),
    "msra10k": ("Imgs", "Imgs"),
    "duts": ("DUTS-TR-Image", "DUTS-TR-Mask"),
    "bdd100k": ("images/10k/val", "labels/ins_seg/bitmasks/val"),
    "bdd100k-semantic": ("images/10k/val", "labels/sem_seg/masks/val"),
    "hqseg44k": ("DIS5K/DIS-TR/im", "DIS5K/DIS-TR/gt"),
    "lqseg": ("clear", "masks"),
}


def make(root: Path, key: str) -> None:
    """A miniature of a layout."""
    if key in PAIRS:
        pairs(root, *PAIRS[key], ["a"])
    if key == "thinobject":
        (root / "list").mkdir()
        (root / "list" / "test.txt").write_text("a.jpg")
    elif key == "acdc":
        write(root / "rgb_anon" / "fog" / "val" / "s" / "a_rgb_anon.png", photo(1))
        (root / "gt").mkdir()
    elif key == "lqseg":
        write(root / "lq2" / "a.png", photo(1))
        (root / "manifest.json").write_text("{}")
    elif key not in PAIRS:
        path = coco(root)
        if key == "lvis":
            path.rename(path.with_name("lvis_v1_val.json"))


@pytest.mark.parametrize("key", LAYOUTS)
def test_each_layout_is_recognised(tmp_path: Path, key: str) -> None:
    make(tmp_path, key)
    assert recognise(tmp_path).key == key


@pytest.mark.parametrize("key", ["folder", "thinobject", "ecssd", "msra10k", "duts", "lqseg"])
def test_recognised_sets_open(tmp_path: Path, key: str) -> None:
    make(tmp_path, key)
    dataset = open_dataset(tmp_path)
    assert dataset.names == ["a"]
    assert dataset[0].mask.max() == 1
    assert open_dataset(tmp_path, key, name="mine").name == "mine"


def test_json_and_list_files_open(tmp_path: Path) -> None:
    path = coco(tmp_path / "c")
    assert len(open_dataset(path)) == 2
    assert len(open_dataset(tmp_path / "c", split="val2017")) == 2
    make(tmp_path / "t", "thinobject")
    assert open_dataset(tmp_path / "t" / "list" / "test.txt").names == ["a"]


def test_levels_of_a_built_set_open(tmp_path: Path) -> None:
    make(tmp_path, "lqseg")
    assert open_dataset(tmp_path / "lq2").name.endswith("-lq2")
    assert open_dataset(tmp_path, split="lq2").name.endswith("-lq2")
    assert open_dataset(tmp_path).name.endswith("-clear")
    with pytest.raises(DataError, match=r"level 'lq3' in .*, found clear, lq2; build it or name one"):
        open_dataset(tmp_path, split="lq3")


def test_unknown_layout_key_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="got 'ecsd'; did you mean 'ecssd'"):
        open_dataset(tmp_path, "ecsd")
    with pytest.raises(DataError, match="among lqseg, thinobject, folder"):
        open_dataset(tmp_path, "???")


def test_unknown_content_names_the_nearest_and_describes_all(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    (tmp_path / "mask").mkdir()
    with pytest.raises(DataError) as caught:
        open_dataset(tmp_path)
    message = str(caught.value)
    assert "found images/, mask/; nearest is folder, which lacks masks" in message
    assert "ecssd = images/NAME.jpg + ground_truth_mask/NAME.png" in message
    assert "\n" not in message
    assert all(f"{key} = " in message for key in LAYOUTS)


@pytest.mark.parametrize("content", [[], [f"file{i}" for i in range(8)]])
def test_content_like_nothing_has_no_nearest(tmp_path: Path, content: list[str]) -> None:
    for name in content:
        (tmp_path / name).touch()
    with pytest.raises(DataError, match="nothing; known" if not content else "and 3 more; known") as caught:
        open_dataset(tmp_path)
    assert "nearest" not in str(caught.value)


def test_missing_path_and_a_plain_file(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="found nothing there; check the path"):
        open_dataset(tmp_path / "gone")
    (tmp_path / "a.txt").touch()
    with pytest.raises(DataError, match=r"found a file \.txt"):
        open_dataset(tmp_path / "a.txt")


@pytest.mark.parametrize("key", ["folder", "ecssd", "msra10k"])
def test_a_set_in_one_piece_has_no_split(tmp_path: Path, key: str) -> None:
    make(tmp_path, key)
    with pytest.raises(DataError, match="comes in one piece, got 'val'"):
        open_dataset(tmp_path, split="val")


def test_folder_and_split_in_one_word(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val")):
        pairs(tmp_path / "bdd", f"images/10k/{split}", f"labels/ins_seg/bitmasks/{split}", [f"{split}{number}"])
    with pytest.raises(DataError, match=r"found train, val; name one with split= \(on .* --split, or DIR@SPLIT\)"):
        open_dataset(tmp_path / "bdd")
    assert open_dataset(f"{tmp_path}/bdd@train").names == open_dataset(tmp_path / "bdd", split="train").names
    assert open_dataset(f"{tmp_path}/bdd/@val").names == ["val1"]
    with pytest.raises(DataError, match="among train, val, got 'test'"):
        open_dataset(f"{tmp_path}/bdd@test")
    with pytest.raises(DataError, match=r"in .*gone@val, found nothing there"):
        open_dataset(tmp_path / "gone@val")


def test_an_at_sign_in_a_path_is_part_of_it(tmp_path: Path) -> None:
    make(tmp_path / "me@home", "folder")
    (tmp_path / "me").mkdir()
    assert place(tmp_path / "me@home") == (tmp_path / "me@home", None)
    assert open_dataset(tmp_path / "me@home").names == ["a"]
    assert place(f"{tmp_path}/me@home@val") == (tmp_path / "me@home", "val")
    assert place(tmp_path / "you@home") == (tmp_path / "you@home", None)


def test_training_names_the_split_of_a_set_that_is_measured_on(tmp_path: Path) -> None:
    for split in ("train", "val"):
        write(tmp_path / f"rgb_anon/night/{split}/s/{split}_rgb_anon.png", photo(1))
        write(tmp_path / f"gt/night/{split}/s/{split}_gt_labelTrainIds.png", blob())
    assert open_dataset(tmp_path).names == ["night__val"]
    for given, cure in (("", "@train"), ("@night", "@night/train")):
        with pytest.raises(ConfigError, match=rf"expected a split of ACDC to train on.*; name one: \S+{cure}$"):
            open_for_training(f"{tmp_path}{given}")
    assert open_for_training(f"{tmp_path}@train").names == ["night__train"]
    assert open_for_training(f"{tmp_path}@night/val").names == ["night__val"]
    with pytest.raises(DataError, match="got 'night/fog'"):
        open_dataset(tmp_path, split="night/fog")
    make(tmp_path / "plain", "folder")
    assert open_for_training(tmp_path / "plain").names == ["a"]
