"""Files of every kind against what was written into them; damaged and foreign files against one-line errors."""

from __future__ import annotations

import io
import os
import re
import sys
import threading
import tracemalloc
import warnings
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from skimage import data

from glesam import images
from glesam.errors import ImageError

PHOTO = data.cat()[:64, :96].copy()
LOSSLESS = {"PNG": {}, "TIFF": {"compression": "tiff_lzw"}, "BMP": {}, "PPM": {}, "WEBP": {"lossless": True}}
LOSSY = ("JPEG", "WEBP", "JPEG2000", "AVIF")


def encoded(kind: str, array: np.ndarray = PHOTO, **options: object) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(array).save(stream, kind, **options)
    return stream.getvalue()


def one_line(error: pytest.ExceptionInfo[ImageError], *words: str) -> None:
    text = str(error.value)
    assert "\n" not in text
    assert ";" in text, "expected ..., got ...; cure"
    for word in words:
        assert word in text


@pytest.mark.parametrize("kind", LOSSLESS)
def test_lossless_files_come_back_equal(kind, tmp_path):
    path = tmp_path / "photo.any"
    path.write_bytes(encoded(kind, **LOSSLESS[kind]))
    for source in (path, str(path), path.read_bytes(), bytearray(path.read_bytes()), memoryview(path.read_bytes())):
        rgb = images.read(source)
        np.testing.assert_array_equal(rgb, PHOTO)
        assert rgb.dtype == np.uint8
        assert rgb.flags.writeable


@pytest.mark.parametrize("kind", LOSSY)
def test_lossy_files_come_back_near(kind):
    assert np.abs(images.read(encoded(kind)).astype(int) - PHOTO).mean() < 12


def test_jpeg_equals_opencvs_decoder():
    content = encoded("JPEG", quality=90)
    reference = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_COLOR)[..., ::-1]
    assert np.abs(images.read(content).astype(int) - reference).max() <= 3


def test_pillow_images_and_arrays_are_taken():
    np.testing.assert_array_equal(images.read(Image.fromarray(PHOTO)), PHOTO)
    assert images.read(PHOTO) is PHOTO


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("code", [3, 6, 8])
def test_the_image_is_turned_as_its_exif_says(kind, code):
    exif = Image.Exif()
    exif[0x0112] = code
    options = {"lossless": True} if kind == "WEBP" else {}
    rgb = images.read(encoded(kind, exif=exif, **options))
    expected = np.rot90(PHOTO, {3: 2, 6: -1, 8: 1}[code])
    assert rgb.shape == expected.shape
    assert np.abs(rgb.astype(int) - expected).mean() < (12 if kind == "JPEG" else 0.001)


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
def test_sixteen_bit_grey_files(kind):
    values = np.linspace(0, 65535, 4096).astype(np.uint16).reshape(64, 64)
    rgb = images.read(encoded(kind, values))
    np.testing.assert_array_equal(rgb[..., 2], np.round(values / 257).astype(np.uint8))


def test_sixteen_bit_colour_png_by_opencv():
    values = np.random.default_rng(0).integers(0, 65536, (20, 30, 3), dtype=np.uint16)
    content = cv2.imencode(".png", values[..., ::-1])[1].tobytes()
    assert np.abs(images.read(content) - values / 257).max() <= 1


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_first_of_several_frames_with_a_warning(kind, tmp_path):
    frames = [Image.fromarray(np.full((20, 30, 3), value, np.uint8)) for value in (10, 120, 240)]
    path = tmp_path / f"moving.{kind.lower()}"
    options = {"lossless": True} if kind == "WEBP" else {}
    frames[0].save(path, kind, save_all=True, append_images=frames[1:], **options)
    with pytest.warns(images.ImageWarning, match=r"moving.*first is used"):
        assert (images.read(path) == 10).all()


def test_photos_with_previews_inside_are_not_called_animated():
    stream = io.BytesIO()
    Image.fromarray(PHOTO).save(stream, "MPO", save_all=True, append_images=[Image.fromarray(PHOTO[::2, ::2])])
    assert Image.open(stream).n_frames == 2
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert images.read(stream.getvalue()).shape == PHOTO.shape


def test_missing_file_folder_and_empty_file(tmp_path):
    with pytest.raises(ImageError) as error:
        images.read(tmp_path / "none.jpg")
    one_line(error, "none.jpg", "check the path")
    with pytest.raises(ImageError) as error:
        images.read(tmp_path)
    one_line(error, "folder")
    (tmp_path / "empty.png").touch()
    with pytest.raises(ImageError) as error:
        images.read(tmp_path / "empty.png")
    one_line(error, "empty.png", "no bytes")
    with pytest.raises(ImageError) as error:
        images.read(b"")
    one_line(error, "the given bytes")


