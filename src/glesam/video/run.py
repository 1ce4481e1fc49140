"""From a clip and prompts on one of its frames to files: streamed, resumable, safe to stop."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from glesam.common.interrupts import deferred_interrupt
from glesam.common.locks import sole
from glesam.errors import ConfigError, ImageError, PromptError
from glesam.images.pixels import RGB
from glesam.images.reading import content_hash
from glesam.masks.masks import Masks
from glesam.prompts.corrections import Correction
from glesam.prompts.prompts import Prompts
from glesam.video.frames import VideoSource
from glesam.video.journal import CHECKPOINT_FRAMES, Checkpoint, ClipJournal, made_of, read_frames, to_masks
from glesam.video.tracker import Tracker
from glesam.video.writers import OverlayVideo, has_masks, overlay_video, remove_masks, write_coco, write_mask


@dataclass(frozen=True)
class ClipOutputs:
    """Where results go.

    Attributes:
        journal: JSON lines, always written.
        masks: folder of PNGs, or None.
        overlay: MP4, or None.
        coco: COCO document, or None.
    """

    journal: Path
    masks: Path | None = None
    overlay: Path | None = None
    coco: Path | None = None

    def asked(self) -> dict[str, Path]:
        """What is asked for besides the journal, by name."""
        named = {"masks": self.masks, "overlay": self.overlay, "coco": self.coco}
        return {name: path for name, path in named.items() if path is not None}

    def missing(self) -> list[Path]:
        """Files and folders asked for that are not there."""
        return [path for path in self.asked().values() if not path.exists()]

    def lacking(self) -> list[Path]:
        """As `missing`, those too that a complete journal does not name: they are of another run, perhaps of others."""
        made = made_of(self.journal)
        return [path for name, path in self.asked().items() if name not in made or not path.exists()]


@dataclass(frozen=True)
class ClipTask:
    """What is asked.

    Attributes:
        source: the clip or camera.
        prompts: points and boxes on one frame.
        frame: number of that frame; objects are carried forward from it.
        max_frames: frames to do from there on; to the end when None.
        info: facts for the outputs, such as the model's name; a run is resumed only under the same.
        corrections: new prompts for some objects, by the number of a later frame; they hold from there on.
    """

    source: VideoSource
    prompts: Prompts
    frame: int = 0
    max_frames: int | None = None
    info: dict[str, Any] = field(default_factory=dict)
    corrections: Mapping[int, Correction] = field(default_factory=dict)

    def check(self) -> None:
        """Compare the corrections with the prompts.

        Raises:
            PromptError: objects that there are not, or frames that are not after the prompts' own.
        """
        for number, correction in self.corrections.items():
            if number <= self.frame:
                raise PromptError(
                    f"expected corrections after frame {self.frame}, which has the prompts, got frame {number}; give "
                    "the prompts themselves another way"
                )
            correction.check(len(self.prompts))

    def header(self) -> dict[str, Any]:
        """What a journal says of its making; one that says something else is not continued."""
        video = {"name": self.source.name, "width": self.source.width, "height": self.source.height}
        if (digest := self.source.fingerprint()) is not None:
            video["file"] = digest
        header = {"video": video, "frame": self.frame, "prompts": _plain(self.prompts), "info": self.info}
        if self.corrections:
            header["corrections"] = {
                str(number): {"objects": list(each.objects), **_plain(each.prompts)}
                for number, each in sorted(self.corrections.items())
            }
        return header


def _plain(prompts: Prompts) -> dict[str, list[str] | None]:
    """Prompts as JSON values; NaN, an object without a box, is no JSON. Of a mask input its digest."""
    arrays = {name: getattr(prompts, name) for name in ("points", "labels", "boxes")}
    plain = {
        n: None if array is None else [str(value) for value in array.ravel().tolist()] for n, array in arrays.items()
    }
    if prompts.mask_input is not None:
        plain["mask_input"] = [content_hash(np.ascontiguousarray(prompts.mask_input).view(np.uint8))]
    return plain


@dataclass(frozen=True)
class ClipReport:
    """What a run did.

    Attributes:
        frames: frames with results, those of earlier runs included.
        done: frames of this run.
        seen: frames of this run in which every object was seen.
        seconds: time of this run.
        confidence: mean predicted IoU of each object over the frames of this run in which it was seen; 0 if in none.
        lost: frames of this run in which each object was not seen.
    """

    frames: int
    done: int
    seen: int
    seconds: float
    confidence: tuple[float, ...] = ()
    lost: tuple[int, ...] = ()


def segment_video(
    task: ClipTask,
    tracker: Tracker,
    outputs: ClipOutputs,
    *,
    overwrite: bool = False,
    on_frame: Callable[[int], None] | None = None,
    on_resume: Callable[[int], None] | None = None,
) -> ClipReport:
    """Carry objects through a clip and write what was asked for.

    A run that was stopped or killed resumes at its last checkpoint, unless it lacks masks that are asked for now; its
    results are those of one run. A camera's run starts over each time, and Ctrl-C is its proper end.

    Args:
        task: clip and prompts.
        tracker: carries the objects.
        outputs: where results go.
        overwrite: start over.
        on_frame: called with the number of each frame that is done.
        on_resume: called once with how many frames an earlier run did, if any.

    Raises:
        ImageError: the clip cannot be read, is shorter than the prompts' frame, or an output cannot be written.
        PromptError: the prompts do not fit the frame, or corrections do not fit the prompts.
        ConfigError: the unfinished journal is of another task, or another run works on it.
        KeyboardInterrupt: Ctrl-C in a clip, after a checkpoint.
    """
    task.check()
    place = outputs.journal
    with sole(place.parent, f".{place.stem}.lock"):
        journal = ClipJournal(place, task.header())
        checkpoint = _begin(journal, task, outputs, overwrite)
        if checkpoint is not None and on_resume is not None:
            on_resume(checkpoint.frame - task.frame)
        try:
            with deferred_interrupt() as stop:
                return _Run(task, tracker, outputs, journal, on_frame).work(checkpoint, stop)
        finally:
            journal.close()


def _begin(journal: ClipJournal, task: ClipTask, outputs: ClipOutputs, overwrite: bool) -> Checkpoint | None:
    """Open the journal; gives where to go on, or None where the clip is done from its start."""
    checkpoint = journal.begin(overwrite or task.source.is_camera)
    if checkpoint is None or outputs.masks is None:
        return checkpoint
    # PNGs that the run did not write itself may be there: of an older one, of other prompts.
    if checkpoint.masks and has_masks(outputs.masks, task.frame, checkpoint.frame):
        return checkpoint
    journal.close()
    return journal.begin(overwrite=True)


class _Run:
    """One pass over the frames."""

    def __init__(
        self,
        task: ClipTask,
        tracker: Tracker,
        outputs: ClipOutputs,
        journal: ClipJournal,
        on_frame: Callable[[int], None] | None,
    ) -> None:
        self._task, self._tracker, self._outputs, self._journal = task, tracker, outputs, journal
        self._on_frame = on_frame or (lambda _: None)
        self._done = self._seen = 0
        self._scores = np.zeros(len(task.prompts))
        self._lost = np.zeros(len(task.prompts), int)

    def work(self, checkpoint: Checkpoint | None, stop: threading.Event) -> ClipReport:
        """Go through the frames; finish the outputs, unless a clip's run was stopped."""
        start, source, prompted = time.perf_counter(), self._task.source, self._task.frame
        if checkpoint is not None:
            self._check_limit(checkpoint.frame - prompted)
            self._tracker.restore(checkpoint.state)
        if self._outputs.masks is not None:
            # What is not in the journal is of a run that went farther, or began elsewhere.
            remove_masks(self._outputs.masks, 0 if checkpoint is None else checkpoint.frame)
        with ExitStack() as stack:
            path = self._outputs.overlay
            overlay = None if path is None else stack.enter_context(overlay_video(path, source))
            following = self._frames(prompted if checkpoint is None else checkpoint.frame, overlay, stop)
            if stop.is_set() and not source.is_camera:
                if following > prompted:
                    self._save(following)
                raise KeyboardInterrupt
            if following == prompted:
                raise ImageError(
                    f"expected a frame {prompted} in {source.name}, it ends before; choose an earlier --frame"
                )
        if self._outputs.coco is not None:
            self._journal.flush()
            write_coco(self._outputs.coco, self._outputs.journal, source, self._task.info)
        if removed := [path for path in (self._journal.path, *self._outputs.missing()) if not path.exists()]:
            raise ImageError(f"expected {removed[0]}, it was removed while the clip was segmented; run it again")
        # Last: a journal that is complete says that all is there.
        self._journal.finish(following - prompted, list(self._outputs.asked()))
        sure = tuple((self._scores / np.maximum(self._done - self._lost, 1)).tolist())
        lost = tuple(self._lost.tolist())
        return ClipReport(following - prompted, self._done, self._seen, time.perf_counter() - start, sure, lost)

    def _check_limit(self, done: int) -> None:
        """Refuse to go on with fewer frames than an earlier run did: they are in its journal, masks and video."""
        limit = self._task.max_frames
        if limit is not None and done > limit:
            raise ConfigError(
                f"expected a limit of at least the {done} frames that an earlier run did, got {limit}; raise it, or "
                "start over with --overwrite"
            )

    def _frames(self, first: int, overlay: OverlayVideo | None, stop: threading.Event) -> int:
        """Do frame after frame from `first` on, and draw those before it again; gives the number after the last."""
        following, limit = first, self._task.max_frames
        end = None if limit is None else self._task.frame + limit
        drawn = self._drawn_again() if overlay is not None and first > self._task.frame else iter(())
        for index, seconds, image in self._task.source.timed_frames(0 if overlay is not None else first):
            if stop.is_set() or (end is not None and index >= end):
                break
            masks = (
                self._one(index, seconds, image) if index >= first else next(drawn, None) if self._had(index) else None
            )
            if overlay is not None:
                overlay.add(image, masks, seconds)
            if index >= first:
                following = index + 1
                if (following - self._task.frame) % CHECKPOINT_FRAMES == 0 and not self._task.source.is_camera:
                    self._save(following)
        return following

    def _save(self, following: int) -> None:
        """Save a checkpoint: the run can be resumed at frame `following`."""
        self._journal.save(following, self._tracker.state(), self._outputs.masks is not None)

    def _had(self, index: int) -> bool:
        """Whether an earlier run gave masks for a frame that it did."""
        return index >= self._task.frame

    def _one(self, index: int, seconds: float, image: RGB) -> Masks:
        """Segment one frame and write its files."""
        task, tracker = self._task, self._tracker
        correction = task.corrections.get(index)
        if index == task.frame:
            masks = tracker.start(image, task.prompts)
        elif correction is not None:
            masks = tracker.correct(image, correction.prompts, correction.objects)
        else:
            masks = tracker.step(image)
        if self._outputs.masks is not None:
            write_mask(self._outputs.masks, index, masks)
        self._journal.add(index, seconds, masks)
        self._done += 1
        visible = masks.areas > 0
        self._seen += bool(visible.all())
        self._lost += ~visible
        self._scores += np.where(visible, masks.scores, 0)
        self._on_frame(index)
        return masks

    def _drawn_again(self) -> Iterator[Masks]:
        """Masks of the frames that earlier runs did."""
        size = (self._task.source.height, self._task.source.width)
        for _, _, entries in read_frames(self._journal.path):
            yield to_masks(entries, size)
