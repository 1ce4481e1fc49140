"""The recompression chain against the same chain made with Pillow from the record."""

from __future__ import annotations

import io

import cv2
import numpy as np
import pytest
import skimage.data
from PIL import Image

from glesam.degrade.draws import Draws
from glesam.degrade.kinds.recompression import recompression
from glesam.degrade.real import KINDS

WAYS = {"bilinear": cv2.INTER_LINEAR, "bicubic": cv2.INTER_CUBIC, "area": cv2.INTER_AREA}


def redo(image: np.ndarray, record: dict, rounds: int) -> np.ndarray:
    height, width = image.shape[:2]
    for turn in range(1, rounds + 1):
        share = record[f"scale_{turn}"]
        size = (round(width * share), round(height * share))
        image = cv2.resize(image, size, interpolation=WAYS[record[f"interpolation_{turn}"]])
        stream = io.BytesIO()
        jpeg = record[f"codec_{turn}"] == "jpeg"
        options = {"subsampling": 2} if jpeg else {"method": 4}
        Image.fromarray(image).save(stream, "JPEG" if jpeg else "WEBP", quality=record[f"quality_{turn}"], **options)
        image = np.asarray(Image.open(io.BytesIO(stream.getvalue())).convert("RGB"))
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_CUBIC)


@pytest.mark.parametrize("seed", range(4))
def test_the_record_tells_the_whole_chain(seed: int) -> None:
    image = skimage.data.coffee()
    draws = Draws(seed)
    shared = recompression(image, draws, **KINDS["recompression"].at(3))
    again = redo(image, draws.record, 3)
    # Builds of the codecs differ by a level here and there.
    assert np.abs(shared.astype(float) - again).mean() < 1.0


def test_quality_and_size_stay_within_what_is_asked() -> None:
    for seed in range(10):
        draws = Draws(seed)
        recompression(skimage.data.cat(), draws, rounds=4.0, scale=0.4, quality=30.0)
        qualities = [value for name, value in draws.record.items() if name.startswith("quality_")]
        scales = [value for name, value in draws.record.items() if name.startswith("scale_")]
        assert len(qualities) == len(scales) == 4
        assert all(24 <= quality <= 36 for quality in qualities)
        assert all(0.4 <= scale < 0.5 for scale in scales)


def test_both_codecs_occur() -> None:
    codecs = set()
    for seed in range(10):
        draws = Draws(seed)
        recompression(skimage.data.cat(), draws, rounds=2.0, scale=0.4, quality=30.0)
        codecs |= {draws.record["codec_1"], draws.record["codec_2"]}
    assert codecs == {"jpeg", "webp"}


def test_fine_detail_is_lost() -> None:
    checks = np.indices((120, 160)).sum(axis=0) % 2 * 255
    image = np.repeat(checks[..., None], 3, axis=2).astype(np.uint8)
    shared = recompression(image, Draws(0), rounds=2.0, scale=0.4, quality=60.0)
    assert shared.std() < 0.6 * image.std()
