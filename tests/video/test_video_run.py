"""Clips of known truth through frames, tracking by masks, writers and the resumable run."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from pycocotools import mask as coco_mask
from video_tiny import ColourOracle

from glesam.errors import ConfigError, ImageError, PromptError
from glesam.prompts.corrections import Correction
from glesam.prompts.prompts import Prompts
from glesam.video.appearance import find
from glesam.video.frames import VideoSource, is_video, open_video
from glesam.video.journal import is_complete, made_of, read_frames, to_masks
from glesam.video.propagate import MaskPropagation, Settings
from glesam.video.run import ClipOutputs, ClipTask, segment_video
from glesam.video.writers import overlay_video
from synthetic_clip import SyntheticClip

CLIP = SyntheticClip(320, 180, period=120)
FRAMES = 70


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("clip") / "two shapes.mp4"
    CLIP.write(path, FRAMES)
    return path


@pytest.fixture(scope="module")
def prompts() -> Prompts:
    return Prompts(boxes=[CLIP.box(0, 0), CLIP.box(1, 0)])


def tracker() -> MaskPropagation:
    return MaskPropagation(ColourOracle())  # type: ignore[arg-type]


def outputs(folder: Path) -> ClipOutputs:
    return ClipOutputs(folder / "c.mask.jsonl", folder / "c.masks", folder / "c.overlay.mp4", folder / "c.mask.json")


def frame_count(path: Path) -> int:
    return sum(1 for _ in open_video(path).frames())


def iou(one: np.ndarray, other: np.ndarray) -> float:
    return float((one & other).sum() / max(1, (one | other).sum()))


class Killed(BaseException):
    """Stands for a kill: no handler of the program knows it."""


# --- frames


def test_names_of_clips() -> None:
    assert is_video("a/b.MP4")
    assert is_video("camera:12")
    assert not is_video("a.jpg")
    assert not is_video("camera:")
    assert not is_video("-")


def test_frames_are_those_of_the_clip_and_start_is_exact(clip: Path) -> None:
    source = open_video(clip)
    assert (source.width, source.height, source.fps, source.count) == (320, 180, 25.0, FRAMES)
    frames = dict(source.frames())
    assert list(frames) == list(range(FRAMES))
    for index in (0, 33):
        # MPEG-4 loses something, but not as much as a frame or two swapped channels would.
        assert np.abs(frames[index].astype(int) - CLIP.frame(index)[0]).mean() < 6
    later = dict(source.frames(33))
    assert list(later) == list(range(33, FRAMES))
    assert np.array_equal(later[50], frames[50])
    assert list(source.frames(FRAMES + 5)) == []


def test_what_is_no_clip_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="found no file"):
        open_video(tmp_path / "none.mp4")
    fake = tmp_path / "fake.mp4"
    fake.write_bytes(b"no clip" * 100)
    with pytest.raises(ImageError, match=r"fake\.mp4"):
        open_video(fake)
    with pytest.raises(ImageError, match="camera:97"):
        open_video("camera:97")


# --- tracking by masks


def test_objects_are_followed_lost_behind_the_pillar_and_found_again() -> None:
    carrier, hidden, seen = tracker(), [0, 0], [[], []]
    carrier.start(CLIP.frame(0)[0], Prompts(boxes=[CLIP.box(0, 0), CLIP.box(1, 0)]))
    for index in range(1, 160):
        frame, truth = CLIP.frame(index)
        masks = carrier.step(frame).masks
        for number in range(2):
            if not truth[number].any():
                hidden[number] += 1
                assert not masks[number].any(), f"object {number} is hidden in frame {index}"
            elif truth[number].sum() > 500:
                seen[number].append(iou(masks[number], truth[number]))
    assert min(hidden) > 3, "the test needs frames in which each object is hidden"
    for number in range(2):
        assert np.mean(seen[number]) > 0.75
        assert np.mean(seen[number][-20:]) > 0.75, "the object was not found again"


def ringed(place: tuple[int, int] | None, radius: float) -> tuple[np.ndarray, np.ndarray]:
    """A grey frame with an orange disc of two tones, or without; and the disc's mask."""
    rng = np.random.default_rng(0)
    frame = np.repeat(rng.integers(110, 140, (180, 320, 1), dtype=np.uint8), 3, axis=2)
    ys, xs = np.mgrid[:180, :320]
    distance = np.full((180, 320), np.inf) if place is None else np.hypot(xs - place[0], ys - place[1])
    frame[distance < radius] = (250, 120, 10)
    frame[distance < radius / 2] = (180, 80, 5)
    return frame, distance < radius


