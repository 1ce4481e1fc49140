"""J and F against formulas and an oracle that sees the truth, and made clips against what they say they are."""

from __future__ import annotations

import argparse
import re
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import distance_transform_edt

import clips
from glesam import Masks, Prompts
from glesam.models.base import ImageGeometry
from glesam.video.propagate import Settings
from moved_clip import HEIGHT, LARGEST, MOVES, WIDTH, Move, MovedClip, cutouts


class Oracle:
    """Answers a box with the pixels of its own colour inside it, as a predictor would."""

    name = "oracle"

    def set_image(self, image: np.ndarray) -> None:
        self.red = image[..., 0] > 150
        self.image_size = image.shape[:2]
        geometry = ImageGeometry(image.shape[:2], (128, 128), 128)
        self.session = SimpleNamespace(encoded=SimpleNamespace(geometry=geometry))

    def predict(self, prompts: Prompts, multimask: bool = False, obey: bool = True) -> Masks:
        (x0, y0, x1, y1), inside = np.array(prompts.boxes, int)[0], np.zeros_like(self.red)
        inside[y0:y1, x0:x1] = self.red[y0:y1, x0:x1]
        low = cv2.resize(inside.astype(np.float32), (32, 32), interpolation=cv2.INTER_AREA) * 20 - 10
        return Masks(inside[None], np.array([0.9], np.float32), low[None])


def disc(x: float, y: float, radius: float, side: int = 100) -> np.ndarray:
    ys, xs = np.mgrid[:side, :side]
    return np.asarray((xs - x) ** 2 + (ys - y) ** 2 < radius**2)


def red_clip(count: int) -> list[tuple[np.ndarray, np.ndarray, bool]]:
    """A red disc that moves by two pixels a frame."""
    frames = []
    for number in range(count):
        truth = disc(30 + 2 * number, 50, 15)
        image = np.full((100, 100, 3), 40, np.uint8)
        image[truth] = (220, 30, 30)
        frames.append((image, truth, True))
    return frames


def test_what_is_followed_exactly_has_j_and_f_of_one() -> None:
    count, j, f, unseen, box = clips.measured(Oracle(), red_clip(6))
    assert (count, j, f, unseen, box) == (5, 1, 1, 0, 1)


def test_what_disappears_is_not_seen_and_frames_of_others_do_not_count() -> None:
    frames = red_clip(6)
    frames[4] = (np.full_like(frames[4][0], 40), frames[4][1], True)  # the truth says that it is there
    frames[5] = (*frames[5][:2], False)
    count, j, f, unseen, box = clips.measured(Oracle(), frames)
    assert (count, unseen) == (4, 0.25)
    assert j == f == box == pytest.approx(0.75)


def test_f_is_that_of_outlines_within_the_tolerance() -> None:
    """By distances to the other outline, in place of dilation."""
    one, other = disc(50, 50, 30), disc(54, 50, 28)
    radius = np.ceil(0.008 * np.hypot(100, 100))
    edges = [mask & ~cv2.erode(mask.astype(np.uint8), np.ones((3, 3))).astype(bool) for mask in (one, other)]
    far = [distance_transform_edt(~edge) for edge in edges]
    precision, recall = (far[1][edges[0]] <= radius).mean(), (far[0][edges[1]] <= radius).mean()
    assert 0.2 < precision < 0.9
    assert clips.outline_f(one, other) == pytest.approx(2 * precision * recall / (precision + recall), abs=0.02)
    assert clips.outline_f(one, np.zeros_like(one)) == 0
    assert clips.outline_f(np.zeros_like(one), np.zeros_like(one)) == 1


def test_folders_are_read_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for number in (2, 10, 1):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "images" / f"f{number}.png")
        Image.new("L", (8, 8), 1).save(tmp_path / "masks" / f"f{number}.png")
    frames = list(clips.stored(clips.FolderDataset(tmp_path), kept_aside=False))
    assert [int(image[0, 0, 0]) for image, _, _ in frames] == [1, 2, 10]


def moved(move: Move, frames: int = 9) -> MovedClip:
    """A bright ellipse of 60 x 30 pixels on black, before a dark ground."""
    image, mask = np.zeros((80, 100, 3), np.uint8), np.zeros((80, 100), np.uint8)
    cv2.ellipse(mask, (50, 40), (30, 15), 0, 0, 360, 1, -1)
    image[mask > 0] = (240, 200, 180)
    return MovedClip(image, mask > 0, np.full((90, 70, 3), 20, np.uint8), move, frames, seed=3)


