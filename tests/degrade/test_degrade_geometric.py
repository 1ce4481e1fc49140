"""Kinds that move pixels: image and mask go the same way, by the field that SciPy also makes."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from glesam.degrade.draws import Draws
from glesam.degrade.kinds.geometric import elastic, frosted_glass
from glesam.degrade.robustseg import degrade


def scene(height: int = 120, width: int = 150) -> tuple[np.ndarray, np.ndarray]:
    """Three objects on a background, and an image that shows each in its own colour."""
    rows, columns = np.mgrid[0:height, 0:width]
    mask = np.zeros((height, width), dtype=np.int64)
    mask[np.hypot(rows - 50, columns - 60) < 30] = 7
    mask[80:110, 90:140] = 1000
    mask[5:25, 110:140] = 2**40
    colours = {0: (0, 0, 0), 7: (250, 0, 0), 1000: (0, 250, 0), 2**40: (0, 0, 250)}
    image = np.zeros((height, width, 3), dtype=np.uint8)
    for value, colour in colours.items():
        image[mask == value] = colour
    return image, mask


def objects(image: np.ndarray) -> np.ndarray:
    """Which object an image of `scene` shows: the channel above half, else background."""
    names = np.array([7, 1000, 2**40, 0])
    return names[np.where(image.max(axis=2) > 125, image.argmax(axis=2), 3)]


@pytest.mark.parametrize("severity", [1, 3, 5])
@pytest.mark.parametrize("kind", ["elastic", "frosted_glass"])
def test_mask_goes_where_the_image_goes(kind: str, severity: int) -> None:
    image, mask = scene()
    degraded, moved = degrade(image, kind, severity, 2, mask)
    shown = objects(degraded)
    assert (shown != mask).mean() > 0.005
    # Elastic: the image is mixed along edges, where half a pixel decides. Glass takes whole pixels.
    assert (shown != moved).mean() <= (0.004 if kind == "elastic" else 0.0)


def test_elastic_displacement_is_simards() -> None:
    image, _ = scene()
    draws = Draws(4)
    moved = elastic(image, draws, alpha=60.0, sigma=10.0, affine=0.0)
    noise = np.random.Generator(np.random.PCG64(int(draws.record["displacement"]))).uniform(-1, 1, (120, 150, 2))
    rows, columns = np.mgrid[0:120, 0:150]
    field = 60.0 * gaussian_filter(noise, (10.0, 10.0, 0), mode="mirror")
    inner = (slice(15, -15), slice(15, -15))
    assert moved.map_x[inner] == pytest.approx((columns + field[..., 0])[inner], abs=0.05)
    assert moved.map_y[inner] == pytest.approx((rows + field[..., 1])[inner], abs=0.05)
    expected = map_coordinates(image[..., 0].astype(float), [rows + field[..., 1], columns + field[..., 0]], order=1)
    assert np.abs(moved.image[..., 0] - expected)[inner].max() < 30
    assert np.abs(moved.image[..., 0] - expected)[inner].mean() < 0.2


def test_affine_part_moves_its_corners_by_the_recorded_shifts() -> None:
    image, _ = scene()
    draws = Draws(4)
    moved = elastic(image, draws, alpha=0.0, sigma=10.0, affine=9.0)
    corners = np.array([[75 + 40, 60 + 40], [75 + 40, 60 - 40], [75 - 40, 60 - 40]], dtype=float)
    for number, corner in enumerate(corners):
        x, y = corner + [float(draws.record[f"corner_{number}_{axis}"]) for axis in "xy"]
        back = [map_coordinates(plane, [[y], [x]], order=1)[0] for plane in (moved.map_x, moved.map_y)]
        assert back == pytest.approx(corner, abs=0.01)


@pytest.mark.parametrize("reach", [1, 3, 8])
def test_glass_shows_neighbours_within_reach_evenly(reach: int) -> None:
    side = 96
    rows, columns = np.mgrid[0:side, 0:side]
    image = np.dstack([columns, rows, np.zeros_like(rows)]).astype(np.uint8)
    moved = frosted_glass(image, Draws(0), reach=float(reach))
    inner = (slice(reach, -reach), slice(reach, -reach))
    shift_x = (moved.image[..., 0].astype(int) - columns)[inner]
    shift_y = (moved.image[..., 1].astype(int) - rows)[inner]
    for shift in (shift_x, shift_y):
        values, counts = np.unique(shift, return_counts=True)
        assert values.tolist() == list(range(-reach, reach + 1))
        assert np.abs(counts / counts.mean() - 1).max() < 0.2
    assert abs(np.corrcoef(shift_x.ravel(), shift_y.ravel())[0, 1]) < 0.05