@pytest.mark.parametrize("path", ["a\0b.jpg", "x" * 5000 + ".jpg"])
def test_impossible_names(path):
    with pytest.raises(ImageError, match="readable file"):
        images.read(path)


@pytest.mark.skipif(os.name != "posix" or os.geteuid() == 0, reason="root reads everything")
def test_a_file_without_read_rights(tmp_path):
    path = tmp_path / "secret.png"
    path.write_bytes(encoded("PNG"))
    path.chmod(0)
    with pytest.raises(ImageError, match=r"secret.png \(Permission denied\)"):
        images.read(path)


@pytest.mark.parametrize(
    "content", [b"hello, I am text\n" * 99, b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"\0"]
)
def test_files_that_are_no_image(content, tmp_path):
    path = tmp_path / "text.jpg"
    path.write_bytes(content)
    with pytest.raises(ImageError) as error:
        images.read(path)
    one_line(error, "text.jpg", "convert it to JPEG or PNG")


@pytest.mark.parametrize("kind", [*LOSSLESS, "JPEG", "GIF", "JPEG2000", "AVIF"])
@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_files_cut_short(kind, share, tmp_path):
    content = encoded(kind)
    path = tmp_path / "cut.bin"
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(ImageError) as error:
        images.read(path)
    one_line(error, "cut.bin")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    kind=st.sampled_from(["JPEG", "PNG", "WEBP", "TIFF", "BMP", "GIF", "PPM"]),
    edits=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), min_size=1, max_size=8),
    keep=st.floats(0.1, 1),
)
def test_damaged_bytes_give_an_image_or_our_error(kind, edits, keep):
    """Whatever a plugin raises on damaged bytes, users meet ImageError on one line."""
    content = bytearray(encoded(kind, PHOTO[:16, :16]))
    for place, value in edits:
        content[int(place * len(content))] = value
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        text = ""
        try:
            rgb = images.read(bytes(content[: max(1, int(keep * len(content)))]), max_pixels=10**6)
        except ImageError as error:
            rgb, text = np.zeros((1, 1, 3), np.uint8), str(error)
    assert "\n" not in text
    assert rgb.dtype == np.uint8
    assert rgb.shape[2] == 3


def bomb(width: int, height: int) -> bytes:
    """A tiny PNG that claims to be huge."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return len(body).to_bytes(4, "big") + kind + body + zlib.crc32(kind + body).to_bytes(4, "big")

    header = width.to_bytes(4, "big") + height.to_bytes(4, "big") + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"\0")) + chunk(b"IEND", b"")


def test_a_decompression_bomb_is_refused_before_decoding():
    with pytest.raises(ImageError, match=r"at most 268435456 pixels, got 50000x50000 in the given bytes; shrink it"):
        images.read(bomb(50000, 50000))
    with pytest.raises(ImageError, match="at most 100 pixels, got 96x64"):
        images.read(Image.fromarray(PHOTO), max_pixels=100)
    assert images.read(encoded("PNG"), max_pixels=96 * 64).shape == PHOTO.shape


def test_between_pillows_limit_and_ours_no_bomb_warning():
    """10000 x 10000 is above Pillow's warning, below our limit: only the missing pixels are an error."""
    before = Image.MAX_IMAGE_PIXELS
    assert before < 10000 * 10000 < images.MAX_PIXELS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(ImageError, match="damaged or cut short"):
            images.read(bomb(10000, 10000))
    assert before == Image.MAX_IMAGE_PIXELS


