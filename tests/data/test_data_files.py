"""Image and mask files of data sets: as everywhere else, whatever their names; void borders; nothing but our errors."""

import contextlib
import hashlib
import os

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from glesam import images
from glesam.common.arrays import row_slices
from glesam.data import files
from glesam.data.base import is_kept_aside
from glesam.data.build.builder import build
from glesam.data.check.check import check_folder
from glesam.data.files import read_image, read_mask
from glesam.data.readers.folder import FolderDataset
from glesam.errors import DataError

VOC_COLOUR = [224, 224, 192]


def lay_out(root, name="a", mask=None, image=None):
    for part in ("images", "masks"):
        (root / part).mkdir(parents=True, exist_ok=True)
    if image is None:
        image = Image.fromarray(np.arange(30 * 40 * 3, dtype=np.uint32).astype(np.uint8).reshape(30, 40, 3))
    if mask is None:
        mask = np.zeros((30, 40), np.uint8)
        mask[5:20, 5:20] = 1
    place = os.fsencode(root)
    with open(place + b"/images/" + os.fsencode(name) + b".png", "wb") as stream:
        image.save(stream, "PNG")
    with open(place + b"/masks/" + os.fsencode(name) + b".png", "wb") as stream:
        Image.fromarray(mask).save(stream, "PNG")
    return root


def test_transparent_images_are_laid_on_white_as_everywhere(tmp_path):
    rgba = np.zeros((30, 40, 4), np.uint8)
    rgba[..., :3], rgba[10:, :, 3] = (200, 10, 10), 255
    lay_out(tmp_path, image=Image.fromarray(rgba))
    path = tmp_path / "images" / "a.png"
    assert FolderDataset(tmp_path)[0].image[0, 0].tolist() == [255, 255, 255]
    np.testing.assert_array_equal(read_image(path), images.read(path))


def test_a_jpeg_without_its_end_marker_is_read_by_all(tmp_path):
    lay_out(tmp_path)
    Image.new("L", (80, 60), 1).save(tmp_path / "masks" / "a.png")
    path = tmp_path / "images" / "a.jpg"
    content = cv2.imencode(".jpg", skimage.data.cat()[:60, :80])[1].tobytes()
    (tmp_path / "images" / "a.png").unlink()
    path.write_bytes(content[:-2])
    np.testing.assert_array_equal(FolderDataset(tmp_path)[0].image, images.read(path))
    assert check_folder(tmp_path).problems == []


@pytest.mark.parametrize("suffix", ["gif", "avif", "jp2"])
def test_every_format_that_images_have_is_one_of_a_data_set(suffix, tmp_path):
    lay_out(tmp_path)
    Image.open(tmp_path / "images" / "a.png").save(tmp_path / "images" / f"b.{suffix}")
    os.replace(tmp_path / "images" / f"b.{suffix}", tmp_path / "images" / f"a.{suffix}")
    (tmp_path / "images" / "a.png").unlink()
    assert check_folder(tmp_path).problems == []
    assert FolderDataset(tmp_path).names == ["a"]


@pytest.mark.parametrize("palette_has_vocs_colour", [True, False])
def test_vocs_void_border_is_no_object(palette_has_vocs_colour, tmp_path):
    ids = np.zeros((60, 80), np.uint8)
    ids[10:40, 10:50] = 255
    ids[13:37, 13:47] = 7
    mask = Image.fromarray(ids, "P")
    mask.putpalette([0] * 765 + (VOC_COLOUR if palette_has_vocs_colour else [1, 2, 3]))
    lay_out(tmp_path, image=Image.new("RGB", (80, 60)))
    mask.save(tmp_path / "masks" / "a.png")
    path = tmp_path / "masks" / "a.png"
    assert set(np.unique(read_mask(path))) == {0, 7}
    assert set(np.unique(read_mask(path, keep_void=True))) == {0, 7, 255}
    assert set(np.unique(FolderDataset(tmp_path, keep_void=True)[0].mask)) == {0, 7, 255}
    assert "void border" in check_folder(tmp_path).by_kind()
    assert check_folder(tmp_path).objects == 1
    assert check_folder(tmp_path, keep_void=True).objects == 2


def test_a_whole_object_of_number_255_in_a_palette_stays(tmp_path):
    ids = np.zeros((60, 80), np.uint8)
    ids[10:40, 10:50], ids[45:, :20] = 255, 1
    mask = Image.fromarray(ids, "P")
    mask.putpalette(list(range(256)) * 3)
    mask.save(tmp_path / "m.png")
    assert set(np.unique(read_mask(tmp_path / "m.png"))) == {0, 1, 255}