@pytest.mark.parametrize("factor", [0.55, 1.0, 2.0])
def test_an_object_that_comes_back_at_another_size_is_found(factor: float) -> None:
    carrier = tracker()
    first, truth = ringed((70, 90), 22)
    carrier.start(first, Prompts(boxes=[[48, 68, 92, 112]]))
    assert carrier.step(first).masks[0].any()
    for _ in range(3):
        assert not carrier.step(ringed(None, 0)[0]).masks.any()
    frame, truth = ringed((220, 80), 22 * factor)
    assert iou(carrier.step(frame).masks[0], truth) > 0.9
    assert iou(carrier.step(ringed((224, 82), 22 * factor)[0]).masks[0], ringed((224, 82), 22 * factor)[1]) > 0.9


@pytest.mark.parametrize("padded", [True, False])
@pytest.mark.parametrize("place", [(70, 100), (90, 80)])
def test_the_moved_mask_prompt_lies_on_the_object_in_frames_of_any_aspect(padded: bool, place: tuple[int, int]) -> None:
    oracle = ColourOracle(padded)
    carrier = MaskPropagation(oracle)  # type: ignore[arg-type]
    frames = [ringed(each, 22) for each in ((70, 80), place)]
    first, second = (np.ascontiguousarray(frame[:160]) for frame, _ in frames)  # twice as wide as high
    carrier.start(first, Prompts(boxes=[[48, 58, 92, 102]]))
    carrier.step(second)
    given = oracle.asked[-1].mask_input
    assert given is not None
    restored = oracle.session.encoded.geometry.restore(torch.tensor(given)[:, None])[0, 0].numpy() > 0
    assert iou(restored, frames[1][1][:160]) > 0.8


def test_another_object_of_other_colours_is_not_taken_for_it() -> None:
    carrier = tracker()
    first, _ = ringed((70, 90), 22)
    carrier.start(first, Prompts(boxes=[[48, 68, 92, 112]]))
    carrier.step(ringed(None, 0)[0])
    frame, truth = ringed((220, 80), 40)
    frame[truth] = frame[truth][:, ::-1]  # blue
    assert not carrier.step(frame).masks.any()


def test_one_pass_of_the_encoder_a_frame() -> None:
    carrier = tracker()
    carrier.start(CLIP.frame(0)[0], Prompts(boxes=[CLIP.box(0, 0)]))
    for index in range(1, 6):
        carrier.step(CLIP.frame(index)[0])
    assert carrier.predictor.calls == 6  # type: ignore[attr-defined]


def test_unbelieved_answers_are_empty() -> None:
    carrier = MaskPropagation(ColourOracle(), settings=Settings(least_score=0.95))  # type: ignore[arg-type]
    carrier.start(CLIP.frame(0)[0], Prompts(boxes=[CLIP.box(0, 0)]))
    assert not carrier.step(CLIP.frame(1)[0]).masks.any()
    with pytest.raises(PromptError, match="start"):
        tracker().step(CLIP.frame(0)[0])


# --- the run


