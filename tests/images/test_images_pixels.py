"""Modes, depths, transparency and orientation against formulas, Pillow's own transposition and OpenCV's decoder."""

from __future__ import annotations

import io
import struct
import tracemalloc

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis.extra.numpy import arrays
from PIL import Image, ImageOps
from skimage import data

from glesam.errors import ImageError
from glesam.images import pixels
from glesam.images.pixels import ImageWarning, from_array, from_pillow, from_samples, orientation

PHOTO = data.cat()[:60, :90].copy()


@given(arrays(np.uint8, (3, 5, 4)))
def test_alpha_is_composited_on_white(rgba):
    alpha = rgba[..., 3:] / 255
    expected = rgba[..., :3] * alpha + 255 * (1 - alpha)
    np.testing.assert_array_equal(from_array(rgba, "x"), np.floor(expected + 0.5 + 1e-9).astype(np.uint8))


@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1)])
def test_grey_arrays_become_three_equal_channels(shape):
    grey = np.arange(20, dtype=np.uint8).reshape(shape)
    rgb = from_array(grey, "x")
    assert rgb.shape == (4, 5, 3)
    assert (rgb == grey.reshape(4, 5, 1)).all()
    assert rgb.flags.writeable
    assert rgb.flags.c_contiguous


def test_a_suitable_array_is_not_copied_but_a_read_only_one_is():
    assert from_array(PHOTO, "x") is PHOTO
    frozen = PHOTO.copy()
    frozen.setflags(write=False)
    assert from_array(frozen, "x").flags.writeable
    assert from_array(PHOTO[:, ::-1], "x").flags.c_contiguous


@pytest.mark.parametrize(
    ("array", "words"),
    [
        (PHOTO / 255.0, "float64.*np.uint8"),
        (PHOTO.astype(np.float32), "float32.*np.uint8"),
        (PHOTO.astype(np.uint16) * 257, "uint16.*257"),
        (PHOTO[..., 0] > 9, "bool.*255"),
        (PHOTO.astype(np.int64), "int64"),
        (PHOTO.transpose(2, 0, 1), r"\(3, 60, 90\).*transpose"),
        (np.zeros((2, 4, 5, 3), np.uint8), r"\(2, 4, 5, 3\)"),
        (np.zeros((4, 5, 2), np.uint8), r"\(4, 5, 2\)"),
        (np.zeros(7, np.uint8), r"\(7,\)"),
        (np.zeros((0, 5, 3), np.uint8), r"\(0, 5, 3\)"),
    ],
)
def test_other_arrays_are_refused_with_the_cure(array, words):
    with pytest.raises(ImageError, match=words) as error:
        from_array(array, "frame 3")
    assert "frame 3" in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("mode", ["1", "L", "P", "RGB", "YCbCr", "HSV", "CMYK", "LA", "PA", "RGBA", "RGBa", "La"])
def test_every_common_mode_comes_near_the_photo(mode):
    via = {"La": "LA", "RGBa": "RGBA", "LA": "L"}.get(mode, "RGB")
    photo = Image.fromarray(PHOTO)
    image = photo.quantize(256).convert(mode) if "P" in mode else photo.convert(via).convert(mode)
    rgb = from_pillow(image, "x")
    assert rgb.shape == PHOTO.shape
    reference = photo.convert("1").convert("RGB") if mode == "1" else photo
    if mode in ("L", "LA", "La"):
        reference = photo.convert("L").convert("RGB")
    assert np.abs(rgb.astype(int) - np.asarray(reference)).mean() < (9 if "P" in mode else 3)


def test_palette_with_a_transparent_colour_is_laid_on_white():
    image = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    image.putpalette([10, 20, 30, 200, 100, 50])
    image.info["transparency"] = 1
    assert from_pillow(image, "x").tolist() == [[[10, 20, 30], [255, 255, 255]]]


def test_sixteen_bits_are_scaled_and_rounded():
    values = np.array([[0, 128, 129, 257, 32768, 65278, 65407, 65535]], np.uint16)
    rgb = from_pillow(Image.fromarray(values), "x")
    np.testing.assert_array_equal(rgb[0, :, 0], np.round(values[0] / 257).astype(np.uint8))


def test_sixteen_bits_in_32_bit_mode_are_scaled_too():
    values = np.array([[0, 65535, 257 * 77]], np.int32)
    assert from_pillow(Image.fromarray(values), "x")[0, :, 1].tolist() == [0, 255, 77]


@pytest.mark.parametrize(("values", "expected"), [([0, -100, 100], [128, 0, 255]), ([0, 70000, 35000], [0, 255, 128])])
def test_32_bit_pixels_are_stretched_by_their_range_with_a_word(values, expected):
    with pytest.warns(ImageWarning, match=r"deep.tif: int32 values from .* are stretched"):
        rgb = from_pillow(Image.fromarray(np.array([values], np.int32)), "deep.tif")
    assert rgb[0, :, 0].tolist() == expected


