"""A long synthetic clip through `glesam segment`: speed, memory, resuming after a kill, and IoU to the known truth.

    python benchmarks/video.py                     # 10 minutes of 640x360 at 25 frames a second
    python benchmarks/video.py --fps 10            # the same with fewer frames
    python benchmarks/video.py --seconds 20        # a short one
    python benchmarks/video.py --sweep --seconds 8 # prompts and thresholds of the propagation, in this process

The first run is killed (SIGKILL) after a third of the frames; the second goes on. Memory is the process's resident set
from `/proc`, so the table needs Linux.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from glesam.video.journal import read_frames, to_masks
from synthetic_clip import OBJECTS, SyntheticClip

SEEN = 200
"""Pixels of an object from which a frame counts for the IoU: a sliver beside the pillar says nothing of tracking."""


@dataclass
class Watched:
    """One run of the command: its memory in MB over the frames done, and how it ended."""

    memory: list[tuple[int, float]] = field(default_factory=list)
    seconds: float = 0.0
    status: int = 0


def main() -> None:
    """Write the clip, run, kill, run again, compare."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600.0)
    parser.add_argument("--fps", type=int, default=25, help="frames a second of the clip")
    parser.add_argument("--width", type=int, default=640)
    parser.add_argument("--height", type=int, default=360)
    parser.add_argument("--model", default="compact")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, default=None, help="kept folder; a temporary one when not given")
    parser.add_argument("--sweep", action="store_true", help="compare settings of the propagation instead")
    options = parser.parse_args()
    clip = SyntheticClip(options.width, options.height)
    frames = round(options.seconds * options.fps)
    if options.sweep:
        sweep(clip, frames, options.model, options.device)
        return
    with tempfile.TemporaryDirectory() as temporary:
        report(clip, frames, options.out or Path(temporary), options)


def report(clip: SyntheticClip, frames: int, folder: Path, options: argparse.Namespace) -> None:
    """The long run, printed as a table."""
    folder.mkdir(parents=True, exist_ok=True)
    path, journal = folder / "clip.mp4", folder / "out" / "clip.mask.jsonl"
    if not path.exists():
        clip.write(path, frames, options.fps)
    boxes = [word for n in range(OBJECTS) for word in ("--box", ",".join(map(str, clip.box(n, 0))))]
    words = ["segment", str(path), *boxes, "-o", str(folder / "out"), "--json", "--overwrite"]
    words += ["--model", options.model, "--device", options.device, "--enhance", "off"]
    killed = watch(words, journal, frames // 3)
    resumed = watch([word for word in words if word != "--overwrite"], journal, None)
    if resumed.status:
        sys.exit(f"the resumed run ended with status {resumed.status}")
    ious, hidden = compare(clip, journal)
    memory = killed.memory + resumed.memory
    print(f"| clip | {frames} frames of {clip.width}x{clip.height}, model {options.model} |\n|---|---|")
    print(f"| killed after | {killed.memory[-1][0]} frames (status {killed.status}) |")
    print(f"| seconds | {killed.seconds + resumed.seconds:.1f} |")
    print(f"| frames a second, start of the program included | {frames / (killed.seconds + resumed.seconds):.2f} |")
    print(f"| memory of the resumed run, MB: mean of each quarter | {quarters(resumed.memory)} |")
    print(f"| memory, MB: largest | {max(value for _, value in memory):.0f} |")
    print(f"| frames in the journal | {len(list(read_frames(journal)))} |")
    for number in range(OBJECTS):
        print(
            f"| object {number + 1}: mean IoU where seen | {np.mean(ious[number]):.3f} ({len(ious[number])} frames) |"
        )
        share = np.mean(hidden[number]) if hidden[number] else float("nan")
        print(f"| object {number + 1}: empty where hidden | {share:.3f} ({len(hidden[number])} frames) |")


def watch(words: list[str], journal: Path, kill_at: int | None) -> Watched:
    """Run the command and look at its memory; kill it once so many frames are in the journal."""
    result, start, length, count = Watched(), time.perf_counter(), 0, 0
    process = subprocess.Popen([sys.executable, "-m", "glesam", *words])
    while process.poll() is None:
        time.sleep(0.5)
        size = journal.stat().st_size if journal.exists() else 0
        if size < length:
            length = count = 0
        if size > length:
            with journal.open("rb") as stream:
                stream.seek(length)
                count += stream.read(size - length).count(b'{"frame":')
            length = size
        result.memory.append((count, resident(process.pid)))
        if kill_at is not None and count >= kill_at:
            process.kill()
    result.status, result.seconds = process.wait(), time.perf_counter() - start
    result.memory = [(frame, value) for frame, value in result.memory if frame and value]
    return result


def resident(process: int) -> float:
    """Resident memory of a process in MB; 0 when it is gone."""
    try:
        text = Path(f"/proc/{process}/status").read_text()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in text.splitlines() if line.startswith("VmRSS")), 0.0)