@pytest.fixture(scope="module")
def whole(clip: Path, prompts: Prompts, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("whole")
    report = segment_video(ClipTask(open_video(clip), prompts), tracker(), outputs(folder))
    assert (report.frames, report.done) == (FRAMES, FRAMES)
    return folder


def test_all_outputs_agree_with_the_truth(whole: Path) -> None:
    assert is_complete(whole / "c.mask.jsonl")
    names = sorted(path.name for path in whole.iterdir())
    assert names == ["c.mask.json", "c.mask.jsonl", "c.masks", "c.overlay.mp4"]
    truth = CLIP.frame(5)[1]
    ids = np.asarray(Image.open(whole / "c.masks" / "000005.png"))
    assert iou(ids == 1, truth[0]) > 0.75
    assert iou(ids == 2, truth[1]) > 0.75
    document = json.loads((whole / "c.mask.json").read_text())
    assert len(document["images"]) == FRAMES
    image = next(entry for entry in document["images"] if entry["frame_index"] == 5)
    entries = [entry for entry in document["annotations"] if entry["image_id"] == image["id"]]
    for entry in entries:
        assert np.array_equal(coco_mask.decode(entry["segmentation"]).astype(bool), ids == entry["track_id"])
    assert [entry["track_id"] for entry in entries] == [1, 2]
    assert len({entry["id"] for entry in document["annotations"]}) == len(document["annotations"])
    frames = dict(open_video(whole / "c.overlay.mp4").frames())
    assert len(frames) == FRAMES
    changed = np.abs(frames[5].astype(int) - CLIP.frame(5)[0]).mean(axis=2)
    assert changed[truth[0]].mean() > 4 * changed[~truth.any(axis=0)].mean()


def test_a_killed_run_goes_on_to_the_same_results(clip: Path, prompts: Prompts, whole: Path, tmp_path: Path) -> None:
    def kill(index: int) -> None:
        if index == 37:
            raise Killed

    task = ClipTask(open_video(clip), prompts)
    with pytest.raises(Killed):
        segment_video(task, tracker(), outputs(tmp_path), on_frame=kill)
    assert not is_complete(tmp_path / "c.mask.jsonl")
    assert not list(tmp_path.glob("*.mp4")), "an unfinished video must not bear its name"
    with (tmp_path / "c.mask.jsonl").open("ab") as stream:
        stream.write(b'{"frame": 38, "ti')  # as a kill in the middle of a line leaves it
    report = segment_video(task, tracker(), outputs(tmp_path))
    assert (report.frames, report.done) == (FRAMES, FRAMES - 25)
    for name in ("c.mask.jsonl", "c.mask.json", "c.masks/000036.png", "c.masks/000069.png"):
        assert (tmp_path / name).read_bytes() == (whole / name).read_bytes(), name
    for one, other in zip(
        open_video(tmp_path / "c.overlay.mp4").frames(), open_video(whole / "c.overlay.mp4").frames(), strict=True
    ):
        assert np.array_equal(one[1], other[1])
    assert not list(tmp_path.glob(".*")), "nothing hidden is left"


@pytest.mark.parametrize("lost", ["never written", "removed", "of other prompts"])
def test_a_killed_run_without_its_masks_starts_over_where_they_are_asked_for(
    clip: Path, prompts: Prompts, whole: Path, tmp_path: Path, lost: str
) -> None:
    def kill(index: int) -> None:
        if index == 60:
            raise Killed

    places = ClipOutputs(tmp_path / "c.mask.jsonl", tmp_path / "c.masks")
    other = ClipOutputs(places.journal, None, None, tmp_path / "c.mask.json")
    task = ClipTask(open_video(clip), prompts)
    if lost == "of other prompts":
        segment_video(ClipTask(open_video(clip), Prompts(boxes=[CLIP.box(1, 0)])), tracker(), places)
    with pytest.raises(Killed):
        segment_video(
            task, tracker(), places if lost == "removed" else other, overwrite=lost == "of other prompts", on_frame=kill
        )
    if lost == "removed":
        (tmp_path / "c.masks" / "000031.png").unlink()
    report = segment_video(task, tracker(), places)
    assert report.done == report.frames == FRAMES
    names = [f"{index:06}.png" for index in range(FRAMES)]
    assert sorted(path.name for path in (tmp_path / "c.masks").iterdir()) == names
    for name in names:
        assert (tmp_path / "c.masks" / name).read_bytes() == (whole / "c.masks" / name).read_bytes()
    assert made_of(places.journal) == ["masks"]


def test_a_killed_run_goes_on_in_a_form_that_its_journal_gives(
    clip: Path, prompts: Prompts, whole: Path, tmp_path: Path
) -> None:
    def kill(index: int) -> None:
        if index == 60:
            raise Killed

    task, journal = ClipTask(open_video(clip), prompts), tmp_path / "c.mask.jsonl"
    with pytest.raises(Killed):
        segment_video(task, tracker(), ClipOutputs(journal, tmp_path / "c.masks"), on_frame=kill)
    assert segment_video(task, tracker(), ClipOutputs(journal, coco=tmp_path / "c.mask.json")).done == FRAMES - 50
    assert (tmp_path / "c.mask.json").read_bytes() == (whole / "c.mask.json").read_bytes()
    assert made_of(journal) == ["coco"]


def test_an_unfinished_run_of_another_mask_prompt_is_not_gone_on_with(clip: Path, tmp_path: Path) -> None:
    def kill(index: int) -> None:
        if index == 30:
            raise Killed

    def task(value: float) -> ClipTask:
        shown = Prompts(boxes=[CLIP.box(0, 0)], mask_input=np.full((1, 32, 32), value, np.float32))
        return ClipTask(open_video(clip), shown)

    places = ClipOutputs(tmp_path / "c.mask.jsonl")
    with pytest.raises(Killed):
        segment_video(task(1.0), tracker(), places, on_frame=kill)
    with pytest.raises(ConfigError, match="--overwrite"):
        segment_video(task(2.0), tracker(), places)
    assert segment_video(task(1.0), tracker(), places).done == FRAMES - 25


def test_a_journal_is_complete_after_all_that_was_asked_for(
    clip: Path, prompts: Prompts, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def kill(*_: object) -> None:
        raise Killed

    task = ClipTask(open_video(clip), prompts, max_frames=2)
    monkeypatch.setattr("glesam.video.run.write_coco", kill)
    with pytest.raises(Killed):
        segment_video(task, tracker(), outputs(tmp_path))
    assert not is_complete(tmp_path / "c.mask.jsonl")
    monkeypatch.undo()
    with pytest.raises(ImageError, match=r"c\.mask\.jsonl, it was removed while"):
        segment_video(task, tracker(), ClipOutputs(tmp_path / "c.mask.jsonl"), on_frame=lambda _: _remove(tmp_path))
    segment_video(task, tracker(), outputs(tmp_path))
    assert is_complete(tmp_path / "c.mask.jsonl")


def _remove(folder: Path) -> None:
    for path in folder.glob("c.mask.jsonl"):
        path.unlink()


def test_ctrl_c_ends_between_frames_and_goes_on_there(clip: Path, prompts: Prompts, tmp_path: Path) -> None:
    def stop(index: int) -> None:
        if index == 10:
            signal.raise_signal(signal.SIGINT)  # to this thread: the process has others, of native libraries

    before = signal.getsignal(signal.SIGINT)
    task, places = ClipTask(open_video(clip), prompts, max_frames=30), ClipOutputs(tmp_path / "c.mask.jsonl")
    with pytest.raises(KeyboardInterrupt):
        segment_video(task, tracker(), places, on_frame=stop)
    assert signal.getsignal(signal.SIGINT) is before
    resumed: list[int] = []
    report = segment_video(task, tracker(), places, on_resume=resumed.append)
    assert (report.frames, report.done) == (30, 19)
    assert resumed == [11], "a bar starts where the earlier run ended"
    later = [entries for frame, _, entries in read_frames(tmp_path / "c.mask.jsonl") if frame >= 11]
    assert report.lost == tuple(sum(entries[i]["area"] == 0 for entries in later) for i in range(2))
    assert report.confidence == pytest.approx((0.9, 0.9)), "the oracle's score, over frames in which they were seen"
    assert [frame for frame, _, _ in read_frames(tmp_path / "c.mask.jsonl")] == list(range(30))


def test_a_later_frame_may_hold_the_prompts(clip: Path, tmp_path: Path) -> None:
    task = ClipTask(open_video(clip), Prompts(boxes=[CLIP.box(0, 8)]), frame=8, max_frames=4)
    segment_video(task, tracker(), outputs(tmp_path))
    found = list(read_frames(tmp_path / "c.mask.jsonl"))
    assert [frame for frame, _, _ in found] == [8, 9, 10, 11]
    assert found[1][1] == pytest.approx(9 / 25)
    assert iou(to_masks(found[3][2], (180, 320)).masks[0], CLIP.frame(11)[1][0]) > 0.75
    assert frame_count(tmp_path / "c.overlay.mp4") == 12
    late = ClipTask(open_video(clip), Prompts(boxes=[[1, 1, 9, 9]]), frame=FRAMES)
    with pytest.raises(ImageError, match="ends before"):
        segment_video(late, tracker(), ClipOutputs(tmp_path / "late.jsonl"))


CORRECTED = 6


def corrected_task(clip: Path, **changes: Any) -> ClipTask:
    """Both objects are the second one, by a slip; on a later frame somebody points the first of them out."""
    slip = Prompts(boxes=[CLIP.box(1, 0), CLIP.box(1, 0)])
    corrections = {CORRECTED: Correction((0,), Prompts(boxes=[CLIP.box(0, CORRECTED)]))}
    return ClipTask(open_video(clip), slip, **{"max_frames": 12, "corrections": corrections} | changes)


def test_a_correction_replaces_the_mask_from_its_frame_on(clip: Path, tmp_path: Path) -> None:
    found = {}
    for name, changes in (("with", {}), ("without", {"corrections": {}})):
        places = ClipOutputs(tmp_path / f"{name}.mask.jsonl")
        segment_video(corrected_task(clip, **changes), tracker(), places)
        found[name] = [to_masks(entries, (180, 320)).masks for _, _, entries in read_frames(places.journal)]
    assert len(found["with"]) == 12
    for index, (masks, others) in enumerate(zip(found["with"], found["without"], strict=True)):
        truth = CLIP.frame(index)[1]
        assert iou(masks[0], truth[0 if index >= CORRECTED else 1]) > 0.8
        assert np.array_equal(masks[1], others[1])
        assert iou(others[0], truth[1]) > 0.8


@pytest.mark.parametrize("killed_at", [4, 9])
def test_a_killed_run_with_corrections_goes_on(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: int
) -> None:
    monkeypatch.setattr("glesam.video.run.CHECKPOINT_FRAMES", 3)
    whole, parts = (ClipOutputs(tmp_path / f"{name}.mask.jsonl") for name in ("whole", "parts"))
    segment_video(corrected_task(clip), tracker(), whole)

    def kill(frame: int) -> None:
        if frame == killed_at:
            raise Killed

    with pytest.raises(Killed):
        segment_video(corrected_task(clip), tracker(), parts, on_frame=kill)
    with pytest.raises(ConfigError, match="prompts and model"):
        segment_video(corrected_task(clip, corrections={}), tracker(), parts)
    segment_video(corrected_task(clip), tracker(), parts)
    assert parts.journal.read_bytes() == whole.journal.read_bytes()


@pytest.mark.parametrize(
    ("frame", "objects", "said"),
    [(0, (0,), "after frame 0"), (5, (2,), "objects 1 to 2, got"), (5, (1, 1), "each corrected object once")],
)
def test_corrections_that_do_not_fit_are_refused(
    clip: Path, tmp_path: Path, frame: int, objects: tuple[int, ...], said: str
) -> None:
    given = {frame: Correction(objects, Prompts(boxes=[[1, 1, 9, 9]] * len(objects)))}
    with pytest.raises(PromptError, match=said):
        segment_video(corrected_task(clip, corrections=given), tracker(), ClipOutputs(tmp_path / "c.mask.jsonl"))
    assert list(tmp_path.iterdir()) == []


def test_an_unfinished_run_of_other_prompts_is_not_gone_on_with(clip: Path, prompts: Prompts, tmp_path: Path) -> None:
    def kill(index: int) -> None:
        if index == 30:
            raise Killed

    places = ClipOutputs(tmp_path / "c.mask.jsonl")
    with pytest.raises(Killed):
        segment_video(ClipTask(open_video(clip), prompts), tracker(), places, on_frame=kill)
    other = ClipTask(open_video(clip), Prompts(boxes=[CLIP.box(1, 0)]), max_frames=3)
    with pytest.raises(ConfigError, match="--overwrite"):
        segment_video(other, tracker(), places)
    assert segment_video(other, tracker(), places, overwrite=True).frames == 3


@pytest.mark.parametrize("killed_at", [None, 30])
def test_a_shorter_run_leaves_no_masks_of_a_longer_one(
    clip: Path, prompts: Prompts, tmp_path: Path, killed_at: int | None
) -> None:
    def kill(index: int) -> None:
        if index == killed_at:
            raise Killed

    places = outputs(tmp_path)
    assert places.masks is not None
    with contextlib.suppress(Killed):
        segment_video(ClipTask(open_video(clip), prompts, max_frames=32), tracker(), places, on_frame=kill)
    for name in ("0000001.png", "notes.png", "12.png"):  # no names of this program
        (places.masks / name).write_bytes(b"mine")
    again = ClipTask(open_video(clip), prompts, max_frames=5 if killed_at is None else 26)
    report = segment_video(again, tracker(), places, overwrite=killed_at is None)
    numbered = {f"{index:06}.png" for index in range(report.frames)}
    assert {path.name for path in places.masks.iterdir()} == numbered | {"0000001.png", "notes.png", "12.png"}
    assert [frame for frame, _, _ in read_frames(places.journal)] == list(range(report.frames))


class Camera:
    """A capture that gives the synthetic clip for ever."""

    def __init__(self, place: Any) -> None:
        self.index = -1

    def isOpened(self) -> bool:  # noqa: N802
        return True

    def read(self) -> tuple[bool, Any]:
        self.index += 1
        return True, cv2.cvtColor(CLIP.frame(self.index)[0], cv2.COLOR_RGB2BGR)

    def get(self, what: int) -> float:
        return -1.0 if what == cv2.CAP_PROP_FRAME_COUNT else 0.0

    def release(self) -> None:
        pass


def test_a_camera_ends_properly_with_ctrl_c(monkeypatch: pytest.MonkeyPatch, prompts: Prompts, tmp_path: Path) -> None:
    def stop(index: int) -> None:
        if index == 6:
            signal.raise_signal(signal.SIGINT)  # to this thread, as above

    monkeypatch.setattr(cv2, "VideoCapture", Camera)
    source = open_video("camera:0")
    assert source == VideoSource("camera:0", 0, 320, 180, 25.0, None)
    report = segment_video(ClipTask(source, prompts), tracker(), outputs(tmp_path), on_frame=stop)
    monkeypatch.undo()
    assert report.frames == 7
    assert is_complete(tmp_path / "c.mask.jsonl")
    assert frame_count(tmp_path / "c.overlay.mp4") == 7


def _clip(path, frames=12):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"mp4v"), 10, (64, 48))
    for index in range(frames):
        writer.write(np.full((48, 64, 3), 20 * index % 256, np.uint8))
    writer.release()
    return path


