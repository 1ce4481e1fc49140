"""`glesam segment --amodal`: whole objects beside masks, in every form."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from glesam import Predictor
from glesam.cli import app
from glesam.masks.masks import Masks

Make = Callable[..., Path]
Call = Callable[..., Result]
BOXES = ["--box", "5,5,30,35", "--box", "30,2,58,38"]


@pytest.fixture
def call(tiny_model: Path, monkeypatch: pytest.MonkeyPatch) -> Call:
    """The command, with a completion that adds the column right of each mask's box."""
    from dataclasses import replace

    def complete(self: Predictor, masks: Masks) -> Masks:
        whole = masks.masks.copy()
        for mask, box in zip(whole, masks.boxes.astype(int), strict=True):
            mask[box[1] : box[3], min(box[2], 59)] = True
        return replace(masks, amodal=whole)

    monkeypatch.setattr(Predictor, "complete", complete)

    def run(*words: object) -> Result:
        return CliRunner().invoke(app, ["segment", *map(str, words), "--model", str(tiny_model), "--device", "cpu"])

    return run


def test_whole_objects_lie_beside_the_masks(call: Call, photo: Make) -> None:
    path = photo("a.jpg")
    result = call(path, BOXES[0], BOXES[1], "--amodal", "--json", "--overlay")
    assert result.exit_code == 0, result.output
    seen = np.asarray(Image.open(path.with_name("a.mask.png"))) > 0
    whole = np.asarray(Image.open(path.with_name("a.amodal.png"))) > 0
    annotation = json.loads(path.with_name("a.mask.json").read_text())["annotations"][0]
    x, _, width, _ = map(int, annotation["bbox"])
    assert (whole & ~seen).sum() > 0
    assert set(np.nonzero(whole & ~seen)[1]) == {min(x + width, 59)}
    np.testing.assert_array_equal(Masks.from_coco([annotation]).whole.masks[0], whole)
    assert call(path, *BOXES[:2], "--json", "-o", path.parent / "plain").exit_code == 0
    plain = json.loads((path.parent / "plain" / "a.mask.json").read_text())["annotations"][0]
    assert "amodal_segmentation" not in plain


def test_a_folder_takes_it_for_every_image_and_skips_what_is_done(call: Call, photo: Make, tmp_path: Path) -> None:
    for name in ("in/a.png", "in/b.png"):
        photo(name)
    words = (tmp_path / "in", *BOXES, "--amodal", "-o", tmp_path / "out")
    assert call(*words).exit_code == 0
    assert {p.name for p in (tmp_path / "out").glob("*.amodal.png")} == {"a.amodal.png", "b.amodal.png"}
    (tmp_path / "out" / "a.amodal.png").unlink()
    assert call(*words).exit_code == 0
    assert (tmp_path / "out" / "a.amodal.png").is_file()


def test_clips_do_not_take_it(call: Call, tmp_path: Path) -> None:
    import cv2

    clip = cv2.VideoWriter(str(tmp_path / "c.avi"), cv2.VideoWriter.fourcc(*"MJPG"), 5, (64, 48))
    for _ in range(3):
        clip.write(np.zeros((48, 64, 3), np.uint8))
    clip.release()
    result = call(tmp_path / "c.avi", *BOXES[:2], "--amodal", "-o", tmp_path / "out")
    assert result.exit_code == 2
    assert "amodal" in result.output
