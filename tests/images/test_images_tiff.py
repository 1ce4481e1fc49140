"""TIFF layouts against what tifffile and OpenCV wrote: planes, tiles, byte orders, predictors, bands, types."""

import contextlib
import io
import struct
import tracemalloc
import warnings

import cv2
import numpy as np
import pytest
import tifffile
from PIL import Image

from glesam.errors import ImageError
from glesam.images import pixels, tiff_parts
from glesam.images.ranges import ImageWarning
from glesam.images.reading import ReadOptions, read, read_with
from glesam.images.tiff import layout_of, read_bands

RNG = np.random.default_rng(0)
LAYOUTS = [
    {"compression": compression, "predictor": predictor, "tile": tile, "byteorder": order, "bigtiff": big}
    for compression in (None, "zlib")
    for predictor in ((None, True) if compression else (None,))
    for tile in (None, (16, 32))
    for order, big in (("<", False), ("<", True), (">", False))
]


def _written(values, rows=10, **options):
    stream = io.BytesIO()
    strips = {} if options.get("tile") else {"rowsperstrip": rows}
    tifffile.imwrite(stream, values, **strips, **options)
    return stream.getvalue()


def _samples(dtype, bands):
    if np.dtype(dtype).kind == "f":
        return RNG.random((37, 53, bands)).astype(dtype)
    limits = np.iinfo(dtype)
    return RNG.integers(limits.min, limits.max, (37, 53, bands), dtype=dtype, endpoint=True)


def _bands(content, count):
    stream = io.BytesIO(content)
    return read_bands(stream, layout_of(stream), range(count), "x")


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("kind", ["u2 3", "u1 8", "i1 3", "u2 4", "f4 3", "u4 3", "f8 3"])
def test_every_layout_gives_the_samples_that_were_written(kind, planar):
    dtype, bands = kind.split()[0], int(kind.split()[1])
    values = _samples(dtype, bands)
    colour = "rgb" if bands in (3, 4) else "minisblack"
    for layout in LAYOUTS:
        if layout["predictor"] and dtype[0] == "f":
            continue  # tifffile takes the predictor of floating samples, which is refused below
        stored = np.moveaxis(values, -1, 0).copy() if planar else values
        content = _written(stored, photometric=colour, planarconfig="separate" if planar else "contig", **layout)
        np.testing.assert_array_equal(_bands(content, bands), values, err_msg=str(layout))


@pytest.mark.parametrize("planar", [False, True])
@pytest.mark.parametrize("rows", [10, 37])
def test_parts_of_a_few_rows_make_the_whole(planar, rows, monkeypatch):
    monkeypatch.setattr(tiff_parts, "_PART_BYTES", 3000)
    values = _samples("u2", 6)
    stored = np.moveaxis(values, -1, 0).copy() if planar else values
    for layout in LAYOUTS:
        how = {"photometric": "minisblack", "planarconfig": "separate" if planar else "contig", **layout}
        np.testing.assert_array_equal(_bands(_written(stored, rows, **how), 6), values, err_msg=str(layout))


@pytest.mark.parametrize("compression", [None, "zlib"])
@pytest.mark.parametrize("rows", [16, 2000])
def test_of_many_bands_only_those_used_are_held(compression, rows, monkeypatch):
    monkeypatch.setattr(tiff_parts, "_PART_BYTES", 1 << 18)
    monkeypatch.setattr(pixels, "_STRIP_PIXELS", 1 << 18)
    values = np.zeros((2000, 500, 12), np.uint16)
    values[..., :3] = np.arange(2000)[:, None, None] * 30
    content = _written(values, rows, photometric="minisblack", planarconfig="contig", compression=compression)
    tracemalloc.start()
    found = read_with(io.BytesIO(content).getvalue(), ReadOptions(max_pixels=2**22, bands=(1, 2, 3)))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found.pixels[..., 0], np.floor(values[..., 0] / 257 + 0.5))
    assert peak <= 3 * found.pixels.nbytes + 6 * 2**20, "three bands of 16 bits, the result, and strips"


def test_a_strip_beyond_the_files_end_is_named():
    content = _written(_samples("u2", 6), photometric="minisblack", planarconfig="contig")
    with pytest.raises(ImageError, match=r"damaged or cut short \(\d+ of \d+ bytes\)"):
        _bands(content[:-600], 6)


def test_lzw_with_differences_as_opencv_writes_it():
    values = _samples("u2", 3)
    content = cv2.imencode(".tiff", values[..., ::-1], [cv2.IMWRITE_TIFF_COMPRESSION, 5])[1].tobytes()
    directory = layout_of(io.BytesIO(content)).directory
    assert directory[259] == 5
    np.testing.assert_array_equal(_bands(content, 3), values)