def test_a_clip_whose_name_is_no_utf8_is_read(tmp_path):
    _clip(tmp_path / "c.mp4").rename(tmp_path / os.fsdecode(b"c\xff.mp4"))
    assert len(list(open_video(tmp_path / os.fsdecode(b"c\xff.mp4")).frames())) == 12


def test_frames_have_their_own_times(tmp_path):
    times = [seconds for _, seconds, _ in open_video(_clip(tmp_path / "c.mp4")).timed_frames()]
    np.testing.assert_allclose(times, np.arange(12) / 10, atol=1e-3)


def test_times_of_a_clip_of_variable_rate_are_its_timestamps(tmp_path):
    av = pytest.importorskip("av")
    from fractions import Fraction

    stamps = [0, 100, 200, 1000, 3000]
    with av.open(str(tmp_path / "v.mp4"), "w") as container:
        stream = container.add_stream("mpeg4", rate=10)
        stream.width, stream.height, stream.codec_context.time_base = 64, 48, Fraction(1, 1000)
        for stamp in stamps:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), "rgb24")
            frame.pts, frame.time_base = stamp, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    times = [seconds for _, seconds, _ in open_video(tmp_path / "v.mp4").timed_frames()]
    np.testing.assert_allclose(times, np.array(stamps) / 1000, atol=2e-3)