@pytest.mark.parametrize("name", MOVES)
def test_the_truth_is_where_the_object_is_drawn(name: str) -> None:
    for index in (0, 4):
        image, truth = moved(MOVES[name]).frame(index)
        assert image.shape == (HEIGHT, WIDTH, 3)
        bright = image[..., 0] > 130  # half of object and half of ground
        if MOVES[name].pillar:
            bright[:, WIDTH * 2 // 5 : WIDTH * 3 // 5] = False
        assert (bright & truth).sum() >= 0.97 * max(bright.sum(), truth.sum())


def test_size_and_turn_go_as_the_move_says() -> None:
    clip = moved(Move((0.5, 2.0), turn=90))
    places = [clip.place(index)[:, :2] for index in (0, 4, 8)]
    sizes = [np.sqrt(np.linalg.det(place)) * 61 / (LARGEST * HEIGHT) for place in places]
    np.testing.assert_allclose(sizes, [0.5, 1.0, 2.0], rtol=1e-6)
    turns = [np.degrees(np.arctan2(place[1, 0], place[0, 0])) for place in places]
    np.testing.assert_allclose(turns, [0, 45, 90], atol=1e-6)
    areas = [int(clip.frame(index)[1].sum()) for index in (0, 4)]
    assert areas[1] / areas[0] == pytest.approx(4, rel=0.1)


def test_the_same_seed_makes_the_same_frames_and_a_pillar_hides() -> None:
    clip = moved(MOVES["hidden"])
    np.testing.assert_array_equal(clip.frame(2)[0], moved(MOVES["hidden"]).frame(2)[0])
    seen = [int(truth.sum()) for _, truth in clip]
    assert min(seen) < 0.3 * max(seen)


def test_only_whole_objects_in_one_piece_are_cut_out(tmp_path: Path) -> None:
    two = disc(20, 20, 12) | disc(70, 70, 12)
    masks = {"whole": disc(50, 50, 20), "pieces": two, "edge": disc(5, 50, 20), "tiny": disc(50, 50, 5)}
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    for name, mask in masks.items():
        Image.new("RGB", (100, 100), (9, 9, 9)).save(tmp_path / "images" / f"{name}.png")
        Image.fromarray(mask.astype(np.uint8)).save(tmp_path / "masks" / f"{name}.png")
    assert [sample.name for sample in cutouts(clips.FolderDataset(tmp_path), 9, 0)] == ["whole"]


def test_clips_are_made_of_each_object_in_each_way_and_means_are_over_clips(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for part in ("images", "masks"):
        (tmp_path / part).mkdir()
    Image.fromarray(np.uint8(disc(50, 50, 20)[..., None] * [220, 30, 30])).save(tmp_path / "images" / "a.png")
    Image.fromarray(np.uint8(disc(50, 50, 20))).save(tmp_path / "masks" / "a.png")
    options = argparse.Namespace(objects=tmp_path, grounds=tmp_path, count=2, frames=3, moves="across,near", seed=0)
    assert [(name, move) for name, move, _ in clips.made(options)] == [("a", "across"), ("a", "near")]
    clips.row("a", np.array([3, 0.5, 0.25, 1 / 3, 0.75]))
    assert capsys.readouterr().out == "| a | 3 | 0.500 | 0.250 | 33% | 0.750 |\n"


def test_means_are_over_clips_and_intervals_over_objects() -> None:
    rows = {
        ("near", "a"): (3, 0.5, 0.2, 0, 0.7),
        ("near", "b"): (5, 0.7, 0.4, 1, 0.9),
        ("away", "b"): (4, 0.9, 0.6, 0, 0.9),
    }
    lines = clips.summary([(move, name, np.array(each)) for (move, name), each in rows.items()]).splitlines()
    assert re.match(
        r"\| near, mean of 2 \| 8 \| 0\.600 \[0\.500, 0\.700\] \| 0\.300 \[.*\] \| 50% \| 0\.800 \[", lines[0]
    )
    assert re.match(r"\| away, mean of 1 \| 4 \| 0\.900 \[nan, nan\]", lines[1])
    # Both clips of b are drawn together: the mean is of a alone, of b alone, or of a and twice b.
    assert re.match(r"\| all, mean of 3 \| 12 \| 0\.700 \[0\.500, 0\.800\]", lines[2])
    assert lines[3].startswith("| true box at least 0.85, mean of 2 | 9 | 0.800 ")


def test_settings_by_name() -> None:
    assert clips.changed(["least_score=0.3", "scales=(1.0, 2.0)"]) == Settings(least_score=0.3, scales=(1.0, 2.0))
    with pytest.raises(TypeError):
        clips.changed(["unknown=1"])
