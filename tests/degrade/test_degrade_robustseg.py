"""The table of the 15 kinds: complete, seeded, falling PSNR, any size, masks that follow."""

from __future__ import annotations

from itertools import pairwise

import cv2
import numpy as np
import pytest
import skimage.data
from hypothesis import given, settings
from hypothesis import strategies as st
from skimage.metrics import peak_signal_noise_ratio

from glesam.degrade.robustseg import KINDS, degrade

PUBLISHED = {
    "gaussian_noise": ("variance", 250, 260),
    "iso_noise": ("intensity", 0.7, 0.8),
    "impulse_noise": ("factor", 1.4, 1.5),
    "resampling_blur": ("factor", 4, 4),
    "motion_blur": ("length", 3, 35),
    "zoom_blur": ("zoom", 1.33, 1.33),
    "colour_jitter": ("saturation", 0.7, 0.7),
    "compression": ("quality", 5, 10),
    "elastic": ("alpha", 100, 100),
    "frosted_glass": ("reach", 3, 3),
    "brightness": ("factor", 0.6, 0.8),
    "contrast": ("factor", 1.6, 1.7),
}
MOVING = {"elastic", "frosted_glass"}
FIXED = {"resampling_blur", "compression", "brightness", "contrast"}


def photo(name: str) -> np.ndarray:
    image = getattr(skimage.data, name)()
    return cv2.resize(image, (160 * image.shape[1] // image.shape[0], 160), interpolation=cv2.INTER_AREA)


@pytest.fixture(scope="module")
def photos() -> list[np.ndarray]:
    return [photo(name) for name in ("astronaut", "coffee", "cat")]


def test_the_fifteen_kinds_of_the_paper_in_its_order() -> None:
    assert list(KINDS) == [
        *("snow", "fog", "rain", "gaussian_noise", "iso_noise", "impulse_noise", "resampling_blur", "motion_blur"),
        *("zoom_blur", "colour_jitter", "compression", "elastic", "frosted_glass", "brightness", "contrast"),
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_are_complete_and_frozen(kind: str) -> None:
    row = KINDS[kind]
    assert row.name == kind
    assert row.parameters
    assert all(len(values) == 5 for values in row.parameters.values())
    assert row.source
    assert row.published
    assert row.published_severity in {1, 2, 3, 4, 5}
    assert row.moves_pixels == (kind in MOVING)
    with pytest.raises(AttributeError):
        row.name = "other"  # type: ignore[misc]
    with pytest.raises(TypeError):
        KINDS[kind] = row  # type: ignore[index]


@pytest.mark.parametrize("kind", PUBLISHED)
def test_published_severity_lies_in_the_published_range(kind: str) -> None:
    name, low, high = PUBLISHED[kind]
    row = KINDS[kind]
    assert low <= row.at(row.published_severity or 0)[name] <= high


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
    assert np.array_equal(first, degrade(photos[0], kind, 3, 8)) == (kind in FIXED)


@settings(max_examples=60, deadline=None)
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
    assert moved.shape == mask.shape
    assert moved.dtype == mask.dtype
    assert np.isin(moved, mask).all()
    assert np.array_equal(degraded, degrade(image, kind, severity, seed))


@pytest.mark.parametrize("kind", KINDS)
def test_masks_move_where_the_row_says_so(kind: str, photos: list[np.ndarray]) -> None:
    mask = np.arange(photos[0].shape[0] * photos[0].shape[1]).reshape(photos[0].shape[:2])
    _, moved = degrade(photos[0], kind, 3, 1, mask)
    assert np.array_equal(moved, mask) != KINDS[kind].moves_pixels