def quarters(memory: list[tuple[int, float]]) -> str:
    """Mean memory of each quarter of a run's samples; the allocator needs some hundred frames to settle."""
    parts = np.array_split([value for _, value in memory], 4)
    return ", ".join(f"{part.mean():.0f}" for part in parts if len(part))


def compare(clip: SyntheticClip, journal: Path) -> tuple[list[list[float]], list[list[bool]]]:
    """IoU to the truth in frames where an object is seen, and emptiness where it is hidden, for each object."""
    ious: list[list[float]] = [[] for _ in range(OBJECTS)]
    hidden: list[list[bool]] = [[] for _ in range(OBJECTS)]
    for frame, _, entries in read_frames(journal):
        judge(clip.frame(frame)[1], to_masks(entries, (clip.height, clip.width)).masks, ious, hidden)
    return ious, hidden


def judge(
    truth: npt.NDArray[np.bool_], masks: npt.NDArray[np.bool_], ious: list[list[float]], hidden: list[list[bool]]
) -> None:
    """Add one frame to the lists of each object."""
    for number in range(OBJECTS):
        one, other = masks[number], truth[number]
        if not other.any():
            hidden[number].append(not one.any())
        elif other.sum() >= SEEN:
            ious[number].append(float((one & other).sum() / (one | other).sum()))


def sweep(clip: SyntheticClip, frames: int, model: str, device: str) -> None:
    """The same clip, every second frame, under several settings of the propagation."""
    from glesam import Predictor, Prompts
    from glesam.video.propagate import MaskPropagation, Settings

    predictor = Predictor.from_pretrained(model, device, "off")
    prompts = Prompts(boxes=[clip.box(number, 0) for number in range(OBJECTS)])
    kinds = {
        "box": Settings(use_point=False, use_mask=False),
        "box, point": Settings(use_mask=False),
        "box, point, mask": Settings(use_mask=True),
        "box, mask": Settings(use_point=False, use_mask=True),
    }
    kinds |= {f"least_score={value}": Settings(least_score=value) for value in (0.3, 0.5, 0.7)}
    kinds |= {f"least_similarity={value}": Settings(least_similarity=value) for value in (0.2, 0.5, 0.7)}
    print(
        "| settings | mean IoU where seen | share over 0.5 | empty where hidden | frames a second |\n"
        + 5 * "|---"
        + "|"
    )
    for name, settings in kinds.items():
        tracker, start = MaskPropagation(predictor, settings=settings), time.perf_counter()
        ious: list[list[float]] = [[] for _ in range(OBJECTS)]
        hidden: list[list[bool]] = [[] for _ in range(OBJECTS)]
        tracker.start(clip.frame(0)[0], prompts)
        for index in range(2, frames, 2):
            frame, truth = clip.frame(index)
            judge(truth, tracker.step(frame).masks, ious, hidden)
        values, empty = np.concatenate(ious), np.concatenate([np.array(h, float) for h in hidden])
        speed = frames / 2 / (time.perf_counter() - start)
        share = empty.mean() if len(empty) else float("nan")
        print(f"| {name} | {values.mean():.3f} | {(values > 0.5).mean():.3f} | {share:.3f} | {speed:.2f} |", flush=True)


if __name__ == "__main__":
    main()
