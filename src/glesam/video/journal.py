"""The journal of a clip: a JSON line for each frame, and the tracker's memory, so that a killed run can be resumed.

`<clip>.mask.jsonl` is itself a result. Its first line holds the clip, prompts and model; its last line, once the run
has finished, says that it is complete. Every few frames the tracker's state is saved in `.<clip>.mask.state`, together
with the length of the journal at that moment: what was written after it is cut off, and the run resumes from there.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import numpy as np
import torch

from glesam.common import jsonl
from glesam.common.documents import parse_json
from glesam.common.messages import one_line
from glesam.errors import ConfigError, DataError
from glesam.masks import rle
from glesam.masks.masks import Masks
from glesam.weights.folders import write_torch

CHECKPOINT_FRAMES = 25
"""Frames between two saved states, about a second of a clip: the most that is done again after a kill."""


@dataclass(frozen=True)
class Checkpoint:
    """Where a run can be resumed.

    Attributes:
        frame: the next frame to segment.
        length: bytes of the journal before it.
        state: what the tracker remembers.
        masks: whether the run wrote a PNG of each frame too.
    """

    frame: int
    length: int
    state: dict[str, Any]
    masks: bool = False


class ClipJournal:
    """Reads and writes the journal of one clip.

    Args:
        path: file of the journal.
        header: clip, prompts and model, as JSON values; a journal with another header is not resumed.
    """

    def __init__(self, path: str | Path, header: dict[str, Any]) -> None:
        self.path, self._header = Path(path), json.loads(json.dumps(header))
        self._memory = self.path.with_name(f".{self.path.stem}.state")
        self._stream: IO[bytes] | None = None

    def begin(self, overwrite: bool) -> Checkpoint | None:
        """Open the journal at its last checkpoint, if there is one.

        Raises:
            ConfigError: the journal belongs to other prompts, another model or another clip.
            OSError: it cannot be written.
        """
        checkpoint = None if overwrite else self._checkpoint()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        if checkpoint is None:
            self._memory.unlink(missing_ok=True)
            self._stream = self.path.open("wb")
            self._write(self._header)
            return None
        os.truncate(self.path, checkpoint.length)
        self._stream = self.path.open("ab")
        return checkpoint

    def add(self, frame: int, seconds: float, masks: Masks) -> None:
        """Write one frame's masks.

        Args:
            frame: number of the frame.
            seconds: its time in the clip.
            masks: N masks; an empty one is an object that is out of sight.
        """
        self._write({"frame": frame, "time": round(seconds, 4), "annotations": entries_of(masks)})

    def save(self, frame: int, state: dict[str, Any], masks: bool = False) -> None:
        """Save a checkpoint, see `Checkpoint`: a killed run resumes at `frame`."""
        if self._stream is None:
            return
        self._stream.flush()
        os.fsync(self._stream.fileno())
        content = {"frame": frame, "length": self._stream.tell(), "state": state, "masks": masks}
        write_torch(self._memory, content)

    def finish(self, frames: int, made: Sequence[str] = ()) -> None:
        """Mark the clip as complete, and delete the tracker's state.

        Args:
            frames: how many it has.
            made: names of the outputs that were made of this journal besides it.
        """
        self._write({"end": frames, "made": list(made)})
        self.close()
        self._memory.unlink(missing_ok=True)

    def close(self) -> None:
        """Close the file; the run can be resumed later."""
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def flush(self) -> None:
        """Make all that was written visible to readers."""
        if self._stream is not None:
            self._stream.flush()

    def _write(self, value: dict[str, Any]) -> None:
        if self._stream is not None:
            self._stream.write(jsonl.line(value))

    def _checkpoint(self) -> Checkpoint | None:
        """The last checkpoint of a journal with the same header, or None to start over."""
        if not self._memory.exists() or not self.path.exists():
            return None
        with self.path.open("rb") as stream:
            first = stream.readline()
        if first != jsonl.line(self._header):
            raise ConfigError(
                f"expected the same clip, prompts and model as in {self.path}, got others; finish it with those, "
                "choose another -o, or give --overwrite"
            )
        try:
            content = torch.load(self._memory, map_location="cpu", weights_only=True)
            # Checkpoints of earlier versions do not say whether there were PNGs.
            return Checkpoint(content["frame"], content["length"], content["state"], content.get("masks", False))
        except Exception:  # torch's reader raises many types on an empty or damaged file; the clip is started over
            return None


def entries_of(masks: Masks) -> list[dict[str, Any]]:
    """COCO annotations of one frame, without the keys that belong to a whole document; `id` is the object's."""
    keys = ("id", "segmentation", "bbox", "area", "score")
    return [{key: entry[key] for key in keys} for entry in masks.to_coco()]


def read_frames(path: str | Path) -> Iterator[tuple[int, float, list[dict[str, Any]]]]:
    """Read a journal frame by frame; one is in memory at a time.

    Yields:
        Number of the frame, its time in seconds, and its annotations.

    Raises:
        DataError: a line that is no record, except the last, which a kill may have cut short.
    """
    try:
        for record in jsonl.records(path):
            if "frame" in record and "annotations" in record:
                yield record["frame"], record["time"], record["annotations"]
    except (ValueError, KeyError, TypeError) as error:
        raise DataError(f"expected frames in {path}, got {one_line(error)}; delete that file") from error


def is_complete(path: str | Path) -> bool:
    """Whether a journal covers its whole clip."""
    return _end(path) is not None


def made_of(path: str | Path) -> list[str]:
    """Names of the outputs that were made of a complete journal; none of one that is not, or of an earlier version."""
    made = (_end(path) or {}).get("made")
    return [name for name in made if isinstance(name, str)] if isinstance(made, list) else []


def _end(path: str | Path) -> dict[str, Any] | None:
    """The last record of a complete journal."""
    file = Path(path)
    if not file.exists():
        return None
    with file.open("rb") as stream:
        stream.seek(max(0, file.stat().st_size - _END_BYTES))
        last = stream.read().splitlines()[-1:]
    if not last or not last[0].startswith(b'{"end":'):
        return None
    try:
        found = parse_json(last[0], str(path))
    except DataError:  # a kill cut it short
        return None
    return found if isinstance(found, dict) else None


_END_BYTES = 256
"""More than the last record of a complete journal has."""


def file_of(path: str | Path) -> str | None:
    """Digest of the clip that a journal belongs to, or None if it names none."""
    try:
        with Path(path).open("rb") as stream:
            found = parse_json(stream.readline(), str(path))["video"]["file"]
    except (OSError, DataError, KeyError, TypeError):
        return None
    return found if isinstance(found, str) else None


def to_masks(entries: list[dict[str, Any]], size: tuple[int, int]) -> Masks:
    """Annotations of one frame of `(H, W)` as masks.

    Raises:
        DataError: the annotations are damaged.
    """
    if not entries:
        return Masks(np.zeros((0, *size), bool), np.zeros(0, np.float32))
    try:
        masks = np.stack([rle.decode(entry["segmentation"]) for entry in entries])
        return Masks(masks, np.array([entry["score"] for entry in entries], np.float32))
    except (KeyError, OverflowError, TypeError, ValueError) as error:
        raise DataError(
            f"expected a frame's annotations, got others ({one_line(error)}); delete the journal"
        ) from error