def test_pillows_limit_survives_many_threads():
    before = Image.MAX_IMAGE_PIXELS
    content = encoded("PNG")
    threads = [threading.Thread(target=lambda: [images.read(content) for _ in range(30)]) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert before == Image.MAX_IMAGE_PIXELS


@pytest.mark.skipif(os.name != "posix", reason="named pipes")
def test_a_named_pipe_is_read(tmp_path):
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    writer = threading.Thread(target=pipe.write_bytes, args=(encoded("PNG"),))
    writer.start()
    np.testing.assert_array_equal(images.read(pipe), PHOTO)
    writer.join()


@pytest.mark.parametrize("source", [None, 7, [1, 2], io.BytesIO(b"x")])
def test_other_types_are_refused(source):
    with pytest.raises(ImageError, match=f"got {type(source).__name__};"):
        images.read(source)


def test_a_closed_pillow_image_is_an_image_error(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(encoded("PNG"))
    image = Image.open(path)
    image.close()
    with pytest.raises(ImageError, match=re.escape(str(path))):
        images.read(image)


def test_content_hash_follows_pixels_and_shape_only(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(encoded("PNG"))
    key = images.content_hash(PHOTO)
    assert key == images.content_hash(images.read(path)) == images.content_hash(PHOTO[::-1][::-1])
    assert len(key) == 32
    other = PHOTO.copy()
    other[3, 4, 1] ^= 1
    assert images.content_hash(other) != key
    assert images.content_hash(PHOTO.reshape(96, 64, 3)) != key


def _heic():
    """A minimal file that calls itself HEIC: only its first box."""
    return b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(64)


def test_heic_without_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(ImageError, match=r"the extra for HEIC images, which a.heic is; pip install 'glesam\[heif\]'"):
        images.read(_heic(), name="a.heic")


def test_heic_is_read_with_its_extra():
    heif = pytest.importorskip("pillow_heif")
    photo = Image.fromarray(np.tile(np.arange(0, 240, 2, np.uint8)[:, None, None], (1, 96, 3)))
    stream = io.BytesIO()
    heif.from_pillow(photo).save(stream, quality=95)
    assert np.abs(images.read(stream.getvalue()).astype(int) - np.asarray(photo)).mean() < 2


def test_folders_pick_heic(tmp_path):
    (tmp_path / "IMG_1.HEIC").write_bytes(_heic())
    assert [source.name for source in images.iterate(tmp_path)] == ["IMG_1.HEIC"]


def test_a_jpeg_without_its_last_two_bytes_is_whole_and_one_cut_in_its_data_is_not():
    noise = np.random.default_rng(0).integers(0, 256, (61, 83, 3), np.uint8)
    for pixels, options in ((PHOTO, {}), (noise, {"quality": 95}), (data.cat(), {"progressive": True})):
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "JPEG", **options)
        content = stream.getvalue()
        for left in (content[:-2], content[:-1]):
            np.testing.assert_array_equal(images.read(left), images.read(content))
        for length in (len(content) * 2 // 3, len(content) - 40):
            with pytest.raises(ImageError, match="cut short"):
                images.read(content[:length])


@pytest.mark.parametrize(("channels", "most"), [(3, 5), (4, 4)])
def test_wide_pngs_have_a_limit_of_samples(channels, most):
    content = cv2.imencode(".png", np.zeros((10, most, channels), np.uint16))[1].tobytes()
    limit = 10 * most * channels * 2 // 5 + 1
    assert images.read(content, max_pixels=limit).shape == (10, most, 3)
    with pytest.raises(ImageError, match=r"expected at most \d+ bytes of samples, got \d+ in the given bytes; cut or"):
        images.read(content, max_pixels=limit - 2)


@pytest.mark.parametrize("mode", ["RGBA", "RGB", "I;16"])
def test_large_images_are_converted_in_strips(mode):
    """What is held besides Pillow's pixels and the result stays below a quarter of the result."""
    side = 3000
    image = Image.new(mode, (side, side))
    tracemalloc.start()
    rgb = images.read(image)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak <= rgb.nbytes * 1.25 + 60e6


def test_what_is_wrong_with_a_header_is_said_in_words():
    with pytest.raises(ImageError, match=r"damaged or cut short \(no number but b'D4'\)"):
        images.read(b"P6\n3 D4\n255\n" + bytes(99), name="a.ppm")


def test_a_jpeg_without_its_end_is_not_decoded_before_its_size_is_checked(monkeypatch):
    stream = io.BytesIO()
    Image.fromarray(np.zeros((90, 120, 3), np.uint8)).save(stream, "JPEG")
    monkeypatch.setattr(Image.Image, "load", lambda self: pytest.fail("decoded"))
    with pytest.raises(ImageError, match="at most 1000 pixels, got 120x90"):
        images.read(stream.getvalue()[:-2], 1000)


def test_avif_under_a_general_brand_needs_no_extra():
    stream = io.BytesIO()
    Image.fromarray(np.full((16, 24, 3), 90, np.uint8)).save(stream, "AVIF")
    content = bytearray(stream.getvalue())
    assert content[8:12] == b"avif"
    assert b"avif" in content[16 : int.from_bytes(content[:4], "big")]
    content[8:12] = b"mif1"
    assert images.read(bytes(content)).shape == (16, 24, 3)


def test_the_orientation_of_a_png_may_come_after_its_pixels():
    for dtype in (np.uint8, np.uint16):
        done, buffer = cv2.imencode(".png", np.zeros((10, 20, 3), dtype))
        assert done
        exif = Image.Exif()
        exif[274] = 6  # a quarter turn
        data = exif.tobytes().removeprefix(b"Exif\0\0")
        chunk = len(data).to_bytes(4, "big") + b"eXIf" + data + zlib.crc32(b"eXIf" + data).to_bytes(4, "big")
        content = buffer.tobytes()
        end = content.rindex(b"IEND") - 4
        assert images.read(content[:end] + chunk + content[end:]).shape == (20, 10, 3), dtype
