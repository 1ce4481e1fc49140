"""Coding and decoding against Pillow's own."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from glesam.degrade.draws import Draws
from glesam.degrade.kinds.compression import compression, reencode
from glesam.errors import ImageError


def by_pillow(image: np.ndarray, kind: str, quality: int) -> np.ndarray:
    stream = io.BytesIO()
    options = {"subsampling": 2} if kind == "JPEG" else {"method": 4}
    Image.fromarray(image).save(stream, kind, quality=quality, **options)
    return np.asarray(Image.open(io.BytesIO(stream.getvalue())).convert("RGB"))


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Mean difference in levels."""
    return float(np.abs(one.astype(float) - other).mean())


@pytest.mark.parametrize("quality", [40, 14, 4])
def test_jpeg_has_the_quality_it_says(quality: int) -> None:
    image = skimage.data.coffee()[:200, :304]
    ours = compression(image, Draws(0), quality=float(quality))
    # Builds of libjpeg differ by a level here and there; a neighbouring quality differs by far more.
    assert difference(ours, by_pillow(image, "JPEG", quality)) < 0.2
    assert difference(ours, by_pillow(image, "JPEG", quality + 5)) > 0.7


def test_webp_has_the_quality_it_says() -> None:
    image = skimage.data.cat()
    ours = reencode(image, "webp", 30)
    assert difference(ours, by_pillow(image, "WEBP", 30)) < 0.2
    assert difference(ours, by_pillow(image, "WEBP", 60)) > 0.7


def test_channels_keep_their_order() -> None:
    image = np.full((16, 16, 3), (220, 30, 60), dtype=np.uint8)
    for codec in ("jpeg", "webp"):
        assert np.abs(reencode(image, codec, 95).astype(int) - image).max() <= 6


def test_refusal_of_the_codec_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cv2, "imencode", lambda *_: (False, None))
    with pytest.raises(ImageError, match="webp"):
        reencode(skimage.data.cat(), "webp", 50)
