from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from data_layouts import blob, photo
from PIL import Image

from glesam.draw.sheet import Tile, draw_mask, wrapped, write_contact_sheet


def test_a_sheet_has_a_cell_for_each_tile(tmp_path: Path) -> None:
    tile = Tile("a", photo(0), blob(1).astype(np.int32))
    write_contact_sheet(tmp_path / "one.png", [[tile]])
    write_contact_sheet(tmp_path / "eight.png", wrapped([tile] * 8, 4))
    one, eight = Image.open(tmp_path / "one.png"), Image.open(tmp_path / "eight.png")
    gap = 8
    assert eight.width - gap == 4 * (one.width - gap)
    assert eight.height - gap == 2 * (one.height - gap)


def test_faults_are_framed_in_red_and_sound_tiles_are_not(tmp_path: Path) -> None:
    def red(tile: Tile) -> int:
        write_contact_sheet(tmp_path / "s.png", [[tile]])
        pixels = np.asarray(Image.open(tmp_path / "s.png").convert("RGB")).astype(int)
        return int(((pixels[..., 0] > 150) & (pixels[..., 1] < 60)).sum())

    grey = np.full((24, 32, 3), 128, np.uint8)
    assert red(Tile("a", grey, None)) == 0
    assert red(Tile("a", grey, None, "empty mask")) > 4 * 224  # the frame alone
    assert red(Tile("a", None, None, "unreadable image")) > 4 * 224


def test_odd_sizes_and_long_names_are_drawn(tmp_path: Path) -> None:
    thin = Tile("n" * 200, photo(0, 1, 400), np.ones((1, 400), np.int32), "f" * 200)
    other = Tile("size", photo(0), blob(70, 50, 50).astype(np.int32), "size mismatch")
    write_contact_sheet(tmp_path / "odd.png", [[thin, other]])
    assert Image.open(tmp_path / "odd.png").width > 2 * 224


def test_an_unwritable_place_is_an_error_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"):
        write_contact_sheet(tmp_path / "file" / "s.png", [[Tile("a", None)]])


def test_objects_are_tinted_apart_and_the_rest_is_untouched() -> None:
    image = np.full((40, 40, 3), 100, np.uint8)
    mask = np.zeros((40, 40), np.int32)
    mask[5:15, 5:15], mask[20:35, 20:35] = 1, 300
    drawn = draw_mask(image, mask)
    np.testing.assert_array_equal(drawn[mask == 0], image[mask == 0])
    assert (drawn[10, 10] != drawn[27, 27]).any()
    assert (drawn[10, 10] != image[10, 10]).any()
    assert (drawn[5, 5] != drawn[10, 10]).any()  # the outline is stronger than the tint
