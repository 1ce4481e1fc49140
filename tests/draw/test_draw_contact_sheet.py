"""The contact sheet: what is drawn where."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from glesam.draw.sheet import Tile, contact_sheet, wrapped, write_contact_sheet
from glesam.errors import ConfigError


def plain(height: int, width: int, colour: tuple[int, int, int]) -> NDArray[np.uint8]:
    return np.full((height, width, 3), colour, dtype=np.uint8)


RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def boxes(sheet: NDArray[np.uint8], colour: tuple[int, int, int]) -> tuple[int, int, int, int]:
    """Rows and columns that a colour fills: top, bottom, left, right."""
    rows, columns = np.nonzero((sheet == colour).all(axis=2))
    return int(rows.min()), int(rows.max()) + 1, int(columns.min()), int(columns.max()) + 1


def test_images_stand_side_by_side_and_rows_below_each_other() -> None:
    rows = [[Tile("a", plain(30, 60, RED)), Tile("b", plain(60, 30, GREEN))], [Tile("c", plain(10, 10, BLUE))]]
    sheet = contact_sheet(rows, side=100)
    red, green, blue = (boxes(sheet, colour) for colour in (RED, GREEN, BLUE))
    assert (red[1] - red[0], red[3] - red[2]) == (50, 100)
    assert (green[1] - green[0], green[3] - green[2]) == (100, 50)
    assert (blue[1] - blue[0], blue[3] - blue[2]) == (100, 100)
    assert red[0] == green[0]
    assert red[3] < green[2]
    assert blue[0] > green[1]


def test_captions_are_written_above_and_kept_within_their_cell() -> None:
    picture = plain(40, 40, RED)
    sheet = contact_sheet([[Tile("W" * 200, picture), Tile("", picture)]], side=80)
    top = boxes(sheet, RED)[0]
    dark = (sheet[:top] < 100).all(axis=2)
    assert dark.any()
    assert not dark[:, 88:].any()


def test_extreme_shapes() -> None:
    sheet = contact_sheet([[Tile("long", plain(1, 5000, RED)), Tile("high", plain(5000, 1, GREEN))]], side=50)
    assert boxes(sheet, RED)[3] - boxes(sheet, RED)[2] == 50
    assert boxes(sheet, GREEN)[1] - boxes(sheet, GREEN)[0] == 50


def test_breaking_a_line() -> None:
    tiles = [Tile(str(i), plain(2, 2, RED)) for i in range(7)]
    assert [[tile.title for tile in row] for row in wrapped(tiles, 3)] == [["0", "1", "2"], ["3", "4", "5"], ["6"]]


def test_the_file_holds_the_sheet(tmp_path: Path) -> None:
    rows = [[Tile("a", plain(30, 60, RED))]]
    write_contact_sheet(tmp_path / "sheet.png", rows)
    assert (np.asarray(Image.open(tmp_path / "sheet.png")) == contact_sheet(rows)).all()
    assert [path.name for path in tmp_path.iterdir()] == ["sheet.png"]


def test_wrong_suffix_and_nothing_to_show(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="named"):
        write_contact_sheet(tmp_path / "sheet.gif", [[Tile("a", plain(3, 3, RED))]])
    with pytest.raises(ConfigError, match="at least one image"):
        contact_sheet([[]])
    assert not list(tmp_path.iterdir())