@pytest.mark.parametrize("kind", ["colours", "grey colours", "thin border", "thick border", "binary", "16 bits"])
def test_strips_make_the_whole(kind, tmp_path, monkeypatch):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 4, (60, 80), np.uint8)
    if kind.endswith("colours"):
        values = rng.integers(0, 3, (60, 80, 3), np.uint8) * 90
        mask = Image.fromarray(np.repeat(values[..., :1], 3, axis=2) if kind == "grey colours" else values)
    elif kind.endswith("border"):
        thick = 5 if kind == "thin border" else 12
        ids[20 : 20 + thick] = 255
        mask = Image.fromarray(ids, "P")
        mask.putpalette(list(range(256)) * 3)
    else:
        values = (ids > 1) * 255 if kind == "binary" else ids.astype(int) * 300
        mask = Image.fromarray(values.astype(np.uint8 if kind == "binary" else np.uint16))
    mask.save(tmp_path / "m.png")
    whole = read_mask(tmp_path / "m.png")
    assert (255 in whole) == (kind == "thick border")
    monkeypatch.setattr(row_slices, "__defaults__", (240,))
    np.testing.assert_array_equal(read_mask(tmp_path / "m.png"), whole)


def test_a_mask_of_too_many_samples_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(files, "MAX_PIXELS", 2000)
    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((30, 40, 4), np.uint16))
    with pytest.raises(DataError, match=r"at most 8000 bytes of samples, got 9600 in .*m\.png; save the mask"):
        read_mask(tmp_path / "m.png")
    cv2.imwrite(str(tmp_path / "m.png"), np.zeros((30, 40, 4), np.uint8))
    assert not read_mask(tmp_path / "m.png").any()


def test_names_that_are_no_utf8_are_read_checked_and_built(tmp_path):
    lay_out(tmp_path / "s", os.fsdecode(b"a\xff"))
    data = FolderDataset(tmp_path / "s")
    assert data[0].mask.sum() == 225
    assert check_folder(tmp_path / "s").problems == []
    report = build(data, tmp_path / "b", workers=1)
    assert report.failed == {}
    assert report.built == 1
    assert build(data, tmp_path / "b", workers=1).kept == 1


@pytest.mark.parametrize("seed", range(40))
def test_damaged_images_and_masks_are_ours(seed, tmp_path):
    rng = np.random.default_rng(seed)
    suffix = (".bmp", ".png", ".jpg", ".tif")[seed % 4]
    content = bytearray(cv2.imencode(suffix, rng.integers(0, 256, (30, 40, 3), np.uint8))[1].tobytes())
    for _ in range(4):
        content[int(rng.integers(min(len(content), 120)))] = int(rng.integers(256))
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content[: len(content) - int(rng.integers(30))])
    for read in (read_image, read_mask):
        with contextlib.suppress(DataError):  # anything else fails the test
            read(path)


def test_a_mask_may_not_claim_any_size(tmp_path):
    header = b"\0\0\0\rIHDR" + (100_000).to_bytes(4, "big") * 2 + b"\x08\0\0\0\0"
    import zlib

    content = b"\x89PNG\r\n\x1a\n" + header + zlib.crc32(header[4:]).to_bytes(4, "big")
    (tmp_path / "m.png").write_bytes(content + b"\0\0\0\0IDAT" + zlib.crc32(b"IDAT").to_bytes(4, "big"))
    with pytest.raises(DataError, match="at most 268435456 pixels"):
        read_mask(tmp_path / "m.png")


def test_corrected_masks_are_built_anew(tmp_path):
    data = FolderDataset(lay_out(tmp_path / "s"))
    assert build(data, tmp_path / "b", workers=1).built == 1
    lay_out(tmp_path / "s", mask=np.ones((30, 40), np.uint8))
    report = build(data, tmp_path / "b", workers=1)
    assert (report.built, report.kept) == (1, 0)
    assert read_mask(tmp_path / "b" / "masks" / "a.png").sum() == 1200


def test_a_name_that_is_no_utf8_is_kept_aside_or_not() -> None:
    name = "caf\udce9"  # how Python names the byte 0xe9
    expected = int(hashlib.sha256(b"caf\xe9").hexdigest(), 16) % 5 == 0
    assert is_kept_aside(name) == expected == is_kept_aside(f"images/{name}.jpg")
