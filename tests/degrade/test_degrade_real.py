"""The table of the real-world kinds: complete, seeded, falling PSNR, any size, masks that follow."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from glesam.degrade.real import KINDS, degrade


def photo(name: str) -> np.ndarray:
    image = getattr(skimage.data, name)()
    return cv2.resize(image, (160 * image.shape[1] // image.shape[0], 160), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    return [photo(name) for name in ("astronaut", "coffee", "cat")]


def test_the_seven_kinds() -> None:
    assert list(KINDS) == [
        *("low_light", "underwater", "haze", "defocus", "rolling_motion", "recompression", "old_film"),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_complete(kind: str) -> None:
    row = KINDS[kind]
    assert row.name == kind
    assert row.parameters
    assert all(len(values) == 5 for values in row.parameters.values())
    assert row.source
    assert row.published_severity is None
    assert row.moves_pixels == (kind == "rolling_motion")


@pytest.mark.parametrize("kind", KINDS)
def test_psnr_falls_with_severity(kind: str, photos: list[np.ndarray]) -> None:
    means = [
        np.mean(
            [
                peak_signal_noise_ratio(image, degrade(image, kind, severity, seed))
                for image in photos
                for seed in range(4)
            ]
        )
        for severity in (1, 2, 3, 4, 5)
    ]
    # Half a decibel is well above the spread of such a mean over other seeds.
    assert all(milder - stronger > 0.5 for milder, stronger in pairwise(means)), means


@pytest.mark.parametrize("kind", KINDS)
def test_same_seed_same_bytes_other_seed_other_bytes(kind: str, photos: list[np.ndarray]) -> None:
    first = degrade(photos[0], kind, 3, 7)
    assert first.dtype == np.uint8
    assert first.shape == photos[0].shape
    assert np.array_equal(first, degrade(photos[0], kind, 3, 7))
    assert np.array_equal(first, degrade(photos[0], kind, 3, 8)) == (kind == "defocus")


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(list(KINDS)),
    height=st.integers(8, 70),
    width=st.integers(8, 70),
    severity=st.integers(1, 5),
    seed=st.integers(0, 2**64),
)
def test_any_size_keeps_its_size_and_the_masks_values(
    kind: str, height: int, width: int, severity: int, seed: int
) -> None:
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    mask = rng.integers(0, 2**40, (height, width))
    degraded, moved = degrade(image, kind, severity, seed, mask)
    assert degraded.shape == image.shape
    assert degraded.dtype == np.uint8
    assert np.isin(moved, mask).all()
    assert np.array_equal(degraded, degrade(image, kind, severity, seed))
    assert np.array_equal(moved, mask) or KINDS[kind].moves_pixels


@pytest.mark.parametrize("value", [0, 255])
@pytest.mark.parametrize("kind", KINDS)
def test_black_and_white_images_are_taken(kind: str, value: int) -> None:
    image = np.full((16, 24, 3), value, dtype=np.uint8)
    assert degrade(image, kind, 5, 0).shape == image.shape
