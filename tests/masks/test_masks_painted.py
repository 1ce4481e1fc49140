"""Painted masks: what was drawn comes back, through soft edges, JPEG and palettes."""

from __future__ import annotations

import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from glesam.errors import DataError
from glesam.masks.painted import read_painted

RED, GREEN, WHITE = (255, 0, 0), (0, 200, 80), (255, 255, 255)


def _scene(ground: tuple[int, int, int] = (0, 0, 0)) -> tuple[np.ndarray, dict[tuple[int, int, int], np.ndarray]]:
    """A disc and a rectangle on a ground, and where each is."""
    image = np.full((120, 160, 3), ground, np.uint8)
    ys, xs = np.mgrid[:120, :160]
    where = {RED: (xs - 45) ** 2 + (ys - 50) ** 2 < 30**2, GREEN: (abs(xs - 115) < 25) & (abs(ys - 70) < 35)}
    for colour, mask in where.items():
        image[mask] = colour
    return image, where


def _iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / (one | other).sum())


@pytest.mark.parametrize("ground", [(0, 0, 0), WHITE, (90, 120, 200)])
def test_flat_colours_come_back_exactly(ground: tuple[int, int, int]) -> None:
    image, where = _scene(ground)
    painted = read_painted(image)
    assert set(painted.colours) == set(where)
    for colour, mask in zip(painted.colours, painted.masks, strict=True):
        np.testing.assert_array_equal(mask, where[colour])
    assert painted.ambiguous == 0


def test_soft_edges_and_jpeg_make_no_objects_of_their_own(tmp_path: Path) -> None:
    image, where = _scene()
    soft = cv2.GaussianBlur(image, (0, 0), 0.9)
    Image.fromarray(soft).save(tmp_path / "mask.jpg", quality=85)
    painted = read_painted(tmp_path / "mask.jpg", palette=[(0, 0, 0), RED, GREEN])
    assert len(painted.masks) == 2
    for colour, mask in zip(painted.colours, painted.masks, strict=True):
        assert _iou(mask, where[colour]) > 0.95
    assert 0 < painted.ambiguous < 0.1
    assert len(read_painted(tmp_path / "mask.jpg").masks) == 2  # without being told the colours


def test_black_and_white_with_a_soft_edge_is_one_object() -> None:
    grey = np.zeros((60, 80), np.uint8)
    grey[20:40, 20:60] = 255
    soft = cv2.GaussianBlur(grey, (0, 0), 1.0)
    painted = read_painted(soft)
    np.testing.assert_array_equal(painted.masks[0], soft >= 128)
    assert _iou(painted.masks[0], grey > 0) > 0.99
    assert painted.ambiguous > 0


def test_ids_palette_files_and_transparency(tmp_path: Path) -> None:
    ids = np.zeros((20, 30), np.uint8)
    ids[2:8, 3:9], ids[10:15, 12:20] = 1, 7
    file = Image.fromarray(ids, "P")
    file.putpalette([0, 0, 0, 9, 9, 9] + [1, 1, 1] * 250)
    file.save(tmp_path / "ids.png")
    painted = read_painted(tmp_path / "ids.png")
    np.testing.assert_array_equal(painted.masks, [ids == 1, ids == 7])
    clear = np.zeros((20, 30, 4), np.uint8)
    clear[2:8, 3:9] = (0, 0, 0, 255)
    np.testing.assert_array_equal(read_painted(clear).masks, [ids == 1])
    np.testing.assert_array_equal(read_painted(ids == 7).masks, [ids == 7])


def test_what_is_no_mask_is_refused_in_one_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="background only"):
        read_painted(np.zeros((5, 5), np.uint8))
    with pytest.raises(DataError, match="convert it"):
        read_painted(np.zeros((5, 5, 3), np.float32))
    (tmp_path / "broken.png").write_bytes(io.BytesIO(b"no image").read())
    with pytest.raises(DataError, match="cannot read"):
        read_painted(tmp_path / "broken.png")


def test_a_map_of_depth_is_no_mask() -> None:
    depth = np.arange(60_000, dtype=np.uint16).reshape(200, 300)
    with pytest.raises(DataError, match="at most 2048 MiB together, got 59999 ids on 60000 pixels"):
        read_painted(depth)
    assert len(read_painted(depth % 301).masks) == 300


def test_formats_that_start_foreign_programs_are_not_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stream = io.BytesIO()
    Image.new("RGB", (8, 8)).save(stream, "EPS")
    (tmp_path / "m.png").write_bytes(stream.getvalue())
    monkeypatch.setattr("PIL.EpsImagePlugin.Ghostscript", lambda *_, **__: pytest.fail("started"))
    with pytest.raises(DataError, match="cannot read"):
        read_painted(tmp_path / "m.png")
