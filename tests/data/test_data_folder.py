from __future__ import annotations

import hashlib
import os
from pathlib import Path

import numpy as np
import pytest
from data_layouts import blob, pairs, photo, write
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from PIL import Image

from glesam.common.fingerprints import Digests
from glesam.data.base import SegmentationDataset
from glesam.data.check.check import check_folder
from glesam.data.readers.folder import FolderDataset, files_by_stem, read_image, read_mask
from glesam.errors import DataError


def test_samples_come_sorted_with_rgb_and_ids(tmp_path: Path) -> None:
    pairs(tmp_path, "images", "masks", ["b", "a"])
    write(tmp_path / "images" / "c.png", photo(5))
    write(tmp_path / "masks" / "c.png", blob(3))
    dataset = FolderDataset(tmp_path)
    assert isinstance(dataset, SegmentationDataset)
    assert dataset.names == ["a", "b", "c"]
    assert len(dataset) == 3
    sample = dataset[2]
    np.testing.assert_array_equal(sample.image, photo(5))
    np.testing.assert_array_equal(sample.mask, blob(3))
    assert (sample.image.dtype, sample.mask.dtype) == (np.uint8, np.int32)


@pytest.mark.parametrize(("stored", "expected"), [(1, 1), (255, 1), (7, 7)])
def test_binary_masks_of_both_styles_become_one_object(tmp_path: Path, stored: int, expected: int) -> None:
    mask = read_mask(write(tmp_path / "m.png", blob(stored)))
    np.testing.assert_array_equal(mask, np.where(blob() > 0, expected, 0))


def test_id_255_beside_others_and_in_16_bits_is_an_id(tmp_path: Path) -> None:
    several = blob(255)
    several[0, 0] = 2
    assert set(np.unique(read_mask(write(tmp_path / "a.png", several)))) == {0, 2, 255}
    assert set(np.unique(read_mask(write(tmp_path / "b.png", blob(255).astype(np.uint16))))) == {0, 255}


def test_palette_mask_gives_entries_not_colours(tmp_path: Path) -> None:
    picture = Image.fromarray(np.array([[0, 1], [2, 2]], np.uint8), mode="P")
    # Entries 1 and 2 have the same brightest channel: colours would merge them.
    picture.putpalette([0, 0, 0, 128, 0, 0, 0, 128, 0])
    picture.save(tmp_path / "m.png")
    assert read_mask(tmp_path / "m.png").tolist() == [[0, 1], [2, 2]]


def test_a_mask_beyond_pillows_limit_is_still_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 10)
    np.testing.assert_array_equal(read_mask(write(tmp_path / "m.png", blob(4))), blob(4))


def test_colour_mask_gives_one_id_a_colour(tmp_path: Path) -> None:
    colours = np.array([[[0, 0, 0], [200, 0, 0]], [[0, 200, 0], [0, 200, 0]]], np.uint8)
    mask = read_mask(write(tmp_path / "m.png", colours))
    assert mask[0, 0] == 0
    assert mask[1, 0] == mask[1, 1] != mask[0, 1]
    assert set(np.unique(mask)) == {0, 1, 2}


def test_grey_stored_as_colour_keeps_its_values(tmp_path: Path) -> None:
    mask = read_mask(write(tmp_path / "m.png", np.repeat(blob(9)[..., None], 3, axis=2)))
    np.testing.assert_array_equal(mask, blob(9))


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ids=hnp.arrays(np.uint16, hnp.array_shapes(min_dims=2, max_dims=2, max_side=8), elements=st.integers(0, 65535)))
def test_16_bit_ids_survive_a_round_trip(tmp_path: Path, ids: np.ndarray) -> None:
    np.testing.assert_array_equal(read_mask(write(tmp_path / "m.png", ids)), ids)


def test_masks_named_as_segment_names_them_are_found(tmp_path: Path) -> None:
    pairs(tmp_path, "images", "masks", ["a", "b", "c"])
    (tmp_path / "masks" / "a.png").rename(tmp_path / "masks" / "a.mask.png")
    write(tmp_path / "images" / "b.mask.png", blob(1))  # beside its image: no image
    write(tmp_path / "images" / "c.mask.png", photo(3))  # really called so: it has a mask of its own
    write(tmp_path / "masks" / "c.mask.png", blob(2))
    dataset = FolderDataset(tmp_path)
    assert dataset.names == ["a", "b", "c", "c.mask"]
    np.testing.assert_array_equal(dataset[3].mask, blob(2))
    assert dataset[0].mask.any()
    report = check_folder(tmp_path)
    assert report.problems == []
    assert report.samples == 4


