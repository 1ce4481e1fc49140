"""The readers that come down to pairs of files: each on a miniature of its layout."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
from data_layouts import HEIGHT, WIDTH, blob, pairs, photo, write

from glesam.data.readers.bdd100k import Bdd100kDataset, read_bitmask
from glesam.data.readers.duts import DutsDataset
from glesam.data.readers.ecssd import EcssdDataset
from glesam.data.readers.hqseg44k import TRAIN, VALIDATION, HqSeg44kDataset
from glesam.data.readers.msra10k import Msra10kDataset
from glesam.data.readers.pairs import flat_name, read_binary_mask
from glesam.data.readers.thinobject import ThinObjectDataset
from glesam.errors import DataError


def bitmask(category: int, attributes: int, instance: int) -> np.ndarray:
    """A BDD-100K bitmask, RGBA, with one object."""
    rgba = np.zeros((HEIGHT, WIDTH, 4), np.uint8)
    rgba[blob() > 0] = (category, attributes, instance >> 8, instance & 255)
    return rgba


def write_bitmask(path: Path, rgba: np.ndarray) -> Path:
    return write(path, cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGRA))


def bdd(root: Path, split: str = "val") -> None:
    write(root / "images" / "10k" / split / "0a-1.jpg", photo(0))
    write_bitmask(root / "labels" / "ins_seg" / "bitmasks" / split / "0a-1.png", bitmask(3, 0, 700))


def test_soft_and_hard_binary_masks(tmp_path: Path) -> None:
    soft = np.array([[0, 100, 128, 129, 255]], np.uint8)
    assert read_binary_mask(write(tmp_path / "soft.png", soft)).tolist() == [[0, 0, 0, 1, 1]]
    assert read_binary_mask(write(tmp_path / "ones.png", (soft > 100).astype(np.uint8))).tolist() == [[0, 0, 1, 1, 1]]
    assert not read_binary_mask(write(tmp_path / "none.png", soft * 0)).any()
    (tmp_path / "broken.png").write_bytes(b"x")
    with pytest.raises(DataError, match=r"broken\.png"):
        read_binary_mask(tmp_path / "broken.png")


def test_flat_names() -> None:
    assert flat_name("val2017/a/1") == "val2017__a__1"
    assert flat_name("plain") == "plain"


def test_msra10k(tmp_path: Path) -> None:
    pairs(tmp_path, "Imgs", "Imgs", ["2", "10"])
    dataset = Msra10kDataset(tmp_path)
    assert (dataset.name, dataset.names) == ("msra10k", ["10", "2"])
    np.testing.assert_array_equal(dataset[0].mask, blob(1))


def test_ecssd(tmp_path: Path) -> None:
    pairs(tmp_path, "images", "ground_truth_mask", ["0002", "0001"])
    dataset = EcssdDataset(tmp_path, "mine")
    assert (dataset.name, dataset.names, len(dataset)) == ("mine", ["0001", "0002"], 2)
    np.testing.assert_array_equal(dataset[1].mask, blob(1))


def test_duts_one_split_both_and_a_folder_above(tmp_path: Path) -> None:
    pairs(tmp_path / "DUTS-TR", "DUTS-TR-Image", "DUTS-TR-Mask", ["n1"])
    assert DutsDataset(tmp_path / "DUTS-TR").names == ["n1"]
    assert DutsDataset(tmp_path).name == "duts-tr"
    pairs(tmp_path / "DUTS-TE", "DUTS-TE-Image", "DUTS-TE-Mask", ["n2"])
    with pytest.raises(DataError, match=r"expected one split .* found TR, TE"):
        DutsDataset(tmp_path)
    assert DutsDataset(tmp_path, split="te").names == ["n2"]
    with pytest.raises(DataError, match="a split of DUTS among TR, TE, got 'VAL'"):
        DutsDataset(tmp_path, split="val")


def test_thinobject_all_and_by_list(tmp_path: Path) -> None:
    pairs(tmp_path, "images", "masks", ["a", "b", "c"])
    (tmp_path / "list").mkdir()
    (tmp_path / "list" / "test.txt").write_text("c.jpg\na.jpg\n\n")
    assert ThinObjectDataset(tmp_path).names == ["a", "b", "c"]
    assert ThinObjectDataset(tmp_path, split="test").names == ["a", "c"]
    by_list = ThinObjectDataset(tmp_path / "list" / "test.txt")
    assert (by_list.name, by_list.names) == ("thinobject5k-test", ["a", "c"])
    np.testing.assert_array_equal(by_list[0].mask, blob(1))
    with pytest.raises(DataError, match=r"list/train\.txt .* found none; get it from"):
        ThinObjectDataset(tmp_path, split="train")
    (tmp_path / "list" / "val.txt").write_text("gone.jpg\n")
    with pytest.raises(DataError, match=r"gone\.jpg, which list/val\.txt names"):
        ThinObjectDataset(tmp_path, split="val")


def test_bdd100k_ids_are_b_and_a(tmp_path: Path) -> None:
    bdd(tmp_path)
    dataset = Bdd100kDataset(tmp_path)
    assert (dataset.name, dataset.names) == ("bdd100k-val", ["0a-1"])
    np.testing.assert_array_equal(dataset[0].mask, np.where(blob() > 0, 700, 0))


@pytest.mark.parametrize(
    ("category", "attributes", "kept"),
    [(3, 0b1100, True), (3, 0b0010, False), (3, 0b0001, False), (0, 0, False)],
    ids=["truncated-occluded", "crowd", "ignored", "background"],
)
def test_bdd100k_attributes(tmp_path: Path, category: int, attributes: int, kept: bool) -> None:
    mask = read_bitmask(write_bitmask(tmp_path / "m.png", bitmask(category, attributes, 5)))
    assert mask.any() == kept


def test_bdd100k_refuses_colour_maps_and_asks_for_a_split(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="take it from ins_seg/bitmasks, not colormaps"):
        read_bitmask(write(tmp_path / "colour.png", photo(0)))
    bdd(tmp_path)
    bdd(tmp_path, "train")
    with pytest.raises(DataError, match="expected one split"):
        Bdd100kDataset(tmp_path)
    assert Bdd100kDataset(tmp_path, split="train").name == "bdd100k-train"


def hqseg(root: Path) -> None:
    for place, subset in enumerate((TRAIN | VALIDATION).values()):
        pairs(root / subset.folder, subset.images, subset.masks, ["1", f"own{place}"])


def test_hqseg44k_joins_its_subsets(tmp_path: Path) -> None:
    hqseg(tmp_path)
    train = HqSeg44kDataset(tmp_path)
    assert len(train) == 2 * len(TRAIN)
    assert {"dis5k-tr__1", "fss__1", "msra10k__1"} <= set(train.names)
    assert len(HqSeg44kDataset(tmp_path, split="validation")) == 2 * len(VALIDATION)
    one = HqSeg44kDataset(tmp_path, split="hrsod")
    assert [name.split("__")[0] for name in one.names] == ["hrsod", "hrsod"]
    np.testing.assert_array_equal(one[0].mask, blob(1))
    with pytest.raises(DataError, match="a split of HQSeg-44K among train, validation, dis5k-tr"):
        HqSeg44kDataset(tmp_path, split="test")


def test_hqseg44k_takes_im_and_gt_folders_too(tmp_path: Path) -> None:
    pairs(tmp_path / "cascade_psp" / "fss_all", "im", "gt", ["1"])
    assert HqSeg44kDataset(tmp_path, split="fss").names == ["fss__1"]
    with pytest.raises(DataError, match=r"subset dis5k-tr of HQSeg-44K\), found none; get it .* or name one subset"):
        HqSeg44kDataset(tmp_path)


@pytest.mark.parametrize(
    ("reader", "home"),
    [
        (Msra10kDataset, "Global Contrast based Salient Region Detection"),
        (EcssdDataset, "Hierarchical Image Saliency Detection"),
        (DutsDataset, "Learning to Detect Salient Objects"),
        (ThinObjectDataset, "Deep Interactive Thin Object Selection"),
        (Bdd100kDataset, "Berkeley DeepDrive"),
        (HqSeg44kDataset, "Segment Anything in High Quality"),
    ],
)
def test_an_empty_folder_tells_where_to_get_the_set(tmp_path: Path, reader: type, home: str) -> None:
    with pytest.raises(DataError, match=rf"found none; get it.*{home}") as caught:
        reader(tmp_path)
    assert "\n" not in str(caught.value)


def test_a_missing_mask_names_the_image_and_the_home(tmp_path: Path) -> None:
    pairs(tmp_path, "Imgs", "Imgs", ["1", "2"])
    (tmp_path / "Imgs" / "2.png").unlink()
    with pytest.raises(DataError, match=r"1 of 2 are missing, first that of .*2\.jpg; get the set from .*MSRA10K"):
        Msra10kDataset(tmp_path)
    for path in (tmp_path / "Imgs").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="expected images in the data set msra10k, found none"):
        Msra10kDataset(tmp_path)


def test_a_mask_of_another_size_names_both_files(tmp_path: Path) -> None:
    pairs(tmp_path, "Imgs", "Imgs", ["1"])
    write(tmp_path / "Imgs" / "1.png", blob(255, 20, 20))
    with pytest.raises(DataError, match=r"32x24 pixels for .*1\.jpg, got 20x20 in .*1\.png"):
        Msra10kDataset(tmp_path)[0]
