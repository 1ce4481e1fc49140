"""Masks from files in the page, run by Node, are those of `glesam segment --start-mask`."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from page_fixtures import module, run

from glesam.masks.painted import read_painted
from glesam.models.compact.pixels import lay_into_square
from glesam.models.sam.pixels import squash_into_square
from glesam.prompts.start import mask_logits

SIDE = 32
"""Cells along a side of the logits; the model's square has four times as many pixels."""

SIZES = [(1, 1), (3, 5), (17, 31), (40, 60), (128, 128), (300, 200), (96, 170), (20, 1024)]


def shapes(height: int, width: int) -> list[np.ndarray]:
    """An ellipse, all, a half, a pixel in a corner, and waves."""
    y, x = np.mgrid[:height, :width]
    made = [((x + 0.5 - width / 2) / (width / 3)) ** 2 + ((y + 0.5 - height / 2) / (height / 3)) ** 2 < 1]
    made += [np.ones((height, width), bool), x >= width / 2, (x == 0) & (y == 0)]
    return [*made, np.sin(1 + 9 * x / width) + np.cos(7 * y / height) > 0.21]


@pytest.mark.parametrize("squashed", [False, True])
@pytest.mark.parametrize("size", SIZES)
def test_logits_of_a_mask_are_the_librarys(size: tuple[int, int], squashed: bool) -> None:
    masks = [mask for mask in shapes(*size) if mask.any()]
    lay = squash_into_square if squashed else lay_into_square
    _, geometry = lay(np.zeros((*size, 3), np.uint8), 4 * SIDE)
    found = run(
        f"import {{ logitsOf }} from '{module('start.js')}';"
        f"const frame = {{ side: {SIDE}, squashed: {str(squashed).lower()} }};"
        "const made = given.map(([bits, w, h]) => [...logitsOf(Uint8Array.from(bits), w, h, frame)]);"
        "console.log(JSON.stringify(made))",
        [[mask.astype(int).ravel().tolist(), size[1], size[0]] for mask in masks],
    )
    # Where a square enlarges one side and shrinks the other, OpenCV's area averaging is a blunter filter for both.
    mixed = squashed and min(size) < 4 * SIDE < max(size)
    for each, expected in zip(found, mask_logits(np.stack(masks), geometry), strict=True):
        if mixed:
            assert ((np.reshape(each, (SIDE, SIDE)) > 0) != (expected > 0)).mean() < 0.03
        else:
            np.testing.assert_allclose(np.reshape(each, (SIDE, SIDE)), expected, atol=1e-5)


def soft(height: int, width: int, blur: float) -> np.ndarray:
    """A white disc on black with soft edges."""
    y, x = np.mgrid[:height, :width]
    disc = np.where((x - width / 2) ** 2 + (y - height / 2) ** 2 < (height / 3) ** 2, 255, 0).astype(np.uint8)
    return cv2.GaussianBlur(disc, (0, 0), blur) if blur else disc


def painted() -> dict[str, np.ndarray]:
    """Grey files: black and white, soft in several degrees, ids, and ids that look nearly like soft edges."""
    ids = np.zeros((40, 60), np.uint8)
    ids[5:15, 5:15], ids[20:30, 30:50] = 3, 200
    many = ids.copy()
    many[35, :7] = [10, 60, 90, 130, 170, 220, 255]  # greys of soft edges, but without white
    dark = soft(40, 60, 1.0) // 3
    five = np.where(np.isin(soft(40, 60, 1.0), [0, 255]), soft(40, 60, 1.0), 128)
    rare = soft(40, 60, 6.0)  # hardly any white is left
    made = {"hard": soft(40, 60, 0), "soft": soft(40, 60, 0.7), "softer": soft(90, 120, 1.5)}
    return made | {"ids": ids, "many": many, "dark": dark, "five": five, "rare": rare}


@pytest.mark.parametrize("name", painted())
def test_objects_of_a_grey_file_are_the_librarys(name: str) -> None:
    grey = painted()[name]
    rgba = np.dstack([grey, grey, grey, np.full_like(grey, 255)])
    found = run(
        f"import {{ idsOfPixels }} from '{module('start.js')}';"
        "console.log(JSON.stringify([...idsOfPixels(Uint8ClampedArray.from(given))]))",
        rgba.ravel().tolist(),
    )
    ids = np.reshape(found, grey.shape)
    expected = read_painted(grey).masks
    kinds = [kind for kind in np.unique(ids) if kind]
    assert len(kinds) == len(expected)
    for kind, mask in zip(kinds, expected, strict=True):
        np.testing.assert_array_equal(ids == kind, mask)


def test_colours_and_transparent_pixels_are_as_before() -> None:
    rgba = [[255, 0, 0, 255], [0, 0, 255, 255], [0, 0, 0, 255], [255, 255, 255, 0]]
    found = run(
        f"import {{ idsOfPixels }} from '{module('start.js')}';"
        "console.log(JSON.stringify([...idsOfPixels(Uint8ClampedArray.from(given))]))",
        np.ravel(rgba).tolist(),
    )
    assert found == [255, 255 * 65536, 0, 0]