def test_floating_pixels_are_stretched_by_their_range_with_a_word():
    values = np.array([[0.0, 0.25, 0.5, np.nan, -np.inf]], np.float32)
    with pytest.warns(ImageWarning, match=r"deep.tif: float32 values from 0 to 0.5 are stretched"):
        rgb = from_pillow(Image.fromarray(values), "deep.tif")
    assert rgb[0, :, 0].tolist() == [0, 128, 255, 0, 0]


def test_a_mode_without_a_way_to_rgb_is_refused(monkeypatch):
    """As LAB is with older versions of Pillow."""

    def refuse(self, mode):
        raise ValueError("conversion not supported")

    monkeypatch.setattr(Image.Image, "convert", refuse)
    with pytest.raises(ImageError, match="got mode CMYK in x; save as RGB"):
        from_pillow(Image.new("CMYK", (2, 2)), "x")


def test_twelve_bit_tiff_is_scaled_by_its_own_white():
    """A two-pixel TIFF by hand: 12 bits a sample, values 0xFFF and 0x800, packed big end first."""
    tags = [(256, 4, 2), (257, 4, 1), (258, 3, 12), (259, 3, 1), (262, 3, 1), (273, 4, 8), (277, 3, 1), (278, 4, 1)]
    tags.append((279, 4, 3))
    content = b"II*\0" + struct.pack("<I", 12) + b"\xff\xf8\x00\0" + struct.pack("<H", len(tags))
    content += b"".join(struct.pack("<HHII", tag, kind, 1, value) for tag, kind, value in tags) + bytes(4)
    image = Image.open(io.BytesIO(content))
    image.load()
    assert np.asarray(image).tolist() == [[0xFFF, 0x800]]
    assert from_pillow(image, "x")[0, :, 0].tolist() == [255, round(0x800 * 255 / 0xFFF)]


@pytest.mark.parametrize("code", range(1, 9))
@pytest.mark.parametrize("mode", ["RGB", "L", "I;16"])
def test_exif_orientation_equals_pillows_transposition(code, mode):
    array = PHOTO if mode == "RGB" else PHOTO[..., 0]
    array = array.astype(np.uint16) * 257 if mode == "I;16" else array
    stream = io.BytesIO()
    exif = Image.Exif()
    exif[0x0112] = code
    Image.fromarray(array).save(stream, "PNG", exif=exif)
    image = Image.open(stream)
    upright = from_pillow(ImageOps.exif_transpose(image), "x")
    np.testing.assert_array_equal(from_pillow(image, "x"), upright)
    assert orientation(image, "x") == code


@pytest.mark.parametrize("code", [0, 9, 77])
def test_an_unknown_orientation_changes_nothing(code):
    image = Image.fromarray(PHOTO)
    image.getexif()[0x0112] = code
    np.testing.assert_array_equal(from_pillow(image, "x"), PHOTO)


def test_damaged_exif_is_told_and_the_image_used():
    image = Image.fromarray(PHOTO)
    image.info["exif"] = b"Exif\0\0XX\0\0damaged"
    with pytest.warns(ImageWarning, match=r"cat.jpg: the EXIF data are damaged"):
        rgb = from_pillow(image, "cat.jpg")
    np.testing.assert_array_equal(rgb, PHOTO)


def test_cmyk_jpeg_equals_opencvs_decoder():
    stream = io.BytesIO()
    Image.fromarray(PHOTO).convert("CMYK").save(stream, "JPEG", quality=95)
    reference = cv2.imdecode(np.frombuffer(stream.getvalue(), np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    rgb = from_pillow(Image.open(stream), "x")
    assert np.abs(rgb.astype(int) - reference).max() <= 3


@pytest.mark.parametrize("alpha", [None, "straight", "associated"])
def test_wide_samples_are_converted_in_strips(alpha: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pixels, "_STRIP_PIXELS", 1 << 12)
    values = np.random.default_rng(0).integers(0, 65536, (1000, 1000, 3 if alpha is None else 4), dtype=np.uint16)
    values[0, 0, :3] = 65535
    tracemalloc.start()
    found, _ = from_samples(values, "x", "full", alpha)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= 2 * found.nbytes, "the result, and strips"
    colours = values[..., :3] / 65535 * 255
    cover = 1.0 if alpha is None else values[..., 3:] / 65535
    whole = colours * (cover if alpha == "straight" else 1) + 255 * (1 - cover)
    np.testing.assert_allclose(found, np.minimum(whole, 255), atol=1.5)
