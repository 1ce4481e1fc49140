"""Kill a command at random moments, run it again, and compare its folder with that of an undisturbed run.

`python benchmarks/kill_trials.py --trials 25` prints one line for each verb: trials, how many came out equal, and the
first difference. `--disk` lets each verb write to a disk of a few kilobytes instead (a tmpfs: Linux, as root), at five
sizes: status 1, one line of error, and nothing half-written is right.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

UNEQUAL = ("seconds", "contact-sheet.jpg")
"""What two undisturbed runs differ in: times, and the sheet, whose row of failed images names them."""


def main() -> None:
    """Read the arguments and try the verbs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", type=int, default=25)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--verbs", nargs="*", default=sorted(VERBS))
    parser.add_argument("--disk", action="store_true", help="full disks instead of kills")
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    with tempfile.TemporaryDirectory(prefix="glesam-trials-") as name:
        work = Path(name)
        make_images(work / "in")
        for verb in arguments.verbs:
            if arguments.disk:
                full_disks(verb, work)
            else:
                trials(verb, work, arguments.trials, chance)


def make_images(folder: Path) -> None:
    """Eight images with masks, as a data set of the plain layout."""
    for part in ("images", "masks"):
        (folder / part).mkdir(parents=True)
    for number in range(8):
        blobs = np.random.default_rng(number).integers(0, 256, (5, 6, 3), dtype=np.uint8)
        image = Image.fromarray(blobs).resize((240, 200), Image.Resampling.BICUBIC)
        image.save(folder / "images" / f"p{number}.jpg")
        mask = np.zeros((200, 240), np.uint8)
        mask[40:120, 30 + number : 150] = 1
        Image.fromarray(mask).save(folder / "masks" / f"p{number}.png")


VERBS: dict[str, Callable[[Path, Path], list[str]]] = {
    "segment": lambda source, out: [
        *("segment", f"{source}/images", "-o", f"{out}", "--box", "20,30,160,130"),
        *("--json", "--overlay", "--npz", "--polygons", "--device", "cpu"),
    ],
    "degrade": lambda source, out: [
        "degrade",
        f"{source}/images",
        "-o",
        f"{out}",
        "--recipe",
        "lqseg",
        "--level",
        "3",
        "--workers",
        "1",
    ],
    "data build": lambda source, out: ["data", "build", f"{source}", "-o", f"{out}", "--workers", "1"],
    "evaluate": lambda source, out: [
        *("evaluate", "--data", f"{source}", "--levels", "clear,lq1", "--prompts", "box"),
        *("--out", f"{out}", "--no-figures"),
    ],
}
"""Verb to its arguments, from the folder of images and the folder of results."""


def start(arguments: list[str]) -> subprocess.Popen[str]:
    """Start a command; its errors can be read."""
    return subprocess.Popen(
        [sys.executable, "-m", "glesam", *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )


def trials(verb: str, work: Path, count: int, chance: random.Random) -> None:
    """Kill a verb at random moments and print how the folders compare."""
    whole = work / "whole"
    began = time.monotonic()
    finished = start(VERBS[verb](work / "in", whole))
    _, errors = finished.communicate()
    taken = time.monotonic() - began
    if finished.returncode:
        raise SystemExit(f"{verb}: the undisturbed run failed: {errors.strip()}")
    expected, differing = content(whole), []
    for number in range(count):
        out = work / f"trial{number}"
        moment = chance.uniform(0, taken)
        process = start(VERBS[verb](work / "in", out))
        try:
            process.wait(moment)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
        process.communicate()
        again = start(VERBS[verb](work / "in", out))
        _, errors = again.communicate()
        found = content(out)
        wrong = sorted(path for path in {*expected, *found} if expected.get(path) != found.get(path))
        if again.returncode or wrong:
            differing.append(
                f"killed after {moment:.2f} s: status {again.returncode}, {wrong[:3]} {errors.strip()[-200:]}"
            )
        shutil.rmtree(out, ignore_errors=True)
    print(f"{verb}: {count - len(differing)} of {count} equal, an undisturbed run takes {taken:.1f} s", flush=True)
    for line in differing[:3]:
        print(f"    {line}")
    shutil.rmtree(whole)


def content(folder: Path) -> dict[str, str]:
    """Digest of every file, hidden ones too, without what a clock says."""
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name not in UNEQUAL:
            found[path.relative_to(folder).as_posix()] = hashlib.sha256(timeless(path)).hexdigest()
    return found


def timeless(path: Path) -> bytes:
    """A file's bytes; of tables and reports without columns and lines of seconds."""
    if path.suffix == ".csv":
        rows = list(csv.DictReader(path.open(newline="")))
        return repr([{k: v for k, v in row.items() if "seconds" not in k} for row in rows]).encode()
    if path.suffix in (".md", ".json") and b"seconds" in path.read_bytes():
        return b""
    return path.read_bytes()


def full_disks(verb: str, work: Path) -> None:
    """Let a verb write to disks that hold a share of its results, and print what comes of it."""
    whole = work / "whole"
    finished = start(VERBS[verb](work / "in", whole))
    finished.communicate()
    size = sum(path.stat().st_size for path in whole.rglob("*") if path.is_file())
    known = set(content(whole))
    for share in (0.05, 0.25, 0.5, 0.75, 0.95):
        place = work / "disk"
        place.mkdir()
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={max(8, int(size * share) // 1024)}k", "tmpfs", place], check=True
        )
        try:
            process = start(VERBS[verb](work / "in", place / "out"))
            _, errors = process.communicate()
            left = {path.relative_to(place / "out").as_posix() for path in (place / "out").rglob(".*.glesam-*")}
            foreign = set(content(place / "out")) - known
            traceback = "Traceback" in errors
            print(
                f"{verb}, {share:.0%} of {size} bytes: status {process.returncode}, {len(errors.splitlines())} lines, "
                f"traceback {traceback}, half-written {sorted(left)[:3]}, others {sorted(foreign)[:3]}: "
                f"{errors.strip().splitlines()[-1:]}",
                flush=True,
            )
        finally:
            subprocess.run(["umount", "-l", place], check=True)
            place.rmdir()
    shutil.rmtree(whole)


if __name__ == "__main__":
    main()
