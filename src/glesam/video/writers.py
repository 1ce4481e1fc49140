"""What comes out of a clip: a video with the masks drawn in, a PNG of ids for each frame, one COCO document."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import cv2
import numpy as np

from glesam.common.files import atomic_path, plain_path, write_bytes
from glesam.errors import ImageError
from glesam.images.pixels import RGB
from glesam.masks.masks import Masks
from glesam.video.frames import VideoSource
from glesam.video.journal import read_frames


class OverlayVideo:
    """Writes frames with their masks drawn in; made by `overlay_video`."""

    def __init__(self, writer: Any, fps: float) -> None:
        self._writer, self._fps = writer, fps
        self._start: float | None = None
        self._last: RGB | None = None
        self.frames = 0

    def add(self, frame: RGB, masks: Masks | None, seconds: float) -> None:
        """Add one frame, shown from its time until that of the next one.

        Args:
            frame: `(H, W, 3)` uint8 RGB.
            masks: drawn in; without them the frame stays as it is.
            seconds: its time. The file has one rate: a frame is repeated as often as it takes, and left out where it
                comes sooner than the rate can show.
        """
        drawn = frame if masks is None else np.asarray(masks.overlay(frame))
        self._start = seconds if self._start is None else self._start
        due = round((seconds - self._start) * self._fps)
        while self._last is not None and self.frames < due:
            self._write(self._last)
        self._last = np.asarray(cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), np.uint8)
        if due >= self.frames:
            self._write(self._last)

    def _write(self, drawn: RGB) -> None:
        self._writer.write(drawn)
        self.frames += 1


@contextmanager
def overlay_video(path: str | Path, source: VideoSource) -> Iterator[OverlayVideo]:
    """Write an MP4 (MPEG-4 part 2) that appears under its name when the block ends well.

    Args:
        path: file that ends in `.mp4`.
        source: gives size and frames per second.

    Raises:
        ImageError: OpenCV cannot write it, or what it wrote is no video, as on a full disk.
    """
    with atomic_path(path) as target, plain_path(target) as temporary:
        code = cv2.VideoWriter.fourcc(*"mp4v")
        fps = source.steady_fps()
        writer = cv2.VideoWriter(str(temporary), code, fps, (source.width, source.height))
        if not writer.isOpened():
            raise ImageError(f"expected to write {path}, OpenCV cannot; choose another folder, or leave --overlay out")
        overlay = OverlayVideo(writer, fps)
        try:
            yield overlay
        finally:
            writer.release()
        # OpenCV says nothing when a write fails; without its index, which comes last, the file is no video.
        if overlay.frames and not _frames_in(temporary):
            raise ImageError(f"expected to write {path}, it came out damaged; is the disk full? free some space")


def _frames_in(path: Path) -> int:
    """Frames that a video's index lists; 0 where there is none."""
    capture = cv2.VideoCapture(str(path))
    try:
        return int(capture.get(cv2.CAP_PROP_FRAME_COUNT)) if capture.isOpened() else 0
    finally:
        capture.release()


def write_mask(folder: str | Path, frame: int, masks: Masks) -> None:
    """Write a frame's ids as `folder/000123.png`, in one step."""
    write_bytes(_mask_path(folder, frame), masks.encode(".png"))


def has_masks(folder: str | Path, first: int, end: int) -> bool:
    """Whether what `write_mask` writes is there of each frame from `first` to before `end`."""
    return all(_mask_path(folder, frame).is_file() for frame in range(first, end))


def _mask_path(folder: str | Path, frame: int) -> Path:
    return Path(folder) / f"{frame:06}.png"


def remove_masks(folder: str | Path, first: int) -> None:
    """Remove what `write_mask` wrote of the frames from `first` on; other files stay."""
    for path in Path(folder).glob("*.png"):
        if _MASK_NAME.fullmatch(path.name) and int(path.stem) >= first:
            path.unlink()


_MASK_NAME = re.compile(r"([0-9]{6}|[1-9][0-9]{6,})\.png")


def write_coco(path: str | Path, journal: str | Path, source: VideoSource, info: dict[str, Any]) -> None:
    """Write a journal as one COCO document, frame by frame, so that its length does not matter.

    Besides COCO's own keys: `videos`; `video_id` and `frame_index` of each image; `track_id` of each annotation, the
    number of the object. Objects that are not seen in a frame have no annotation there.

    Raises:
        DataError: the journal is damaged.
        OSError: the file cannot be written.
    """
    video = {"id": 1, "name": source.name, "width": source.width, "height": source.height, "fps": source.fps}
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as stream:
        head = {"info": info, "videos": [video], "categories": [{"id": 1, "name": "object"}]}
        stream.write(json.dumps(head, allow_nan=False)[:-1])
        _list(stream, "images", _images(journal, source))
        _list(stream, "annotations", _annotations(journal))
        stream.write("}\n")


def _list(stream: IO[str], name: str, values: Iterable[dict[str, Any]]) -> None:
    """Write a member of a JSON object that is a list, one value a line."""
    stream.write(f', "{name}": [')
    for index, value in enumerate(values):
        stream.write(("," if index else "") + "\n" + json.dumps(value, allow_nan=False))
    stream.write("]")


def _images(journal: str | Path, source: VideoSource) -> Iterator[dict[str, Any]]:
    for frame, seconds, _ in read_frames(journal):
        yield {
            "id": frame + 1,
            "video_id": 1,
            "frame_index": frame,
            "time": seconds,
            "file_name": f"{frame:06}.png",
            "width": source.width,
            "height": source.height,
        }


def _annotations(journal: str | Path) -> Iterator[dict[str, Any]]:
    """One annotation an object and frame, numbered through the clip."""
    number = 0
    for frame, _, entries in read_frames(journal):
        for entry in entries:
            if entry["area"]:
                number += 1
                facts = {"image_id": frame + 1, "video_id": 1, "track_id": entry["id"], "category_id": 1, "iscrowd": 0}
                yield {**entry, **facts, "id": number}