def test_an_overlay_of_a_clip_of_variable_rate_shows_each_frame_at_its_time(tmp_path):
    stamps = [0.0, 0.1, 0.2, 1.0, 3.0]
    source = VideoSource("v.mp4", str(_clip(tmp_path / "c.mp4")), 64, 48, 2.0, 5)
    assert source.steady_fps() == pytest.approx(10), "the closest two frames of a clip of ten a second"
    with overlay_video(tmp_path / "o.mp4", source) as overlay:
        for number, stamp in enumerate(stamps):
            overlay.add(np.full((48, 64, 3), 40 * number, np.uint8), None, 7.0 + stamp)
    shown = {}
    for _, seconds, pixels in open_video(tmp_path / "o.mp4").timed_frames():
        shown.setdefault(round(float(pixels.mean()) / 40), seconds)
    assert shown == pytest.approx(dict(enumerate(stamps)), abs=2e-3)


def test_a_clip_of_one_rate_keeps_it(tmp_path):
    source = open_video(_clip(tmp_path / "c.mp4"))
    assert source.steady_fps() == source.fps


def test_an_overlay_without_its_index_is_not_kept(tmp_path, monkeypatch):
    source = open_video(_clip(tmp_path / "c.mp4"))

    class Full:
        """A writer whose disk is full."""

        def __init__(self, *_):
            pass

        def isOpened(self):  # noqa: N802
            return True

        def write(self, _):
            pass

        def release(self):
            pass

    monkeypatch.setattr(cv2, "VideoWriter", type("W", (Full,), {"fourcc": staticmethod(lambda *_: 0)}))
    with pytest.raises(ImageError, match="is the disk full"), overlay_video(tmp_path / "o.mp4", source) as overlay:
        overlay.add(np.zeros((48, 64, 3), np.uint8), None, 0.0)
    assert not (tmp_path / "o.mp4").exists()
    assert [path.name for path in tmp_path.iterdir()] == ["c.mp4"]


