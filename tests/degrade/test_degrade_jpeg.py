"""JPEG against Pillow's coder."""

from __future__ import annotations

import io

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray
from PIL import Image
from skimage import data

from glesam.degrade.draws import Draws
from glesam.degrade.lqseg.jpeg import draw_quality, jpeg, to_floats, to_uint8
from glesam.errors import ConfigError, ImageError

PHOTO: NDArray[np.uint8] = np.ascontiguousarray(data.astronaut()[:200:1, 100:331])


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


@pytest.mark.parametrize("quality", [30, 60, 95])
def test_like_pillows_jpeg(quality: int) -> None:
    buffer = io.BytesIO()
    Image.fromarray(PHOTO).save(buffer, "JPEG", quality=quality, subsampling="4:2:0")
    expected = np.asarray(Image.open(buffer).convert("RGB"))
    ours = to_uint8(jpeg(to_floats(PHOTO), quality))
    # The coders are the same, their discrete cosine transforms and colour conversions may round differently.
    assert np.abs(ours.astype(float) - expected).mean() < 0.5
    assert psnr(ours, PHOTO) == pytest.approx(psnr(expected, PHOTO), abs=0.1)


def test_less_quality_is_worse() -> None:
    values = [psnr(to_uint8(jpeg(to_floats(PHOTO), q)), PHOTO) for q in (95, 60, 30, 5)]
    assert values == sorted(values, reverse=True)
    assert values[0] - values[-1] > 5


def test_values_beyond_black_and_white_are_clipped() -> None:
    image = np.zeros((16, 16, 3), dtype=np.float32)
    image[:8], image[8:] = 3.0, -2.0
    result = jpeg(image, 100)
    assert_allclose(result[:8], 1.0, atol=0.02)
    assert_allclose(result[8:], 0.0, atol=0.02)


@pytest.mark.parametrize("shape", [(1, 1, 3), (8, 8, 3), (17, 5, 3)])
def test_any_size(shape: tuple[int, int, int]) -> None:
    result = jpeg(np.full(shape, 0.5, dtype=np.float32), 80)
    assert result.shape == shape
    assert result.dtype == np.float32
    assert_allclose(result * 255, np.rint(result * 255), atol=1e-3)


def test_levels_make_the_round_trip() -> None:
    levels = np.arange(256, dtype=np.uint8).reshape(16, 16, 1).repeat(3, axis=2)
    assert (to_uint8(to_floats(levels)) == levels).all()
    assert to_uint8(np.array([[[-0.1, 0.5, 1.2]]], dtype=np.float32)).tolist() == [[[0, 128, 255]]]


@pytest.mark.parametrize("quality", [0, 101, -5])
def test_impossible_quality(quality: int) -> None:
    with pytest.raises(ConfigError, match="1 to 100"):
        jpeg(np.zeros((8, 8, 3), dtype=np.float32), quality)


def test_too_long_for_jpeg() -> None:
    with pytest.raises(ImageError, match="65500"):
        jpeg(np.zeros((1, 65501, 3), dtype=np.float32), 50)


def test_quality_is_drawn_over_its_range() -> None:
    drawn = [draw_quality(Draws(seed), "j", (30.0, 95.0)) for seed in range(2000)]
    assert (min(drawn), max(drawn)) == (30, 94)
    assert np.mean(drawn) == pytest.approx(62.0, abs=5 * 18.8 / np.sqrt(2000))
