"""What the comparison with other tools prints, and its GrabCut against a shape that is known."""

from __future__ import annotations

import numpy as np
import pytest

import peers


def test_a_row_is_empty_where_a_tool_has_no_such_thing() -> None:
    grabcut = dict.fromkeys(peers.COLUMNS) | {"box": 2771.6, "peak": 104.2}
    model = dict.fromkeys(peers.COLUMNS, 0.0) | {"parameters": 9.79, "encode": 1572.4, "everything": 7.31}
    title, line, *rows = peers.table({"GrabCut": grabcut, "A": model}, grid=8).splitlines()
    assert "everything, 8 x 8 clicks, s" in title
    assert line.count("|") == title.count("|") == rows[0].count("|")
    cells = [[cell.strip() for cell in row.strip("|").split("|")] for row in rows]
    assert cells[0] == ["GrabCut", "", "", "", "2,772", "", "", "104"]
    assert cells[1] == ["A", "9.8", "1,572", "0", "0", "0", "7.3", "0"]


@pytest.mark.parametrize("box", [(20, 10, 60, 50), (-3, -3, 79, 59)])
def test_grabcut_finds_a_disc_of_another_colour_even_if_the_box_is_the_image(box: tuple[int, ...]) -> None:
    ys, xs = np.mgrid[:60, :80]
    disc = (xs - 40) ** 2 + (ys - 30) ** 2 < 15**2
    noise = np.random.default_rng(0).integers(0, 30, (60, 80, 3))
    image = np.where(disc[..., None], [200, 60, 40], [30, 90, 160]) + noise
    found = peers.grabcut(image.astype(np.uint8), box)
    assert found.dtype == bool
    assert (found & disc).sum() / (found | disc).sum() > 0.97