def test_planes_of_16_bits_are_the_same_image_as_interleaved_ones():
    values = _samples("u2", 3)
    together = read(_written(values, photometric="rgb"))
    apart = read(_written(np.moveaxis(values, -1, 0).copy(), photometric="rgb", planarconfig="separate"))
    np.testing.assert_array_equal(apart, together)
    np.testing.assert_array_equal(together, np.floor(values / 257 + 0.5).astype(np.uint8))


def test_white_is_zero_is_turned():
    values = RNG.integers(0, 65536, (20, 30)).astype(np.uint16)
    values[0, 0] = 65535
    black, white = (read(_written(values, photometric=kind)) for kind in ("minisblack", "miniswhite"))
    np.testing.assert_array_equal(white, 255 - black)


def test_signed_bytes_do_not_wrap():
    values = np.arange(-128, 128, dtype=np.int8).reshape(16, 16)
    with pytest.warns(ImageWarning, match="int8 values from -128 to 127"):
        rgb = read(_written(values, photometric="minisblack"))
    np.testing.assert_array_equal(rgb[..., 0].ravel(), np.arange(256))


@pytest.mark.parametrize("dtype", ["u4", "i4", "i2", "u8", "i8"])
@pytest.mark.parametrize("order", ["<", ">"])
def test_one_band_is_scaled_by_the_whole_range_of_the_type_in_the_file(dtype, order):
    limits = np.iinfo(dtype)
    values = np.linspace(limits.min, limits.max, 99).clip(limits.min, float(limits.max) * (1 - 2**-52)).astype(dtype)
    content = _written(values.reshape(9, 11), photometric="minisblack", byteorder=order)
    share = (values.astype(float) - limits.min) / (float(limits.max) - limits.min)
    expected = np.floor(share * 255 + 0.5).reshape(9, 11)
    found = read_with(content, ReadOptions(values="full"))
    np.testing.assert_array_equal(found.pixels[..., 1], expected)
    assert found.facts == {"range": [float(limits.min), float(limits.max)]}
    if dtype[1] in "24" and not (dtype == "u4" and order == ">"):  # what Pillow opens too
        with Image.open(io.BytesIO(content)) as image:
            np.testing.assert_array_equal(read_with(image, ReadOptions(values="full")).pixels, found.pixels)


def test_unsigned_samples_of_32_bits_are_stretched_without_wrapping():
    values = np.array([[0, 2**30, 2**31, 2**32 - 1]], np.uint32)
    for kind, expected in (("minisblack", [0, 64, 128, 255]), ("miniswhite", [255, 191, 127, 0])):
        with pytest.warns(ImageWarning, match="uint32 values from 0 to 4.29497e"):
            rgb = read(_written(values, photometric=kind))
        assert rgb[0, :, 0].tolist() == expected


def test_a_range_leaves_samples_of_8_bits_as_they_are():
    values = np.full((20, 30, 5), 200, np.uint8)
    content = _written(values, photometric="minisblack", planarconfig="contig")
    found = read_with(content, ReadOptions(values=(0, 3000), bands=(1, 2, 3)))
    assert found.pixels.min() == found.pixels.max() == 200
    three = read_with(_written(values[..., :3], photometric="rgb"), ReadOptions(values=(0, 3000)))
    np.testing.assert_array_equal(three.pixels, found.pixels)


@pytest.mark.parametrize("big", [False, True])
def test_further_pages_of_wide_colour_are_told(big):
    pages = RNG.integers(60000, 65536, (2, 20, 30, 3)).astype(np.uint16)
    with pytest.warns(ImageWarning, match="TIFF with several frames or pages"):
        rgb = read(_written(pages, photometric="rgb", bigtiff=big))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        np.testing.assert_array_equal(read(_written(pages[0], photometric="rgb", bigtiff=big)), rgb)


def test_of_many_bands_three_are_used_and_said_or_chosen():
    values = _samples("u1", 8)
    content = _written(values, photometric="minisblack", planarconfig="contig")
    with pytest.warns(ImageWarning, match="8 bands, the first three"):
        found = read_with(content, ReadOptions())
    np.testing.assert_array_equal(found.pixels, values[..., :3])
    assert found.facts == {"bands": [1, 2, 3]}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        chosen = read_with(content, ReadOptions.parse(bands="8,1,5"))
    np.testing.assert_array_equal(chosen.pixels, values[..., [7, 0, 4]])
    with pytest.raises(ImageError, match="bands of 1 to 8"):
        read_with(content, ReadOptions.parse(bands="9,1,2"))


