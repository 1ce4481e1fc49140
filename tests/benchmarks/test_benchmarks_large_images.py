"""The set of large images: sizes, shares of the objects, and what is kept aside, counted again from the files."""

import cv2
import numpy as np
import pytest

import large_images
from glesam.data.base import is_kept_aside
from glesam.data.readers.folder import FolderDataset
from glesam.errors import ConfigError


def folder(root, size, count=30):
    rng = np.random.default_rng(0)
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True)
    for number in range(count):
        mask = np.zeros(size, np.uint8)
        mask[: size[0] // 2, : size[1] // 2] = 1  # a quarter of the image, a sixteenth of a mosaic
        mask[-20:, -20:] = 2
        mask[-size[0] // 3 :, 10 : 10 + size[1] // 5] = 3  # 7 %, or less than 2 % of a mosaic
        cv2.imwrite(str(root / "images" / f"n{number}.png"), rng.integers(0, 255, (*size, 3), dtype=np.uint8))
        cv2.imwrite(str(root / "masks" / f"n{number}.png"), mask)
    return root


@pytest.mark.parametrize("size", [(200, 330), (500, 620)], ids=["mosaics", "own size"])
def test_images_are_large_and_their_objects_middling(tmp_path, size):
    source = folder(tmp_path / "source", size, 12)
    made = large_images.build([str(source)], tmp_path / "out", 5)
    data = FolderDataset(tmp_path / "out")
    assert 0 < made == len(data) <= 5
    for sample in data:
        assert max(sample.mask.shape) > 600
        shares = np.bincount(sample.mask.ravel())[1:] / sample.mask.size
        assert len(shares) > 0
        assert (shares >= 0.01).all()
        assert (shares <= 0.1).all()
    first = next((tmp_path / "out" / "images").iterdir())
    assert (first.stat().st_nlink > 1) is (size[1] > 600)


def test_what_is_kept_aside_is_all_that_is_taken_and_the_choice_is_repeatable(tmp_path):
    source = folder(tmp_path / "source", (500, 620), 20)
    wanted = {f"n{number}" for number in range(20) if is_kept_aside(f"n{number}")}
    for out in ("a", "b"):
        large_images.build([str(source)], tmp_path / out, 100, kept_aside=True)
    names = FolderDataset(tmp_path / "a").names
    assert {name.rpartition("-")[2] for name in names} == wanted
    assert names == FolderDataset(tmp_path / "b").names


def test_the_repository_and_empty_results_are_refused(tmp_path):
    source = folder(tmp_path / "source", (40, 60), 4)
    with pytest.raises(ConfigError, match="outside of"):
        large_images.build([str(source)], large_images.ROOT / "out", 5)
    with pytest.raises(ConfigError, match="over 600 pixels"):
        large_images.build([str(source)], tmp_path / "out", 5)
    assert large_images.main([str(source), "--out", str(tmp_path / "out")]) == 2
