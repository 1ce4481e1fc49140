"""Frames of a clip or a camera, one at a time, through OpenCV."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from glesam.common.files import plain_path, sha256
from glesam.errors import ImageError
from glesam.images.pixels import RGB

SUFFIXES = frozenset({".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".ogv"})
"""Names that are taken for a clip, in lower case."""

_LOOK_AHEAD = 100
"""Frames whose timestamps show whether a clip has one rate."""
_MOST_FPS = 60.0

_CAMERA = re.compile(r"camera:(\d+)")


@dataclass(frozen=True)
class VideoSource:
    """A clip or a camera that has given its first frame.

    Attributes:
        name: the file's name, or `camera:N`.
        place: what OpenCV opens: a path, or the camera's number.
        width: of every frame, in pixels.
        height: of every frame, in pixels.
        fps: frames per second as the source says; 25 where it says nothing sensible.
        count: number of frames as the source says, which may be wrong; None when it does not say.
    """

    name: str
    place: str | int
    width: int
    height: int
    fps: float
    count: int | None

    @property
    def is_camera(self) -> bool:
        """Whether frames that have passed are gone."""
        return isinstance(self.place, int)

    def fingerprint(self) -> str | None:
        """Digest of the clip's file; None for a camera.

        Raises:
            OSError: the file cannot be read.
        """
        return None if isinstance(self.place, int) else sha256(self.place)

    def steady_fps(self) -> float:
        """Frames per second at which a file of one rate shows every frame of this clip at its time.

        That is `fps`, unless the first frames' timestamps say that the clip has no one rate: then the rate of the
        closest two, at most 60.

        Raises:
            ImageError: the source cannot be opened.
        """
        if self.is_camera:
            return self.fps
        times: list[float] = []
        with _opened(self.place, self.name) as capture:
            while len(times) < _LOOK_AHEAD and capture.grab():
                times.append(_seconds(capture, len(times), times[-1] if times else -1.0, self.fps))
        steps = np.arange(len(times)) / self.fps
        if len(times) < 2 or np.abs(np.array(times) - times[0] - steps).max() <= 0.5 / self.fps:
            return self.fps
        return float(max(self.fps, min(_MOST_FPS, 1 / np.diff(times).min())))

    def frames(self, start: int = 0) -> Iterator[tuple[int, RGB]]:
        """Read frame after frame, as `timed_frames` does, without their times."""
        for index, _, pixels in self.timed_frames(start):
            yield index, pixels

    def timed_frames(self, start: int = 0) -> Iterator[tuple[int, float, RGB]]:
        """Read frame after frame; one is in memory at a time.

        Args:
            start: first frame to give. Those before are decoded and dropped, since seeking is exact in few formats.

        Yields:
            Number of the frame, from 0, its time in seconds, and its `(H, W, 3)` uint8 RGB pixels. The time is the
            frame's own timestamp, which in clips of variable rate is not its number over the rate; where the source
            gives none, it is that.

        Raises:
            ImageError: the source cannot be opened, or a frame has another size than the first.
        """
        import cv2

        with _opened(self.place, self.name) as capture:
            index, before = 0, -1.0
            while index < start and capture.grab():
                before = _seconds(capture, index, before, self.fps)
                index += 1
            while index >= start:
                found, pixels = capture.read()
                if not found:
                    return
                if pixels.shape[:2] != (self.height, self.width):
                    raise ImageError(
                        f"expected frames of {self.width}x{self.height} in {self.name}, got "
                        f"{pixels.shape[1]}x{pixels.shape[0]} at frame {index}; convert the clip to one size"
                    )
                before = _seconds(capture, index, before, self.fps)
                yield index, before, np.asarray(cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB), np.uint8)
                index += 1


def _seconds(capture: Any, index: int, before: float, fps: float) -> float:
    """Time of the frame that was read last: its timestamp, where the source gives ones that rise."""
    import cv2

    stamp = float(capture.get(cv2.CAP_PROP_POS_MSEC)) / 1000
    return (
        stamp if stamp > before and (stamp > 0 or index == 0) else max(index / fps, before + 1 / fps if index else 0.0)
    )


def is_video(text: str) -> bool:
    """Whether an input names a clip, by its suffix, or a camera, as `camera:0`."""
    return bool(_CAMERA.fullmatch(text)) or (Path(text).suffix.lower() in SUFFIXES and not Path(text).is_dir())


def open_video(text: str | os.PathLike[str]) -> VideoSource:
    """Look at a clip or a camera.

    Args:
        text: path of a clip, or `camera:N` for the N-th camera, from 0.

    Raises:
        ImageError: there is no such file or camera, or it gives no frame.
    """
    import cv2

    camera = _CAMERA.fullmatch(os.fspath(text))
    path = Path(text).expanduser()
    if camera is None and not path.is_file():
        raise ImageError(f"expected a clip, found no file {text}; check the path, or name a camera as camera:0")
    place: str | int = int(camera[1]) if camera else str(path)
    name = str(text) if camera else path.name
    with _opened(place, name) as capture:
        found, pixels = capture.read()
        if not found:
            raise ImageError(f"expected frames in {name}, got none; check that it plays, or convert it to MP4")
        fps, count = float(capture.get(cv2.CAP_PROP_FPS)), int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
    usable = fps if 0.1 <= fps <= 1000 else 25.0
    return VideoSource(name, place, pixels.shape[1], pixels.shape[0], usable, count if count > 0 else None)


@contextmanager
def _opened(place: str | int, name: str) -> Iterator[Any]:
    """A capture that is released in the end."""
    # FFmpeg would print its own remarks on damaged clips; read once, when OpenCV first opens a clip.
    os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")
    import cv2

    with ExitStack() as stack:
        # OpenCV dies by a name that is not UTF-8.
        capture = cv2.VideoCapture(place if isinstance(place, int) else str(stack.enter_context(plain_path(place))))
    try:
        if not capture.isOpened():
            kind = "a camera that is connected and free" if isinstance(place, int) else "a clip that OpenCV can open"
            raise ImageError(f"expected {kind}, cannot open {name}; check it, or convert the clip to MP4")
        yield capture
    finally:
        capture.release()