def test_a_run_goes_on_to_a_smaller_limit_or_is_refused(clip: Path, prompts: Prompts, tmp_path: Path) -> None:
    def kill(index: int) -> None:
        if index == 37:
            raise Killed

    places = ClipOutputs(tmp_path / "c.mask.jsonl")
    with pytest.raises(Killed):
        segment_video(ClipTask(open_video(clip), prompts), tracker(), places, on_frame=kill)
    with pytest.raises(ConfigError, match="at least the 25 frames that an earlier run did, got 24"):
        segment_video(ClipTask(open_video(clip), prompts, max_frames=24), tracker(), places)
    assert segment_video(ClipTask(open_video(clip), prompts, max_frames=25), tracker(), places).frames == 25


def test_a_template_of_one_colour_fits_nowhere() -> None:
    image = np.random.default_rng(0).integers(0, 255, (60, 80, 3), np.uint8)
    assert find(image, np.full((12, 12, 3), 90, np.uint8)) == (-1.0, (0.0, 0.0))
    assert find(image, image[20:40, 30:50])[1] == (30.0, 20.0)


def test_frames_that_repeat_count_in_the_smoothed_verdict_whether_they_are_kept_or_not() -> None:
    from glesam import Predictor

    rng = np.random.default_rng(0)
    first, second = (rng.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(2))
    carriers = [MaskPropagation(Predictor.from_pretrained("compact", enhance="auto")) for _ in range(2)]
    for carrier in carriers:
        carrier.start(first, Prompts(boxes=[[20, 20, 70, 50]]))
        carrier.step(second)
    carriers[1].restore(carriers[1].state())
    carriers[1].predictor.reset()  # as in a process that goes on
    for carrier in carriers:
        carrier.step(second)
    assert carriers[0].state()["steady"] == carriers[1].state()["steady"]