def test_floating_colour_is_read():
    values = RNG.random((20, 30, 3)).astype(np.float32)
    with pytest.warns(ImageWarning, match="float32 values from 0 to"):
        rgb = read(_written(values, photometric="rgb"))
    np.testing.assert_allclose(rgb, values / values.max() * 255, atol=0.51)


@pytest.mark.parametrize("kind", ["unassalpha", "assocalpha"])
def test_wide_alpha_is_laid_on_white(kind):
    values = _samples("u2", 4)
    values[0, 0] = 65535
    if kind == "assocalpha":
        values[..., :3] = values[..., :3].astype(np.uint32) * values[..., 3:] // 65535
    colour, alpha = values[..., :3] / 65535, values[..., 3:] / 65535
    expected = (colour if kind == "assocalpha" else colour * alpha) + 1 - alpha
    rgb = read(_written(values, photometric="rgb", extrasamples=[kind]))
    np.testing.assert_allclose(rgb, expected * 255, atol=1.6)


def test_orientation_is_undone():
    values = _samples("u2", 3)
    content = _written(values, photometric="rgb", extratags=[(274, "H", 1, 6, True)])
    np.testing.assert_array_equal(read(content), np.rot90(read(_written(values, photometric="rgb")), -1))


@pytest.mark.parametrize(
    ("values", "options", "words"),
    [
        (_samples("u2", 4)[:9, :9].transpose(2, 0, 1).copy(), {"photometric": "separated"}, "colour space 5"),
    ],
)
def test_layouts_without_a_way_are_named(values, options, words):
    planar = "separate" if options["photometric"] == "separated" else "contig"
    with pytest.raises(ImageError, match=words), pytest.warns(ImageWarning):
        read(_written(values, planarconfig=planar, **options))


def test_limits_hold_for_bands_too():
    content = _written(_samples("u1", 8), photometric="minisblack", planarconfig="contig")
    with pytest.raises(ImageError, match="at most 100 pixels"):
        read(content, 100)
    with pytest.raises(ImageError, match="bytes of samples"):
        read(content, 37 * 53)


@pytest.mark.parametrize("seed", range(60))
def test_damaged_files_give_an_image_or_our_error(seed):
    rng = np.random.default_rng(seed)
    options = LAYOUTS[seed % len(LAYOUTS)]
    content = bytearray(_written(_samples("u2", 3), photometric="rgb", planarconfig="contig", **options))
    for _ in range(1 + seed % 4):
        content[int(rng.integers(len(content) if seed % 2 else 400))] = int(rng.integers(256))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with contextlib.suppress(ImageError):  # anything else fails the test
            assert read(bytes(content[: len(content) - int(rng.integers(40))]), 10**6).shape[2] == 3


def test_pillow_keeps_reading_what_it_reads_right():
    for mode in ("1", "L", "P", "RGB", "RGBA", "CMYK", "LA"):
        stream = io.BytesIO()
        Image.new(mode, (5, 4)).save(stream, "TIFF")
        assert layout_of(stream).is_plain


def test_a_directory_without_the_lengths_of_its_strips_is_one_line():
    values = np.zeros((6, 8, 3), np.uint16)
    stream = io.BytesIO()
    tifffile.imwrite(stream, values.transpose(2, 0, 1), photometric="rgb", planarconfig="separate", compression="zlib")
    content = stream.getvalue()
    assert content.count(struct.pack("<H", 279)) == 1
    with pytest.raises(ImageError, match="expected a whole TIFF"):
        read(content.replace(struct.pack("<H", 279), struct.pack("<H", 65000)))


def test_bands_of_a_tiff_of_four_may_be_chosen_in_8_bits_too():
    values = _samples("u1", 4)
    content = _written(values, photometric="rgb", extrasamples=["unspecified"])
    found = read_with(content, ReadOptions(bands=(4, 1, 2)))
    np.testing.assert_array_equal(found.pixels, values[..., [3, 0, 1]])
    assert found.facts == {"bands": [4, 1, 2]}


def test_bands_of_a_tiff_that_pillow_reads_are_chosen_of_its_three_colours():
    stream = io.BytesIO()
    Image.fromarray(_samples("u1", 4), "CMYK").save(stream, "TIFF", compression="tiff_lzw")
    plain = read(stream.getvalue())
    found = read_with(stream.getvalue(), ReadOptions(bands=(3, 2, 1)))
    np.testing.assert_array_equal(found.pixels, plain[..., ::-1])


def test_bands_of_a_tiff_with_alpha_are_its_own_and_not_laid_on_white():
    values = _samples("u1", 4)
    content = _written(values, photometric="rgb", extrasamples=["unassalpha"])
    np.testing.assert_array_equal(read_with(content, ReadOptions(bands=(3, 2, 1))).pixels, values[..., [2, 1, 0]])