def test_what_is_read_otherwise_has_another_fingerprint(tmp_path: Path) -> None:
    pairs(tmp_path, "images", "masks", ["a"])
    files = [hashlib.sha256((tmp_path / part).read_bytes()).hexdigest() for part in ("images/a.jpg", "masks/a.png")]
    plain, void = (FolderDataset(tmp_path, keep_void=keep).fingerprint(0, Digests()) for keep in (False, True))
    assert plain == hashlib.sha256("".join(files).encode()).hexdigest()  # as packs of a time before know it
    assert void != plain


@pytest.mark.parametrize("part", ["images", "masks"])
def test_missing_folder_is_named_with_the_layout(tmp_path: Path, part: str) -> None:
    pairs(tmp_path, "images", "masks", ["a"])
    (tmp_path / part).rename(tmp_path / "elsewhere")
    with pytest.raises(DataError, match=rf"{part}, found none; lay the set out as images/NAME.jpg \+ masks/NAME.png"):
        FolderDataset(tmp_path)


def test_missing_mask_and_no_image_are_errors(tmp_path: Path) -> None:
    pairs(tmp_path, "images", "masks", ["a", "b"])
    (tmp_path / "masks" / "b.png").unlink()
    with pytest.raises(DataError, match=r"1 are missing, first b\.png"):
        FolderDataset(tmp_path)
    for path in (tmp_path / "images").iterdir():
        path.unlink()
    with pytest.raises(DataError, match="expected images in"):
        FolderDataset(tmp_path)


def test_two_images_of_one_stem_are_refused(tmp_path: Path) -> None:
    pairs(tmp_path, "images", "masks", ["a"])
    write(tmp_path / "images" / "a.png", photo(1))
    with pytest.raises(DataError, match=r"got a\.jpg and a\.png"):
        FolderDataset(tmp_path)


def test_folders_and_pipes_named_like_images_are_left_out(tmp_path: Path) -> None:
    pairs(tmp_path, "images", "masks", ["a"])
    (tmp_path / "images" / "b.jpg").mkdir()
    os.mkfifo(tmp_path / "images" / "c.jpg")
    (tmp_path / "images" / ".ipynb_checkpoints").mkdir()
    assert FolderDataset(tmp_path).names == ["a"]


def test_hidden_files_are_left_out(tmp_path: Path) -> None:
    pairs(tmp_path, ".", ".", ["a", ".hidden"])
    assert list(files_by_stem(tmp_path, frozenset({".jpg"}))) == ["a"]


def test_size_mismatch_names_both_sizes(tmp_path: Path) -> None:
    write(tmp_path / "images" / "a.jpg", photo(0))
    write(tmp_path / "masks" / "a.png", blob(1, 20, 20))
    with pytest.raises(DataError, match=r"mask of 32x24 pixels for \S+a\.jpg, got 20x20 in \S+a\.png"):
        FolderDataset(tmp_path)[0]


@pytest.mark.parametrize("content", [b"", b"no picture at all"])
def test_what_cannot_be_decoded_is_named(tmp_path: Path, content: bytes) -> None:
    for name, read in (("a.jpg", read_image), ("a.png", read_mask)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=name):
            read(tmp_path / name)


def test_cut_jpeg_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "a.jpg", photo(0, 200, 200)).read_bytes()
    (tmp_path / "b.jpg").write_bytes(whole[: len(whole) * 2 // 3])
    with pytest.raises(DataError, match=r"b\.jpg"):
        read_image(tmp_path / "b.jpg")
    (tmp_path / "c.jpg").write_bytes(whole + b"trailing bytes of a camera")
    assert read_image(tmp_path / "c.jpg").shape == (200, 200, 3)


def test_missing_file_is_a_data_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        read_image(tmp_path / "nowhere.jpg")
    with pytest.raises(DataError, match="nowhere"):
        read_mask(tmp_path / "nowhere.png")
