"""Wide samples against the formula round(255 (v - low) / (high - low)); the range that is chosen, and what is said."""

import io
import warnings

import cv2
import numpy as np
import pytest
from PIL import Image

from glesam.errors import ConfigError, ImageError
from glesam.images.ranges import ImageWarning, Scale, parse_range, scale_of, to_bytes
from glesam.images.reading import ReadOptions, read, read_with

RAMP = np.linspace(0, 1, 97)


def _png(values):
    stream = io.BytesIO()
    Image.fromarray(values).save(stream, "PNG")
    return stream.getvalue()


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.uint32, np.float32, np.int8])
def test_scaling_equals_the_formula(dtype):
    low, high = 3.0, 101.0
    values = (RAMP * 120).astype(dtype).reshape(1, -1, 1)
    expected = np.floor(np.clip((values.astype(np.float64) - low) / (high - low), 0, 1) * 255 + 0.5)
    np.testing.assert_array_equal(to_bytes(values, Scale(low, high, chosen=False)), expected)
    np.testing.assert_array_equal(to_bytes(values, Scale(low, high, chosen=False), inverted=True), 255 - expected)


def test_values_of_a_12_bit_camera_are_not_nearly_black():
    values = (RAMP * 4080).astype(np.uint16).reshape(1, -1)
    with pytest.warns(ImageWarning, match="uint16 values from 0 to 4080 are stretched"):
        found = read_with(_png(values), ReadOptions())
    assert found.pixels.max() == 255
    assert found.facts == {"range": [0.0, 4080.0]}
    np.testing.assert_array_equal(found.pixels[0, :, 0], np.floor(values[0] / 4080 * 255 + 0.5))


def test_colour_of_low_range_is_stretched_by_one_range_for_all_bands():
    values = np.stack([(RAMP * top).astype(np.uint16) for top in (4000, 2000, 1000)], axis=-1)[None]
    content = cv2.imencode(".png", np.ascontiguousarray(values[..., ::-1]))[1].tobytes()
    with pytest.warns(ImageWarning, match="stretched"):
        rgb = read(content)
    assert rgb[0, -1].tolist() == [255, 128, 64]


def test_what_uses_its_range_is_read_over_the_full_one_without_a_word():
    values = (RAMP * 40000).astype(np.uint16).reshape(1, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        found = read_with(_png(values), ReadOptions())
    np.testing.assert_array_equal(found.pixels[0, :, 0], np.floor(values[0] / 257 + 0.5))
    assert found.facts == {"range": [0.0, 65535.0]}


@pytest.mark.parametrize(("wish", "brightest"), [("full", 16), ("0,8160", 128), ("100,300", 255)])
def test_a_range_that_is_given_is_used(wish, brightest):
    values = (RAMP * 4080).astype(np.uint16).reshape(1, -1)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert read_with(_png(values), ReadOptions.parse(wish)).pixels.max() == brightest


@pytest.mark.parametrize("most", [65535, 4095])
def test_the_full_range_of_a_pgm_is_that_of_its_greatest_value(most):
    values = np.round(RAMP * most).astype(np.uint16)
    content = f"P5 {len(values)} 1 {most}\n".encode() + values.astype(">u2").tobytes()
    found = read_with(content, ReadOptions(values="full"))
    np.testing.assert_allclose(found.pixels[0, :, 0], values / most * 255, atol=0.51)
    assert found.facts == {"range": [0.0, 65535.0]}


@pytest.mark.parametrize("text", ["", "half", "1", "5,5", "9,3", "nan,3", "0,inf", "1,2,3"])
def test_malformed_ranges_are_refused(text):
    with pytest.raises(ConfigError, match="expected a range"):
        parse_range(text)


def test_no_number_at_all_is_refused():
    with pytest.raises(ImageError, match="samples that are numbers"):
        scale_of(np.full((2, 2), np.nan, np.float32), "auto", "x")


def test_an_even_image_stays_even():
    with pytest.warns(ImageWarning):
        assert len(np.unique(read(_png(np.full((3, 3), 7, np.uint16))))) == 1
